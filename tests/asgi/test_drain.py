"""Shutdown: a farewell to every viewer, every source closed, later requests told to come back."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from multistream_asgi import StreamEndpoint
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


async def test_every_viewer_gets_what_waits_and_the_farewell() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), "log")
    async with connect(manager, ONE) as one, connect(manager, "/stream?id=a&id=b") as two:
        await one.next_event()
        await settle()
        two.stall()
        await manager.publish("log", "a", "waiting")
        two.resume()
        await manager.drain()
        assert [(e.type, e.data) for e in await one.until_closed()] == [("shutdown", "bye")]
        assert [(e.type, e.data) for e in await two.until_closed()][-2:] == [
            ("log:a", "waiting"),
            ("shutdown", "bye"),
        ]
        assert one.retries[-1] >= 2000
    assert [run.closed for run in feed.runs] == [1, 1]


async def test_the_farewell_keeps_the_cursor_and_a_return_loses_nothing() -> None:
    """The id that a client comes back with is that of the last event it got."""
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as conn:
        event = await conn.next_event()
        await manager.drain()
        await conn.until_closed()
        assert conn.last_event_id == event.last_event_id


async def test_a_source_that_still_runs_is_no_end_of_its_topic() -> None:
    """No `close`: a browser would never come back for the rest."""
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, "/stream?id=a") as conn:
        await conn.next_event()
        await manager.drain()
        assert [e.type for e in await conn.until_closed()] == ["shutdown"]


async def test_clients_are_told_different_times() -> None:
    manager = manager_of("progress", retry_ms=1000)
    conns = [connect(manager, ONE) for _ in range(20)]
    async with anyio.create_task_group() as tasks:
        done = anyio.Event()

        async def hold(conn: Any) -> None:
            async with conn:
                await done.wait()

        for conn in conns:
            tasks.start_soon(hold, conn)
        await settle()
        await manager.drain(spread=5)
        done.set()
    last = [conn.retries[-1] for conn in conns]
    assert len(set(last)) > 10
    assert all(1000 <= retry <= 6000 for retry in last)


async def test_who_comes_during_or_after_a_drain_is_told_to_come_back() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        await manager.drain()
        late = await request(manager, ONE)
        assert (late.status, late.received) == (200, [])
        assert late.retries
        assert len(feed.runs) == 1


async def test_a_stuck_viewer_holds_a_drain_up_no_longer_than_its_timeout() -> None:
    manager = manager_of("progress")
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        await manager.publish("progress", "a", 1)
        before = anyio.current_time()
        await manager.drain(timeout=1.5)
        assert anyio.current_time() - before == pytest.approx(1.5, abs=0.1)
        await settle()
        assert conn.returned, "a server waits for its requests before it stops"


async def test_a_source_that_will_not_close_holds_it_up_no_longer_either() -> None:
    async def source(entity_id: str) -> AsyncIterator[str]:
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)

    manager = manager_of(StreamEndpoint("progress", "_progress", source))
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        before = anyio.current_time()
        await manager.drain(timeout=1.5)
        assert anyio.current_time() - before == pytest.approx(1.5, abs=0.1)
        assert [e.type for e in conn.received] == ["message", "shutdown"]
    await anyio.sleep(3)


async def test_a_slow_max_rate_does_not_hold_the_farewell_back() -> None:
    manager = manager_of("progress", max_rate=0.05)
    async with connect(manager, ONE) as conn:
        await settle()
        await manager.publish("progress", "a", "waits for its turn")
        await manager.drain(timeout=1)
        assert [e.type for e in conn.received] == ["message", "shutdown"]


async def test_a_drain_waits_for_closing_sources() -> None:
    closed = anyio.Event()

    async def source(entity_id: str) -> AsyncIterator[str]:
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)
            closed.set()

    manager = manager_of(StreamEndpoint("progress", "_progress", source))
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        await manager.drain(timeout=1.5)
        assert closed.is_set()


async def test_lingering_sources_are_closed_too() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), linger=None)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await manager.drain()
    assert feed.run.closed == 1


async def test_drain_before_any_use_and_twice() -> None:
    manager = manager_of("progress")
    await manager.drain()
    async with connect(manager, ONE) as conn:
        await settle()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.drain)
            tasks.start_soon(manager.drain)
        assert [e.type for e in await conn.until_closed()] == ["shutdown"]


async def test_an_ended_topic_closes_rather_than_says_farewell() -> None:
    manager = manager_of("progress")
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        await manager.finish("progress", "a", "100 %")
        conn.resume()
        await manager.drain()
        assert [e.type for e in await conn.until_closed()] == ["message", "close"]


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """A handler as a server sets it, which hears of SIGTERM."""
    heard: list[int] = []

    def server(number: int, frame: object) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, server)
    yield heard
    after = signal.signal(signal.SIGTERM, before)
    assert after is server, "a handler of ours stays"


async def test_sigterm_ends_streams_without_a_lifespan(heard: list[int]) -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        signal.raise_signal(signal.SIGTERM)
        assert [e.type for e in await conn.until_closed()] == ["shutdown"]
    assert heard == [signal.SIGTERM]
    assert feed.run.closed == 1


async def test_two_managers_hear_it_both(heard: list[int]) -> None:
    one, two = manager_of("progress"), manager_of("progress", base_path="/other")
    async with connect(one, ONE) as first, connect(two, "/other?id=a") as second:
        await settle()
        signal.raise_signal(signal.SIGTERM)
        for conn in (first, second):
            assert [e.type for e in await conn.until_closed()] == ["shutdown"]
    assert heard == [signal.SIGTERM]


async def test_managers_that_stop_serving_in_the_order_they_began(heard: list[int]) -> None:
    """Each undoes its own link of the chain, though another stands on top of it."""
    one, two = manager_of("progress"), manager_of("progress", base_path="/other")
    first, second = connect(one, ONE), connect(two, "/other?id=a")
    async with second:
        async with first:
            await settle()
        await settle()
        signal.raise_signal(signal.SIGTERM)
        assert [e.type for e in await second.until_closed()] == ["shutdown"]
    assert heard == [signal.SIGTERM]


async def test_a_request_left_over_from_before_does_not_deafen_a_later_lifespan(
    heard: list[int],
) -> None:
    """It ends while the later one's requests are served, and they must still hear of a signal."""
    asked, go = anyio.Event(), anyio.Event()

    async def get_entity(entity_id: str) -> str:
        if entity_id == "slow":
            asked.set()
            await go.wait()
        return entity_id

    manager = manager_of("progress", get_entity=get_entity)
    async with connect(manager, "/stream_progress?id=slow") as old:
        async with manager.lifespan():
            await asked.wait()
        async with manager.lifespan(), connect(manager, ONE) as new:
            await settle()
            go.set()
            await old.until_returned()
            signal.raise_signal(signal.SIGTERM)
            assert [e.type for e in await new.until_closed()] == ["shutdown"]
