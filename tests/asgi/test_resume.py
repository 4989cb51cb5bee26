"""A client that comes back: nothing lost, nothing twice, or a reset that says so."""

from __future__ import annotations

import json

import anyio
import pytest

from multistream_asgi import Cursor, MultiStreamManager
from tests.asgi.driver import Connection, connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle
from tests.event_stream import Parsed

ONE = "/stream_progress?id=a"


def resets(events: list[Parsed]) -> list[tuple[str, list[str]]]:
    """The reason and topics of every reset."""
    found = [json.loads(event.data) for event in events if event.type == "reset"]
    return [(reset["reason"], reset["topics"]) for reset in found]


def data(events: list[Parsed]) -> list[str]:
    return [event.data for event in events if event.type not in ("reset", "end", "close")]


async def published(manager: MultiStreamManager, *items: object) -> list[Cursor]:
    return [await manager.publish("progress", "a", item) for item in items]


async def come_back(manager: MultiStreamManager, url: str, after: object) -> list[Parsed]:
    """What is there at once for a client with that cursor."""
    async with connect(manager, url, headers={"Last-Event-ID": str(after)}) as conn:
        await settle()
        return conn.received


async def test_by_header() -> None:
    manager = manager_of("progress")
    cursors = await published(manager, 1, 2, 3)
    for read, cursor in enumerate(cursors, 1):
        events = await come_back(manager, ONE, cursor)
        assert data(events) == ["1", "2", "3"][read:]
        assert not resets(events)


async def test_by_query() -> None:
    manager = manager_of("progress")
    cursors = await published(manager, 1, 2, 3)
    async with connect(manager, f"{ONE}&after={cursors[1]}") as conn:
        assert data(await conn.events(1)) == ["3"]
        await settle()
        assert len(conn.received) == 1


async def test_the_header_wins() -> None:
    """A browser that comes back still has the query its page was rendered with."""
    manager = manager_of("progress")
    cursors = await published(manager, 1, 2, 3)
    assert data(await come_back(manager, f"{ONE}&after={cursors[0]}", cursors[1])) == ["3"]


async def test_an_empty_header_is_none() -> None:
    manager = manager_of("progress")
    cursors = await published(manager, 1, 2)
    assert data(await come_back(manager, f"{ONE}&after={cursors[0]}", "")) == ["2"]


async def test_a_running_source_goes_on_where_the_client_left() -> None:
    feed = Feed("a", "b")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as conn:
        await conn.events(2)
    feed.run.put("c", "d")
    await settle()
    async with connect(manager, ONE, headers={"Last-Event-ID": conn.last_event_id}) as again:
        feed.run.put("e")
        assert data(await again.events(3)) == ["c", "d", "e"]
    assert len(feed.runs) == 1


async def test_one_cursor_covers_all_topics() -> None:
    manager = manager_of("progress", "log")
    conn: Connection
    async with connect(manager, "/stream?id=a&id=b") as conn:
        for n in range(4):
            await manager.publish("log", "a", n)
            await manager.publish("progress", "b", n)
        await conn.events(8)
    await manager.publish("progress", "a", "x")
    await manager.publish("log", "b", "y")
    events = await come_back(manager, "/stream?id=a&id=b", conn.last_event_id)
    assert data(events) == ["x", "y"]
    assert not resets(events)


async def test_another_epoch_is_a_reset_of_every_topic() -> None:
    manager = manager_of("progress", "log")
    await published(manager, 1)
    events = await come_back(manager, "/stream?id=a", "another.1")
    assert resets(events) == [("epoch", ["progress:a", "log:a"])]
    assert events[0].type == "reset"
    assert data(events) == ["1"]


async def test_a_restart_is_another_epoch() -> None:
    manager = manager_of("progress")
    [cursor] = await published(manager, 1)
    manager = manager_of("progress")
    await published(manager, 1, 2)
    events = await come_back(manager, ONE, cursor)
    assert resets(events) == [("epoch", ["progress:a"])]
    assert data(events) == ["1", "2"]


async def test_a_cursor_in_the_future_is_a_reset() -> None:
    manager = manager_of("progress")
    [cursor] = await published(manager, 1)
    events = await come_back(manager, ONE, Cursor(cursor.epoch, cursor.seq + 1))
    assert resets(events) == [("unknown", ["progress:a"])]
    assert data(events) == ["1"]


@pytest.mark.parametrize(
    "after", ["x", "1", ".", ".1", "a.", "a.-1", "a.1.2", "a b.1", "é.1", "a.1e3", "a." + "9" * 40]
)
async def test_a_malformed_cursor_is_a_reset(after: str) -> None:
    manager = manager_of("progress")
    await published(manager, 1)
    events = await come_back(manager, ONE, after)
    assert resets(events) == [("unknown", ["progress:a"])]
    assert data(events) == ["1"]


