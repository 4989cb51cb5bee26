"""A broker whose answer takes time, or fails: what happens while a topic is being attached."""

from __future__ import annotations

import anyio
import pytest

from multistream_asgi import MemoryBroker, MultiStreamManager, Topic
from multistream_asgi.log import History
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


class SlowBroker(MemoryBroker):
    """`attach` waits until it is let go, and may then fail."""

    def __init__(self) -> None:
        super().__init__()
        self.go = anyio.Event()
        self.fails = False
        self.attaching = 0

    async def attach(self, topic: Topic) -> History:
        self.attaching += 1
        await self.go.wait()
        if self.fails:
            raise ConnectionError("redis.internal:6379")
        return await super().attach(topic)


def slow() -> tuple[MultiStreamManager, SlowBroker, Feed]:
    broker, feed = SlowBroker(), Feed("x")
    return manager_of(feed.endpoint(), "log", broker=broker, linger=0), broker, feed


async def test_viewers_that_wait_for_the_same_topic_get_one_run_and_everything() -> None:
    manager, broker, feed = slow()
    async with connect(manager, ONE) as one, connect(manager, ONE) as two:
        await settle()
        assert (broker.attaching, one.status) == (1, 0)
        await manager.publish("progress", "a", "published meanwhile")
        broker.go.set()
        for conn in (one, two):
            assert await conn.data(2) == ["published meanwhile", "x"]
        assert len(feed.runs) == 1


@pytest.mark.parametrize("gone", [0, 1])
async def test_a_viewer_that_goes_while_it_waits_leaves_the_other_waiting(gone: int) -> None:
    """Its request is cancelled by the server: that of the first viewer, or of the second."""
    manager, broker, feed = slow()
    conns = [connect(manager, ONE), connect(manager, ONE)]
    scopes = [anyio.CancelScope(), anyio.CancelScope()]

    async def serve(n: int) -> None:
        with scopes[n]:
            await manager(conns[n].scope, conns[n]._receive, conns[n]._send)

    async with anyio.create_task_group() as tasks:
        for n in range(2):
            tasks.start_soon(serve, n)
            await settle()
        scopes[gone].cancel()
        await settle()
        broker.go.set()
        assert await conns[1 - gone].data(1) == ["x"]
        scopes[1 - gone].cancel()
    await settle()
    assert (len(feed.runs), feed.open) == (1, 0)
    assert broker.topics == 0


async def test_when_it_fails_everybody_is_told_to_come_back_and_can() -> None:
    manager, broker, feed = slow()
    broker.fails = True
    async with connect(manager, "/stream?id=a") as one, connect(manager, ONE) as two:
        await settle()
        broker.go.set()
        for conn in (one, two):
            assert await conn.until_closed() == []
            assert (conn.status, len(conn.retries)) == (200, 1)
            assert b"internal" not in conn.body
    assert not feed.runs
    assert manager.connection_registry.get_stats()["total"] == 0
    broker.fails = False
    async with connect(manager, ONE) as conn:
        assert await conn.data(1) == ["x"]


async def test_a_drain_meanwhile_says_farewell_and_starts_no_source() -> None:
    manager, broker, feed = slow()
    async with connect(manager, ONE) as conn:
        await settle()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.drain)
            await settle()
            broker.go.set()
        assert [event.type for event in await conn.until_closed()] == ["shutdown"]
    assert not feed.runs


async def test_a_store_that_fails_ends_a_source_as_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The source cannot go on, and its viewers must not wait for ever."""
    manager, broker, feed = slow()
    broker.go.set()
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        real, calls = broker.append, []

        async def append(topic: Topic, *args: object, **keywords: object) -> int:
            calls.append(topic)
            if len(calls) == 1:
                raise ConnectionError("redis.internal:6379")
            return await real(topic, *args, **keywords)  # type: ignore[arg-type]

        monkeypatch.setattr(broker, "append", append)
        feed.run.put("y")
        assert [event.type for event in await conn.until_closed()] == ["failed", "close"]
    assert feed.run.closed == 1
    assert b"internal" not in conn.body
    assert "redis.internal" in caplog.text


async def test_publishing_to_a_broker_that_fails_raises_at_the_publisher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager, broker, _ = slow()

    async def append(*args: object, **keywords: object) -> int:
        raise ConnectionError

    monkeypatch.setattr(broker, "append", append)
    with pytest.raises(ConnectionError):
        await manager.publish("log", "a", 1)


async def test_the_request_after_one_that_failed_is_served() -> None:
    manager, broker, _ = slow()
    broker.go.set()
    broker.fails = True
    assert (await request(manager, ONE)).retries
    broker.fails = False
    async with connect(manager, ONE) as conn:
        assert await conn.data(1) == ["x"]
