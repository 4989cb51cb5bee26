"""Where two things happen at once, or a bound is met: each of these went wrong before."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from multistream_asgi import (
    Limits,
    MemoryBroker,
    MultiStreamManager,
    StreamEndpoint,
    TopicEnded,
)
from multistream_asgi.brokers.base import Sink
from multistream_asgi.brokers.memory import _Stored
from tests.asgi.driver import connect, request
from tests.asgi.feed import manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


def manager_with(source: Any, **options: Any) -> MultiStreamManager:
    transform = options.pop("transform_fn", None)
    return manager_of(StreamEndpoint("progress", "_progress", source, transform), **options)


async def test_a_source_that_somebody_else_cancels_fails_its_topic(
    anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if anyio_backend_name == "trio":
        return  # there nobody can: what is cancelled is a scope

    async def source(entity_id: str) -> AsyncIterator[str]:
        yield "x"
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with connect(manager_with(source, restarts=3), ONE) as conn:
        await conn.until_closed()
    assert [event.type for event in conn.received] == ["message", "failed", "close"]
    assert "was cancelled" in caplog.text


async def test_a_source_that_exits_fails_its_topic_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def source(entity_id: str) -> AsyncIterator[str]:
        yield "x"
        raise SystemExit

    async with connect(manager_with(source), ONE) as conn:
        await conn.until_closed()
    assert [event.type for event in conn.received] == ["message", "failed", "close"]


async def test_a_source_that_does_not_close_holds_up_the_next_run_no_longer_than_it_may(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def source(entity_id: str) -> AsyncIterator[str]:
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3600)

    manager = manager_with(source, linger=0, limits=Limits(source_close_timeout=5.0))
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    async with connect(manager, ONE) as conn:
        before = anyio.current_time()
        await conn.next_event()
        assert anyio.current_time() - before < 6
    assert "did not close within 5.0 s" in caplog.text


async def test_two_drains_at_once_both_return() -> None:
    manager = manager_of("progress")
    returned = []

    async def drain(number: int) -> None:
        await manager.drain(timeout=None)
        returned.append(number)

    async with anyio.create_task_group() as tasks, connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        await manager.publish("progress", "a", "x")
        await settle()
        for number in (1, 2):
            tasks.start_soon(drain, number)
            await settle()
        conn.resume()
        await conn.until_returned()
        await settle()
        assert sorted(returned) == [1, 2]


async def test_a_request_over_a_limit_starts_no_source() -> None:
    runs = []

    async def source(entity_id: str) -> AsyncIterator[str]:
        runs.append(entity_id)
        yield "x"

    manager = manager_with(source, linger=None, limits=Limits(max_topics=2))
    conn = await request(manager, "/stream?id=a&id=b&id=c")
    assert conn.retries
    await settle()
    assert runs == []


async def test_who_has_not_heard_of_the_end_is_told() -> None:
    """A cursor past the last datum is not enough for a 204; one past the end is."""
    manager = manager_of("progress")
    async with connect(manager, "/stream?id=a") as conn:
        cursor = await manager.publish("progress", "a", "x")
        await conn.next_event()
    await manager.finish("progress", "a")
    conn = await request(manager, f"/stream?id=a&after={cursor}")
    assert [event.type for event in conn.received] == ["end", "close"]
    conn = await request(manager, f"/stream?id=a&after={conn.last_event_id}")
    assert conn.status == 204


async def test_an_end_that_lies_before_the_cursor_does_not_move_it_back() -> None:
    """On a connection with many topics one may have ended long ago."""
    manager = manager_of("log", "chat")
    async with connect(manager, "/stream?id=a") as conn:
        await manager.finish("log", "a")
        await manager.publish("chat", "a", "1")
        await settle()
        cursor = conn.last_event_id
    async with connect(manager, f"/stream?id=a&after={cursor}") as conn:
        await settle()
        assert conn.last_event_id == cursor
        await manager.publish("chat", "a", "2")
        await settle()
        assert [(e.type, e.data) for e in conn.received] == [("end", "log:a"), ("chat:a", "2")]


async def test_publishing_to_an_ended_topic_does_not_keep_it_alive() -> None:
    manager = manager_of("progress", final_ttl=300)
    await manager.finish("progress", "a", "final")
    with pytest.raises(TopicEnded):
        await manager.publish("progress", "a", "late")
    await anyio.sleep(200)
    with pytest.raises(TopicEnded):
        await manager.publish("progress", "a", "late")
    await anyio.sleep(101)
    await manager.publish("progress", "a", "new")


@pytest.mark.parametrize("ends", [False, True])
async def test_topics_that_made_room_are_gone_from_memory(ends: bool) -> None:
    def stored() -> int:
        gc.collect()
        return sum(type(thing) is _Stored for thing in gc.get_objects())

    before = stored()
    broker = MemoryBroker(max_topics=10)
    manager = manager_of("progress", broker=broker)
    for number in range(500):
        await (manager.finish if ends else manager.publish)("progress", str(number), "x")
    assert broker.topics == 10
    assert stored() - before == 10


async def test_a_rate_limit_does_not_repeat_the_last_word() -> None:
    manager = manager_of("progress", max_rate=0.05, timeout=1)
    async with connect(manager, ONE) as conn:
        await manager.publish("progress", "a", "x")
        await conn.until_closed()
    assert len(conn.retries) == 2, "the first and the last"


async def test_the_last_word_of_a_run_ends_no_other_run() -> None:
    """The source has ended, its final form takes long, and everybody leaves and comes back."""
    runs: list[int] = []
    slow = anyio.Event()

    async def get_entity(entity_id: str) -> dict[str, str]:
        if runs:
            await slow.wait()
        return {"state": "running"}

    async def source(entity_id: str) -> AsyncIterator[str]:
        runs.append(1)
        yield "the only event"

    manager = manager_with(source, linger=0, get_entity=get_entity, transform_fn=lambda data: data)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    slow.set()
    async with connect(manager, ONE) as conn:
        await conn.until_closed()
    assert [event.data for event in conn.received] == ["the only event", "done"]
    assert runs == [1]


async def test_nobody_gets_a_hub_whose_broker_is_not_open_yet() -> None:
    class SlowToOpen(MemoryBroker):
        async def open(self, sink: Sink) -> None:
            await anyio.sleep(1)
            await super().open(sink)

    manager = manager_of("progress", broker=SlowToOpen())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(manager.publish, "progress", "z", "1")
        await settle()
        async with connect(manager, ONE) as conn:
            await manager.publish("progress", "a", "x")
            assert (await conn.next_event()).data == "x"


async def test_a_viewer_left_over_from_a_lifespan_does_not_silence_the_next() -> None:
    manager = manager_of("progress")
    async with connect(manager, ONE) as old:
        await settle()
        old.stall()
        await manager.publish("progress", "a", "x")
        await settle()
        async with manager.lifespan():
            pass
        async with connect(manager, ONE) as new:
            await manager.publish("progress", "a", "1")
            await new.next_event()
            await old.disconnect()
            await manager.publish("progress", "a", "2")
            assert (await new.next_event()).data == "2"


async def test_a_registry_entry_of_the_users_own_is_no_obstacle() -> None:
    manager = manager_of("progress")
    await manager.connection_registry.add_connection("progress:a#1")
    async with connect(manager, ONE):
        await settle()
        assert manager.connection_registry.get_stats()["total"] == 2
    assert manager.connection_registry.get_stats()["total"] == 1


async def test_a_job_that_is_started_again_is_not_its_former_run() -> None:
    """Its source had ended by itself, and its entity with it; now the entity is active again."""
    job = {"state": "running", "run": 1}

    async def source(entity_id: str) -> AsyncIterator[str]:
        yield f"run {job['run']}"
        job["state"] = "done"

    manager = manager_with(
        source, get_entity=lambda id: job, is_active=lambda job: job["state"] == "running"
    )
    assert [e.data for e in (await request(manager, ONE)).received] == ["run 1", "done"]
    assert [e.data for e in (await request(manager, ONE)).received] == ["run 1", "done"]
    job.update(state="running", run=2)
    assert [e.data for e in (await request(manager, ONE)).received] == ["run 2", "done"]


async def test_a_receive_that_never_waits_lets_others_run() -> None:
    """The well-known way to read a body twice."""
    manager = manager_of("progress")
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/stream_progress", "root_path": "",
        "query_string": b"id=a", "headers": [],
    }  # fmt: skip
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(manager, scope, receive, send)
        while len(sent) < 2:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert sent[1]["body"]
