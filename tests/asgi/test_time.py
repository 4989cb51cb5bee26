"""Heartbeats, deadlines, rates, and viewers that take nothing."""

from __future__ import annotations

import logging

import anyio
import pytest

from multistream_asgi import Limits, StreamConfig
from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"
HEARTBEAT = b":\n\n"


async def test_a_heartbeat_is_a_comment_after_an_interval_of_silence() -> None:
    async with connect(manager_of("progress", heartbeat_interval=15), ONE) as conn:
        await anyio.sleep(14)
        assert len(conn.chunks) == 1
        await anyio.sleep(2)
        assert conn.chunks[1:] == [HEARTBEAT]
        await anyio.sleep(150)
        assert conn.chunks[1:] == [HEARTBEAT] * len(conn.chunks[1:])
        assert 10 <= len(conn.chunks) <= 12


async def test_what_is_sent_puts_the_heartbeat_off() -> None:
    manager = manager_of("progress", heartbeat_interval=15)
    async with connect(manager, ONE) as conn:
        for n in range(10):
            await anyio.sleep(13)
            await manager.publish("progress", "a", n)
        await settle()
        assert HEARTBEAT not in conn.chunks
        assert len(conn.received) == 10


async def test_heartbeats_can_be_turned_off() -> None:
    async with connect(manager_of("progress", heartbeat_interval=None), ONE) as conn:
        await anyio.sleep(10_000)
        assert len(conn.chunks) == 1


async def test_a_slow_source_survives_any_number_of_heartbeats() -> None:
    """In the notebook a heartbeat cancelled the source, and the stream died at the first one."""
    feed = Feed("x")
    async with connect(manager_of(feed.endpoint(), heartbeat_interval=1), ONE) as conn:
        await conn.next_event()
        await anyio.sleep(100)
        assert conn.chunks.count(HEARTBEAT) > 50
        assert feed.run.closed == 0
        feed.run.put("y")
        assert await conn.data(1) == ["y"]
        assert len(feed.runs) == 1


async def test_one_viewer_s_interval_is_not_another_s() -> None:
    slow = Feed().endpoint("slow", config=StreamConfig(heartbeat_interval=60))
    fast = Feed().endpoint("fast", config=StreamConfig(heartbeat_interval=1))
    manager = manager_of(slow, fast)
    async with (
        connect(manager, "/stream_slow?id=a") as one,
        connect(manager, "/stream_fast?id=a") as two,
    ):
        await anyio.sleep(59)
        assert one.chunks.count(HEARTBEAT) == 0
        assert two.chunks.count(HEARTBEAT) > 30


async def test_a_connection_with_many_topics_takes_the_manager_s_settings() -> None:
    endpoint = Feed().endpoint(config=StreamConfig(heartbeat_interval=1, initial_message="own"))
    manager = manager_of(endpoint, heartbeat_interval=60, initial_message="default")
    async with connect(manager, "/stream?id=a") as conn:
        await anyio.sleep(30)
        assert conn.comments == [" default"]


async def test_timeout_ends_a_connection_and_its_client_comes_back() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), timeout=60, heartbeat_interval=None)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        await anyio.sleep(59)
        assert not conn.complete
        assert await conn.until_closed() == []
        assert conn.retries[-1] >= 2000
    async with connect(manager, ONE, headers={"Last-Event-ID": conn.last_event_id}) as again:
        feed.run.put("y")
        assert await again.data(1) == ["y"]
    assert len(feed.runs) == 1


async def test_timeout_loses_nothing_that_waits() -> None:
    manager = manager_of("progress", timeout=10, max_rate=0.3)
    async with connect(manager, ONE) as conn:
        await manager.publish("progress", "a", 0)
        await conn.next_event()
        for n in range(1, 50):
            await manager.publish("progress", "a", n)
        await conn.until(lambda: conn.complete)
    headers = {"Last-Event-ID": conn.last_event_id}
    async with connect(manager, ONE, headers=headers) as again:
        await anyio.sleep(9)
        seen = [event.data for event in conn.received + again.received]
        assert seen == [str(n) for n in range(50)]
        assert len(conn.retries) == 2


