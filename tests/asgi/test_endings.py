"""How a topic ends, and what who comes late is told."""

from __future__ import annotations

import anyio
import pytest

from multistream_asgi import Cursor, TopicEnded
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle
from tests.event_stream import Parsed

ONE = "/stream_progress?id=a"


def said(events: list[Parsed]) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in events]


FINAL = [("message", "100 %"), ("close", "done")]


async def test_finish_sends_the_final_event_and_closes() -> None:
    manager = manager_of("progress")
    async with connect(manager, ONE) as conn:
        await settle()
        await manager.finish("progress", "a", "100 %")
        assert said(await conn.until_closed()) == FINAL


async def test_a_latecomer_gets_the_final_event_and_close() -> None:
    manager = manager_of("progress")
    await manager.finish("progress", "a", "100 %")
    assert said((await request(manager, ONE)).received) == FINAL


async def test_a_latecomer_gets_it_as_long_as_final_ttl_and_the_source_is_not_run_again() -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint(), final_ttl=300, linger=0)
    async with connect(manager, ONE) as conn:
        await settle()
        feed.run.put("100 %")
        feed.run.end()
        await conn.until_closed()
    await anyio.sleep(299)
    assert said((await request(manager, ONE)).received) == FINAL
    assert len(feed.runs) == 1


async def test_after_final_ttl_an_id_that_nothing_knows_gets_close() -> None:
    manager = manager_of("progress", final_ttl=300, get_entity=lambda entity_id: None)
    await manager.finish("progress", "a", "100 %")
    await anyio.sleep(301)
    assert said((await request(manager, ONE)).received) == [("close", "done")]


async def test_a_cursor_before_the_end_gets_what_is_left_of_it() -> None:
    manager = manager_of("progress")
    cursor = await manager.publish("progress", "a", "99 %")
    await manager.finish("progress", "a", "100 %")
    again = await request(manager, ONE, headers={"Last-Event-ID": str(cursor)})
    assert (again.status, said(again.received)) == (200, FINAL)


@pytest.mark.parametrize("url", [ONE, "/stream?id=a"])
@pytest.mark.parametrize("final", [None, "100 %"])
async def test_a_cursor_that_has_seen_everything_gets_204(url: str, final: str | None) -> None:
    """For an EventSource that ignores `close` and comes back with the id it had."""
    manager = manager_of("progress")
    async with connect(manager, url) as conn:
        await manager.publish("progress", "a", "99 %")
        await manager.finish("progress", "a", final)
        await conn.until_closed()
    again = await request(manager, url, headers={"Last-Event-ID": conn.last_event_id})
    assert (again.status, again.body) == (204, b"")
    assert again.headers.get("cache-control") == "no-store", "204 is cached by default"


@pytest.mark.parametrize("dialect", ["htmx4", "datastar"])
async def test_only_the_events_dialect_gets_204(dialect: str) -> None:
    manager = manager_of("progress")
    await manager.finish("progress", "a", "100 %")
    url = f"{ONE}&dialect={dialect}"
    first = await request(manager, url)
    again = await request(manager, url, headers={"Last-Event-ID": first.last_event_id})
    assert (again.status, said(again.received)) == (200, [("close", "done")])


async def test_no_204_without_a_cursor() -> None:
    """htmx 2 asks again without one after a 204, and must be told to close."""
    manager = manager_of("progress")
    await manager.finish("progress", "a")
    assert said((await request(manager, ONE)).received) == [("close", "done")]


@pytest.mark.parametrize("after", ["x", "other.1", "future"])
async def test_no_204_for_a_cursor_that_cannot_be_honoured(after: str) -> None:
    manager = manager_of("progress")
    await manager.finish("progress", "a", "100 %")
    latest = await manager.latest("progress", "a")
    assert latest is not None
    if after == "future":
        after = str(Cursor(latest[1].epoch, latest[1].seq + 1))
    again = await request(manager, ONE, headers={"Last-Event-ID": after})
    assert again.status == 200
    assert said(again.received)[1:] == FINAL


async def test_no_204_while_one_topic_lives() -> None:
    manager = manager_of("progress", "log")
    await manager.publish("log", "a", "x")
    await manager.finish("progress", "a", "100 %")
    latest = await manager.latest("progress", "a")
    assert latest is not None
    url = manager.url(["a"], after=latest[1])
    async with connect(manager, url) as conn:
        assert said(await conn.events(1)) == [("end", "progress:a")]
        await manager.publish("log", "a", "y")
        assert said(await conn.events(1)) == [("log:a", "y")]


async def test_nothing_is_published_after_the_end() -> None:
    manager = manager_of("progress")
    await manager.finish("progress", "a", "100 %")
    with pytest.raises(TopicEnded):
        await manager.publish("progress", "a", "more")
    with pytest.raises(TopicEnded):
        await manager.finish("progress", "a", "more")
    await manager.finish("progress", "a")
    assert said((await request(manager, ONE)).received) == FINAL


async def test_finish_closes_the_source() -> None:
    feed = Feed("1 %")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        await manager.finish("progress", "a", "100 %")
        assert said(await conn.until_closed()) == FINAL
        await settle()
        assert [run.closed for run in feed.runs] == [1]


async def test_finish_is_heard_while_nobody_watches() -> None:
    """A source that lingers is closed at once, and the tombstone stays."""
    feed = Feed("1 %")
    manager = manager_of(feed.endpoint(), linger=None)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await manager.finish("progress", "a", "100 %")
    await settle()
    assert feed.run.closed == 1
    assert said((await request(manager, ONE)).received) == [("message", "1 %"), *FINAL]


async def test_the_transform_of_the_final_event_is_told_so() -> None:
    feed = Feed("x")
    calls: list[tuple[str, str, bool]] = []

    def transform(data: str, *, entity_id: str, final: bool) -> str:
        calls.append((data, entity_id, final))
        return data.upper()

    manager = manager_of(feed.endpoint(transform_fn=transform))
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        await manager.finish("progress", "a", "y")
        assert said(await conn.until_closed()) == [("message", "Y"), ("close", "done")]
    assert calls == [("x", "a", False), ("y", "a", True)]
