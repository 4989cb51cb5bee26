"""One run of a source per topic, however viewers come and go, and its end."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator

import anyio
import pytest

from multistream_asgi import StreamEndpoint
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


async def test_many_viewers_share_one_run() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as one, connect(manager, "/stream?id=a") as two:
        assert (await one.next_event()).data == (await two.next_event()).data == "x"
        async with connect(manager, ONE) as three:
            await three.next_event()
        assert len(feed.runs) == 1


async def test_a_run_lingers_and_is_then_closed_once() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), linger=5)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await anyio.sleep(4.9)
    assert feed.open == 1
    await anyio.sleep(0.2)
    assert [run.closed for run in feed.runs] == [1]
    await anyio.sleep(1000)
    assert [run.closed for run in feed.runs] == [1]


async def test_who_returns_within_it_joins_the_same_run() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), linger=5)
    for _ in range(5):
        async with connect(manager, ONE) as conn:
            await conn.next_event()
        await anyio.sleep(4)
    assert (len(feed.runs), feed.open) == (1, 1)
    await anyio.sleep(1.1)
    assert feed.open == 0


async def test_linger_counts_from_the_last_viewer_s_leaving() -> None:
    """Not from an earlier one's, and not longer because somebody came and went."""
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), linger=5)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await anyio.sleep(3)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await anyio.sleep(4.9)
    assert feed.open == 1
    await anyio.sleep(0.2)
    assert feed.open == 0


async def test_without_linger_a_run_ends_with_its_last_viewer() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), linger=0)
    async with connect(manager, ONE) as one:
        async with connect(manager, ONE):
            await one.next_event()
        await settle()
        assert feed.open == 1
    await settle()
    assert feed.open == 0


async def test_linger_none_lets_a_run_come_to_its_end() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), linger=None)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await anyio.sleep(80_000)
    feed.run.put("y")
    feed.run.end()
    await settle()
    assert feed.run.exhausted
    late = await request(manager, ONE)
    assert [event.data for event in late.received] == ["x", "y", "done"]
    assert len(feed.runs) == 1


async def test_after_linger_a_newcomer_starts_a_new_run_and_sees_nothing_of_the_old() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), linger=1)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        feed.run.put("of the first run")
        await conn.next_event()
    await anyio.sleep(2)
    async with connect(manager, ONE) as conn:
        await settle()
        assert [event.data for event in conn.received] == ["x"]
    assert len(feed.runs) == 2


async def test_not_shared_gives_each_viewer_a_run_that_ends_with_it() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), shared=False, linger=1000)
    async with connect(manager, ONE) as one:
        await one.next_event()
        async with connect(manager, ONE) as two:
            await two.next_event()
            assert len(feed.runs) == 2
            feed.runs[0].put("for the first")
            assert (await one.next_event()).data == "for the first"
            feed.runs[1].put("for the second")
            assert (await two.next_event()).data == "for the second"
        await settle()
        assert [run.closed for run in feed.runs] == [0, 1]
    await settle()
    assert [run.closed for run in feed.runs] == [1, 1]


async def test_not_shared_is_named_like_any_other_and_ends_like_any_other() -> None:
    feed = Feed("x")
    async with connect(manager_of(feed.endpoint(), shared=False), "/stream?id=a") as conn:
        assert (await conn.next_event()).type == "progress:a"
        feed.run.end()
        assert [e.type for e in await conn.until_closed()] == ["end", "close"]


async def test_not_shared_can_not_be_published_to() -> None:
    manager = manager_of(Feed().endpoint(), shared=False)
    for call in (manager.publish("progress", "a", 1), manager.finish("progress", "a")):
        with pytest.raises(ValueError, match="stream"):
            await call
    with pytest.raises(ValueError, match="stream"):
        await manager.latest("progress", "a")


async def test_a_run_knows_nothing_of_the_request_that_started_it() -> None:
    """Its viewers share it: a current user of the first would leak to all."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

    async def source(entity_id: str) -> AsyncIterator[str]:
        yield user.get()

    manager = manager_of(StreamEndpoint("progress", "_progress", source))
    user.set("alice")
    conn = await request(manager, ONE)
    assert conn.received[0].data == "nobody"


async def test_a_source_that_never_waits_lets_others_run() -> None:
    async def source(entity_id: str) -> AsyncIterator[int]:
        n = 0
        while True:
            yield n
            n += 1

    feed = Feed("x")
    busy = StreamEndpoint("busy", "_busy", source)
    manager = manager_of(busy, feed.endpoint(), linger=0)
    async with connect(manager, "/stream_busy?id=a") as conn:
        await conn.events(3)
        async with connect(manager, ONE) as other:
            assert (await other.next_event()).data == "x"