async def test_max_rate_bounds_the_writes_and_joins_what_waits() -> None:
    manager = manager_of("progress", max_rate=2, heartbeat_interval=None)
    async with connect(manager, ONE) as conn:
        await settle()
        for n in range(100):
            await manager.publish("progress", "a", n)
            await anyio.sleep(0.1)
        await anyio.sleep(1)
        assert 18 <= len(conn.chunks) <= 24
        assert [event.data for event in conn.received] == [str(n) for n in range(100)]


async def test_an_event_after_silence_is_not_held_back_by_max_rate() -> None:
    manager = manager_of("progress", max_rate=0.1, heartbeat_interval=None)
    async with connect(manager, ONE) as conn:
        await anyio.sleep(60)
        await manager.publish("progress", "a", 1)
        await settle()
        assert [event.data for event in conn.received] == ["1"]


async def test_a_stuck_viewer_is_dropped_and_the_others_get_everything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "multistream_asgi")
    manager = manager_of("progress", limits=Limits(send_timeout=30), history=10)
    async with connect(manager, ONE) as stuck, connect(manager, ONE) as good:
        await settle()
        stuck.stall()
        for n in range(290):
            await manager.publish("progress", "a", n)
            await anyio.sleep(0.1)
        assert [event.data for event in good.received] == [str(n) for n in range(290)]
        assert len(manager.connection_registry.get_connections()) == 2
        await anyio.sleep(3)
        assert stuck.returned
        assert len(stuck.chunks) == 1
        assert not stuck.complete
        assert len(manager.connection_registry.get_connections()) == 1
        await manager.publish("progress", "a", "after")
        assert (await good.events(291))[-1].data == "after"
    assert "took no write" in caplog.text


@pytest.mark.parametrize("heartbeat_interval", [None, 1])
async def test_a_viewer_stuck_from_the_start_is_dropped(heartbeat_interval: float | None) -> None:
    """Before the headers: a server that waits there for its client must not keep it either."""
    manager = manager_of(
        "progress", limits=Limits(send_timeout=30), heartbeat_interval=heartbeat_interval
    )
    async with connect(manager, ONE, stalled=True) as conn:
        await anyio.sleep(35)
        assert conn.returned
        assert manager.connection_registry.get_stats()["total"] == 0


async def test_a_viewer_stuck_in_the_last_write_is_dropped() -> None:
    manager = manager_of("progress", limits=Limits(send_timeout=30))
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        await manager.finish("progress", "a")
        await anyio.sleep(35)
        assert conn.returned


async def test_a_slow_viewer_that_takes_each_write_in_time_is_kept() -> None:
    manager = manager_of("progress", limits=Limits(send_timeout=30))
    async with connect(manager, ONE) as conn:
        for n in range(5):
            await settle()
            conn.stall()
            await manager.publish("progress", "a", n)
            await anyio.sleep(28)
            conn.resume()
        await settle()
        assert [event.data for event in conn.received] == list("01234")


async def test_without_send_timeout_a_stuck_viewer_stays() -> None:
    manager = manager_of("progress", limits=Limits(send_timeout=None))
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        await manager.publish("progress", "a", 1)
        await anyio.sleep(10_000)
        conn.resume()
        assert await conn.data(1) == ["1"]


async def test_a_client_that_goes_while_it_is_stuck_is_let_go_at_once() -> None:
    manager = manager_of("progress")
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        await manager.publish("progress", "a", 1)
        before = anyio.current_time()
        await conn.disconnect()
        assert anyio.current_time() - before < 1


async def test_a_send_that_raises_is_a_client_that_has_gone() -> None:
    manager = manager_of("progress")
    async with connect(manager, ONE) as conn:
        await settle()
        conn.send_fails = True
        await manager.publish("progress", "a", 1)
        await conn.until_returned()
        await settle()
        assert manager.connection_registry.get_stats()["total"] == 0
