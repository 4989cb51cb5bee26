"""Sources of every kind: each datum in order, and closed exactly once whatever ends it."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from multistream_asgi import StreamEndpoint, Topic
from multistream_asgi.entities import Entities
from multistream_asgi.source_kinds import run_source
from multistream_asgi.sources import RunningSource, transform
from multistream_asgi.tasks import spawn


async def async_gen(entity_id: str) -> AsyncIterator[str]:
    yield f"{entity_id}1"
    yield f"{entity_id}2"


def sync_gen(entity_id: str) -> Iterator[str]:
    yield f"{entity_id}1"
    yield f"{entity_id}2"


async def returns_async(entity_id: str) -> Any:
    return async_gen(entity_id)


async def returns_sync(entity_id: str) -> Any:
    return [f"{entity_id}1", f"{entity_id}2"]


class Iterates:
    """An async iterable that is no generator and has no `aclose`."""

    def __init__(self, entity_id: str) -> None:
        self.left = [f"{entity_id}2", f"{entity_id}1"]

    def __aiter__(self) -> Iterates:
        return self

    async def __anext__(self) -> str:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


class Method:
    def source(self, entity_id: str) -> Iterator[str]:
        return sync_gen(entity_id)

    async def async_source(self, entity_id: str) -> AsyncIterator[str]:
        async for item in async_gen(entity_id):
            yield item


class Callable_:
    def __call__(self, entity_id: str) -> Any:
        return sync_gen(entity_id)


async def run(source: Any, entity_id: str = "a", stop_after: int = 99) -> list[Any]:
    got: list[Any] = []

    async def emit(item: Any) -> bool:
        got.append(item)
        return len(got) < stop_after

    with anyio.fail_after(10):
        await run_source(source, entity_id, emit, 5.0)
    return got


@pytest.mark.parametrize(
    "source",
    [
        async_gen,
        sync_gen,
        returns_async,
        returns_sync,
        Iterates,
        lambda id: async_gen(id),
        lambda id: sync_gen(id),
        lambda id: [f"{id}1", f"{id}2"],
        lambda id: iter((f"{id}1", f"{id}2")),
        lambda id: lambda: async_gen(id),
        lambda id: lambda: sync_gen(id),
        lambda id: returns_async(id),
        Method().source,
        Method().async_source,
        Callable_(),
    ],
)
async def test_every_kind_of_source(source: Any) -> None:
    assert await run(source) == ["a1", "a2"]


@pytest.mark.parametrize("source", [lambda id: None, lambda id: [], lambda id: lambda: None])
async def test_a_source_with_nothing_to_say_ends_at_once(source: Any) -> None:
    assert await run(source) == []


async def async_none(entity_id: str) -> None:
    return None


async def test_an_async_function_may_have_nothing_to_say() -> None:
    assert await run(async_none) == []


async def returns_text(entity_id: str) -> str:
    return "text"


@pytest.mark.parametrize(
    "source", [lambda id: 42, lambda id: "text", lambda id: b"x", lambda id: {"a": 1}, returns_text]
)
async def test_a_source_of_an_unusable_kind_is_a_type_error(source: Any) -> None:
    with pytest.raises(TypeError, match="data_source"):
        await run(source)


class Watched:
    """A source that notes where it runs and how often it is closed."""

    def __init__(self) -> None:
        self.closed = 0
        self.cleaned_up = 0
        self.threads: set[int] = set()
        self.waiting = anyio.Event()

    async def asynchronous(self, entity_id: str) -> AsyncIterator[int]:
        try:
            yield 1
            self.waiting.set()
            await anyio.sleep_forever()
        finally:
            self.closed += 1
            with anyio.CancelScope(shield=True):  # as trio's users have to
                await checkpoint()
            self.cleaned_up += 1

    async def bare(self, entity_id: str) -> AsyncIterator[int]:
        try:
            yield 1
            self.waiting.set()
            await anyio.sleep_forever()
        finally:
            self.closed += 1
            await checkpoint()
            self.cleaned_up += 1

    def synchronous(self, entity_id: str) -> Iterator[int]:
        self.threads.add(threading.get_ident())
        try:
            for n in range(1000):
                self.threads.add(threading.get_ident())
                yield n
        finally:
            self.threads.add(threading.get_ident())
            self.closed += 1

    async def failing(self, entity_id: str) -> AsyncIterator[int]:
        try:
            yield 1
            raise RuntimeError("secret")
        finally:
            self.closed += 1

    def failing_sync(self, entity_id: str) -> Iterator[int]:
        try:
            yield 1
            raise RuntimeError("secret")
        finally:
            self.closed += 1


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
async def test_a_source_that_is_told_to_stop_is_closed_once(kind: str) -> None:
    watched = Watched()
    assert len(await run(getattr(watched, kind), stop_after=1)) == 1
    assert watched.closed == 1


@pytest.mark.parametrize("kind", ["failing", "failing_sync"])
async def test_a_source_that_raises_is_closed_once_and_its_error_comes_out(kind: str) -> None:
    watched = Watched()
    with pytest.raises(RuntimeError, match="secret"):
        await run(getattr(watched, kind))
    assert watched.closed == 1


async def test_a_sync_source_lives_in_one_thread_that_is_not_the_loops() -> None:
    watched = Watched()
    assert len(await run(watched.synchronous, stop_after=5)) == 5
    assert len(watched.threads) == 1
    assert threading.get_ident() not in watched.threads


async def test_an_error_of_the_receiver_closes_a_sync_source_and_comes_out() -> None:
    watched = Watched()

    async def emit(item: Any) -> bool:
        raise ValueError("cannot be sent")

    with pytest.raises(ValueError, match="cannot be sent"):
        await run_source(watched.synchronous, "a", emit, 5.0)
    assert watched.closed == 1


@pytest.mark.parametrize("kind", ["asynchronous", "bare"])
async def test_a_cancelled_source_is_closed_once_and_may_await_in_its_finally(
    kind: str, anyio_backend_name: str
) -> None:
    """On trio that takes a shield, as everywhere there."""
    watched = Watched()

    async def emit(item: Any) -> bool:
        return True

    with anyio.fail_after(10):
        task = spawn("test", run_source, getattr(watched, kind), "a", emit, 5.0)
        await watched.waiting.wait()
        task.cancel()
        await task.wait()
    assert watched.closed == 1
    if kind == "asynchronous" or anyio_backend_name == "asyncio":
        assert watched.cleaned_up == 1


async def test_a_cancelled_sync_source_is_closed_in_its_thread() -> None:
    watched = Watched()
    began = anyio.Event()

    async def emit(item: Any) -> bool:
        began.set()
        await checkpoint()
        return True

    def endless(entity_id: str) -> Iterator[int]:
        while True:
            yield from watched.synchronous(entity_id)

    with anyio.fail_after(10):
        task = spawn("test", run_source, endless, "a", emit, 5.0)
        await began.wait()
        task.cancel()
        await task.wait()
    assert watched.closed == 1
    assert len(watched.threads) == 1


async def test_a_source_that_will_not_close_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    let_go = threading.Event()
    blocked = threading.Event()

    def stuck(entity_id: str) -> Iterator[int]:
        yield 1
        blocked.set()
        let_go.wait(10)

    async def emit(item: Any) -> bool:
        return True

    with anyio.fail_after(10):
        task = spawn("test", run_source, stuck, "a", emit, 0.01)
        while not blocked.is_set():
            await checkpoint()
        task.cancel()
        await task.wait()
    let_go.set()
    assert "left behind" in caplog.text


async def test_a_source_that_never_waits_lets_others_run() -> None:
    ran = anyio.Event()

    async def busy(entity_id: str) -> AsyncIterator[int]:
        while not ran.is_set():
            yield 1

    async def other() -> None:
        ran.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await run(busy, stop_after=1000)
    assert ran.is_set()


@pytest.mark.parametrize(
    ("fn", "result"),
    [
        (None, "x"),
        (lambda data: data * 2, "xx"),
        (lambda data, final: (data, final), ("x", True)),
        (lambda data, *, entity_id: entity_id, "a"),
        (lambda data, **kwargs: sorted(kwargs), ["entity_id", "final"]),
        (lambda data: None, None),
    ],
)
async def test_a_transform_gets_what_it_accepts(fn: Any, result: Any) -> None:
    endpoint = StreamEndpoint("log", "_log", transform_fn=fn)
    assert await transform(endpoint, "x", entity_id="a", final=True) == result


async def test_a_transform_may_be_async() -> None:
    async def fn(data: str, final: bool) -> str:
        await checkpoint()
        return f"{data}{final}"

    endpoint = StreamEndpoint("log", "_log", transform_fn=fn)
    assert await transform(endpoint, "x", entity_id="a", final=False) == "xFalse"


class Published:
    def __init__(self) -> None:
        self.events: list[tuple[Any, Any]] = []

    async def __call__(
        self, endpoint: StreamEndpoint, topic: Topic, data: Any, *, ends: Any = None
    ) -> int:
        self.events.append((data, ends))
        return len(self.events)


async def run_to_end(source: Any, restarts: int = 0, entities: Any = None, fn: Any = None) -> Any:
    published, done = Published(), anyio.Event()
    running = RunningSource(
        source,
        StreamEndpoint("log", "_log", source, fn),
        Topic("log", "a"),
        publish=published,
        entities=entities or Entities(None, None),
        restarts=restarts,
        close_timeout=5.0,
        before=(),
        on_done=done.set,
    )
    with anyio.fail_after(10):
        await done.wait()
    assert running.task.done
    return published.events


async def test_a_source_that_ends_ends_its_topic() -> None:
    assert await run_to_end(async_gen) == [("a1", None), ("a2", None), (None, "done")]


async def test_its_end_shows_the_entity_if_that_has_ended_too() -> None:
    events = await run_to_end(
        async_gen, 0, Entities(lambda id: "over", lambda e: False), lambda data, final: data
    )
    assert events[-1] == ("over", "inactive")
    on = Entities(lambda id: "it", lambda entity: True)
    over = Entities(lambda id: "it", lambda entity: False)
    assert (await run_to_end(async_gen, 0, on, lambda data, final: data))[-1] == (None, "done")
    assert (await run_to_end(async_gen, 0, over, lambda data: data))[-1] == (None, "inactive")


async def test_a_source_that_fails_is_run_again_and_then_fails_its_topic(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    watched = Watched()
    events = await run_to_end(watched.failing, restarts=2)
    assert events == [(1, None), (1, None), (1, None), (None, "failed")]
    assert watched.closed == 3
    assert caplog.text.count("RuntimeError: secret") == 3


async def test_a_last_event_that_fails_fails_the_topic(caplog: pytest.LogCaptureFixture) -> None:
    def get_entity(entity_id: str) -> Any:
        raise RuntimeError("no database")

    events = await run_to_end(async_gen, 0, Entities(get_entity, None), lambda data, final: data)
    assert events[-1] == (None, "failed")
    assert "no database" in caplog.text


def test_the_source_kinds_above_are_what_they_seem() -> None:
    assert inspect.isasyncgenfunction(async_gen)
    assert inspect.isgeneratorfunction(sync_gen)
    assert inspect.iscoroutinefunction(returns_async)
