"""Sources of sync code run in a thread of their own; real time, for it runs without us."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from multistream_asgi import StreamEndpoint
from tests.asgi.driver import connect, request
from tests.asgi.feed import manager_of
from tests.asgi.virtual_time import REAL_BACKENDS

ONE = "/stream_progress?id=a"


@pytest.fixture(scope="session", params=REAL_BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return REAL_BACKENDS[request.param]


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - a thread makes it true, and knows no event
            await anyio.sleep(0.001)


class SyncFeed:
    """A sync generator that blocks between its data until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.threads: dict[str, threading.Thread] = {}
        self.closed = 0

    def source(self, entity_id: str) -> Iterator[int]:
        self.threads["opened"] = threading.current_thread()
        try:
            for n in range(1000):
                yield n
                self.go.acquire()
        finally:
            self.threads["closed"] = threading.current_thread()
            self.closed += 1


async def test_a_sync_generator_is_streamed_off_the_event_loop() -> None:
    feed = SyncFeed()
    manager = manager_of(StreamEndpoint("progress", "_progress", feed.source), linger=0)
    async with connect(manager, ONE) as conn:
        assert await conn.data(1) == ["0"]
        feed.go.release()
        assert await conn.data(1) == ["1"]
        thread = feed.threads["opened"]
        assert thread is not threading.current_thread()
        assert thread.daemon
    feed.go.release()
    await until(lambda: feed.closed)
    assert feed.closed == 1
    assert feed.threads["closed"] is thread
    await until(lambda: not thread.is_alive())


async def test_a_sync_source_that_blocks_holds_nobody_up() -> None:
    feed = SyncFeed()
    manager = manager_of(StreamEndpoint("progress", "_progress", feed.source), "log", linger=0)
    async with connect(manager, "/stream?id=a") as conn:
        await conn.events(1)
        await manager.publish("log", "a", "meanwhile")
        assert await conn.data(1) == ["meanwhile"]
    feed.go.release()
    await until(lambda: feed.closed)


async def test_what_a_stopped_sync_source_still_says_is_not_heard() -> None:
    """Not by who comes next: its datum belongs to a run that is over."""
    feed = SyncFeed()
    manager = manager_of(StreamEndpoint("progress", "_progress", feed.source), linger=0)
    async with connect(manager, ONE) as conn:
        await conn.events(1)
    async with connect(manager, ONE) as conn:
        feed.go.release()
        assert await conn.data(1) == ["0"]
        assert feed.closed == 1
    feed.go.release()
    await until(lambda: feed.closed == 2)


async def test_a_datum_in_an_async_transform_when_its_sync_source_is_stopped_is_not_heard() -> None:
    """The transform of a sync source's datum runs in a task that the stop does not reach."""
    feed = SyncFeed()
    transforming, go = anyio.Event(), anyio.Event()

    async def transform(data: int) -> str:
        if data == 1:
            transforming.set()
            await go.wait()
        return f"{data} of run {feed.closed + 1}"

    endpoint = StreamEndpoint("progress", "_progress", feed.source, transform)
    manager = manager_of(endpoint, linger=0)
    async with connect(manager, ONE) as conn:
        assert await conn.data(1) == ["0 of run 1"]
        feed.go.release()
        await transforming.wait()
    go.set()
    feed.go.release()
    await until(lambda: feed.closed)
    async with connect(manager, ONE) as conn:
        assert await conn.data(1) == ["0 of run 2"]
    feed.go.release()
    await until(lambda: feed.closed == 2)


def generator(entity_id: str) -> Iterator[str]:
    yield from "ab"


def plain(entity_id: str) -> list[str]:
    return ["a", "b"]


def nested(entity_id: str) -> Callable[[], Iterator[str]]:
    return lambda: iter("ab")


async def asynchronous(entity_id: str) -> tuple[str, ...]:
    return ("a", "b")


def returns_async(entity_id: str) -> Any:
    async def inner() -> Any:
        for letter in "ab":
            yield letter

    return inner()


class WithCall:
    def __call__(self, entity_id: str) -> Iterator[str]:
        yield from "ab"


@pytest.mark.parametrize(
    "source", [generator, plain, nested, asynchronous, returns_async, WithCall()]
)
async def test_kinds(source: Any) -> None:
    manager = manager_of(StreamEndpoint("progress", "_progress", source))
    conn = await request(manager, ONE)
    assert [event.data for event in conn.received] == ["a", "b", "done"]


@pytest.mark.parametrize("returned", ["ab", b"ab", {"a": 1}, 7, object()], ids=repr)
async def test_kinds_that_are_no_sequence_of_data(returned: Any) -> None:
    """Python iterates a string and a dict, but nobody means their letters and keys."""

    async def asynchronous(entity_id: str) -> Any:
        return returned

    for source in (lambda entity_id: returned, asynchronous):
        manager = manager_of(StreamEndpoint("progress", "_progress", source))
        conn = await request(manager, ONE)
        assert [event.type for event in conn.received] == ["failed", "close"]


@pytest.mark.parametrize("source", [None, lambda entity_id: None])
async def test_a_source_of_nothing(source: Any) -> None:
    """None is only published to; one that returns None has nothing to say and has ended."""
    manager = manager_of(StreamEndpoint("progress", "_progress", source))
    async with connect(manager, ONE) as conn:
        if source is None:
            await manager.publish("progress", "a", "x")
            assert await conn.data(1) == ["x"]
        else:
            assert [event.type for event in await conn.until_closed()] == ["close"]


async def test_the_notebook_s_own_status_source() -> None:
    """A lambda that yields, which the seed crashed on."""
    source: Any = lambda id: (yield {"status": "running"})  # noqa: E731
    manager = manager_of(StreamEndpoint("status", "_status", source))
    conn = await request(manager, "/stream_status?id=a")
    assert [event.data for event in conn.received] == ['{"status":"running"}', "done"]


async def test_a_sync_source_that_fails() -> None:
    def source(entity_id: str) -> Iterator[str]:
        yield "x"
        raise RuntimeError("hunter2")

    conn = await request(manager_of(StreamEndpoint("progress", "_progress", source)), ONE)
    assert [event.type for event in conn.received] == ["message", "failed", "close"]
    assert b"hunter2" not in conn.body


async def test_a_sync_source_that_exits_fails_and_the_server_goes_on() -> None:
    def source(entity_id: str) -> Iterator[str]:
        yield "x"
        raise SystemExit(3)

    conn = await request(manager_of(StreamEndpoint("progress", "_progress", source)), ONE)
    assert [event.type for event in conn.received] == ["message", "failed", "close"]