async def test_a_gap_is_a_reset_of_the_topics_concerned_alone() -> None:
    manager = manager_of("progress", "log", history=3)
    cursor = await manager.publish("log", "a", "before")
    await manager.publish("log", "a", "after")
    await published(manager, 1, 2, 3, 4)
    events = await come_back(manager, "/stream?id=a", cursor)
    assert resets(events) == [("gap", ["progress:a"])]
    assert events[0].type == "reset"
    assert data(events) == ["after", "2", "3", "4"]


async def test_a_cursor_at_the_edge_of_the_log_is_no_gap() -> None:
    manager = manager_of("progress", history=3)
    cursors = await published(manager, 1, 2, 3, 4)
    assert not resets(await come_back(manager, ONE, cursors[0]))
    await published(manager, 5)
    assert resets(await come_back(manager, ONE, cursors[0])) == [("gap", ["progress:a"])]


async def test_events_of_other_topics_make_no_gap() -> None:
    manager = manager_of("progress", "log", history=2)
    [cursor] = await published(manager, 1)
    for n in range(10):
        await manager.publish("log", "a", n)
    await published(manager, 2)
    events = await come_back(manager, ONE, cursor)
    assert (data(events), resets(events)) == (["2"], [])


async def test_a_new_run_of_a_source_is_a_reset() -> None:
    """What the earlier run sent is not continued by this one."""
    feed = Feed("a", "b")
    manager = manager_of(feed.endpoint(), linger=0)
    async with connect(manager, ONE) as conn:
        await conn.events(2)
    await settle()
    events = await come_back(manager, ONE, conn.last_event_id)
    assert resets(events) == [("gap", ["progress:a"])]
    assert data(events) == ["a", "b"]
    assert len(feed.runs) == 2


async def test_after_a_reset_a_topic_gets_all_that_a_newcomer_gets() -> None:
    """Also what was published before its source started, and below the cursor."""
    feed = Feed("from the source")
    manager = manager_of(feed.endpoint())
    [cursor] = await published(manager, "published before")
    events = await come_back(manager, ONE, cursor)
    expected = ["published before", "from the source"]
    assert data(events) == (expected if resets(events) else expected[1:])


async def test_a_viewer_that_fell_behind_is_reset() -> None:
    manager = manager_of("progress", "log", history=3)
    async with connect(manager, "/stream?id=a") as conn:
        await published(manager, 0)
        await conn.events(1)
        conn.stall()
        await published(manager, *range(1, 5))
        await manager.publish("log", "a", "kept")
        await published(manager, *range(5, 10))
        conn.resume()
        await settle()
        events = conn.unread()
        assert [event.type for event in events].index("reset") == 0
        assert resets(events) == [("lag", ["progress:a"])]
        assert data(events) == ["kept", "7", "8", "9"]
        await published(manager, 10)
        assert data([await conn.next_event()]) == ["10"]


async def test_a_viewer_is_reset_each_time_it_falls_behind() -> None:
    manager = manager_of("progress", history=2)
    async with connect(manager, ONE) as conn:
        for _ in range(3):
            await settle()
            conn.stall()
            await published(manager, *range(6))
            await settle()
            conn.resume()
            await settle()
            events = conn.unread()
            assert resets(events) == [("lag", ["progress:a"])]
            assert data(events)[-2:] == ["4", "5"]


async def test_a_viewer_that_keeps_up_is_never_reset() -> None:
    manager = manager_of("progress", history=1)
    async with connect(manager, ONE) as conn:
        for n in range(20):
            await published(manager, n)
            await settle()
        assert data(conn.received) == [str(n) for n in range(20)]
        assert not resets(conn.received)


async def test_events_keep_their_ids_after_a_reset() -> None:
    manager = manager_of("progress")
    cursors = await published(manager, 1, 2)
    events = await come_back(manager, ONE, "other.1")
    assert [event.last_event_id for event in events[1:]] == [str(cursor) for cursor in cursors]


async def test_latest_and_a_connection_after_it_have_no_seam() -> None:
    manager = manager_of("progress")
    await published(manager, 1, 2)
    latest = await manager.latest("progress", "a")
    assert latest is not None
    await published(manager, 3)
    async with connect(manager, manager.url("a", "progress", after=latest[1])) as conn:
        await settle()
        assert (latest[0], data(conn.received), resets(conn.received)) == ("2", ["3"], [])


async def test_a_cursor_of_a_topic_that_was_dropped_is_a_reset() -> None:
    """Silence would hide that there may have been more."""
    manager = manager_of("progress", final_ttl=10)
    first, _ = await published(manager, 1, 2)
    await manager.publish("progress", "b", 1)
    await anyio.sleep(20)
    assert resets(await come_back(manager, ONE, first)) == [("gap", ["progress:a"])]
