"""Tasks that outlive a request, and the clock."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint, current_token

from multistream_asgi.tasks import Clock, call_soon, is_running, on_asyncio, spawn

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="none")


async def test_a_task_runs_and_tells_when_it_has_ended() -> None:
    seen: list[Any] = []

    async def work(a: int, b: int) -> None:
        seen.append(a + b)

    task = spawn("adds", work, 1, 2, on_done=lambda: seen.append("done"))
    with anyio.fail_after(10):
        await task.wait()
    assert seen == [3, "done"]
    assert task.done
    task.cancel()


async def test_nothing_of_the_caller_leaks_into_a_task() -> None:
    VARIABLE.set("the first viewer")
    seen: list[str] = []

    async def work() -> None:
        seen.append(VARIABLE.get())

    with anyio.fail_after(10):
        await spawn("looks", work).wait()
    assert seen == ["none"]


async def test_a_task_outlives_the_scope_it_was_started_in() -> None:
    ended = anyio.Event()
    go = anyio.Event()

    async def work() -> None:
        await go.wait()
        ended.set()

    with anyio.CancelScope() as scope:
        spawn("stays", work)
        scope.cancel()
        await checkpoint()
    go.set()
    with anyio.fail_after(10):
        await ended.wait()


async def test_an_exception_is_logged_and_stops_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        raise RuntimeError("oh")

    with caplog.at_level(logging.ERROR), anyio.fail_after(10):
        await spawn("fails", work).wait()
    assert "fails failed" in caplog.text
    assert "RuntimeError: oh" in caplog.text


async def test_a_task_cancelled_before_it_began_has_ended_too() -> None:
    done = anyio.Event()

    async def work() -> None:
        await anyio.sleep_forever()

    task = spawn("never", work, on_done=done.set)
    task.cancel()
    with anyio.fail_after(10):
        await task.wait()
        await done.wait()


async def test_the_loop_in_which_we_run_is_known(anyio_backend_name: str) -> None:
    assert on_asyncio() == (anyio_backend_name == "asyncio")
    assert is_running(current_token())
    called = anyio.Event()
    call_soon(current_token(), called.set)
    with anyio.fail_after(10):
        await called.wait()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_has_ended_is_known(backend: str) -> None:
    tokens = []

    async def main() -> None:
        tokens.append(current_token())

    anyio.run(main, backend=backend)
    assert not is_running(tokens[0])


async def test_timers_run_in_the_order_of_their_times_and_the_task_goes() -> None:
    clock = Clock("test")
    now = clock.now()
    order: list[str] = []
    all_done = anyio.Event()
    clock.at(now + 0.03, partial(order.append, "c"))
    clock.at(now + 0.03, all_done.set)
    clock.at(now + 0.01, partial(order.append, "a"))
    clock.at(now + 0.02, partial(order.append, "b"))
    clock.at(now - 1, partial(order.append, "0"))
    task = clock._task
    assert task is not None
    with anyio.fail_after(10):
        await all_done.wait()
        await task.wait()
    assert order == ["0", "a", "b", "c"]


async def test_a_timer_that_fails_spares_the_others(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock("test clock")
    ran = anyio.Event()
    clock.at(clock.now(), lambda: 1 / 0)
    clock.at(clock.now(), ran.set)
    with anyio.fail_after(10):
        await ran.wait()
    assert "test clock: a timer failed" in caplog.text


async def test_a_timer_may_set_another() -> None:
    clock = Clock("test")
    ran = anyio.Event()
    clock.at(clock.now(), lambda: clock.at(clock.now() + 0.01, ran.set))
    with anyio.fail_after(10):
        await ran.wait()


async def test_cancelled_timers_are_forgotten_and_the_last_one_ends_the_clock() -> None:
    clock = Clock("test")
    called: list[int] = []
    timers = [clock.at(clock.now() + 1000 + n, partial(called.append, n)) for n in range(500)]
    task = clock._task
    assert task is not None
    await checkpoint()
    for timer in timers[1:]:
        clock.cancel(timer)
        clock.cancel(timer)
    assert len(clock._timers) <= 201
    assert all(timer.fn is None for timer in timers[1:])
    clock.cancel(timers[0])
    with anyio.fail_after(10):
        await task.wait()
    assert called == []


async def test_a_stopped_clock_calls_nobody() -> None:
    clock = Clock("test")
    called: list[int] = []
    clock.at(clock.now(), lambda: called.append(1))
    task = clock._task
    assert task is not None
    clock.stop()
    with anyio.fail_after(10):
        await task.wait()
    await checkpoint()
    assert called == []


def test_the_clock_tells_the_time_in_a_callback_too() -> None:
    """Where no task runs, anyio does not know its event loop."""
    times: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        clock = Clock("test")

        def look() -> None:
            times.append(clock.now())
            done.set_result(None)

        loop.call_soon(look)
        await done

    asyncio.run(main())
    assert len(times) == 1
