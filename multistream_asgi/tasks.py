"""Tasks that outlive the request that started them, and the timers of one hub.

A mounted app gets no lifespan, so there is no task group of ours to start them in: on asyncio they
are plain tasks, on trio system tasks.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import anyio
from anyio.lowlevel import EventLoopToken

__all__ = ["Clock", "Task", "Timer", "call_soon", "is_running", "on_asyncio", "spawn"]

logger = logging.getLogger("multistream_asgi")

_strong: set[Task] = set()  # the event loop itself holds its tasks weakly


def on_asyncio() -> bool:
    """Whether asyncio runs here; in its callbacks too, where anyio cannot tell."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def is_running(token: EventLoopToken) -> bool:
    """Whether the event loop of `token` still runs."""
    loop = token.native_token
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop.is_running()
    try:
        call_soon(token, lambda: None)
    except RuntimeError:  # trio.RunFinishedError
        return False
    return True


def call_soon(token: EventLoopToken, fn: Callable[[], object]) -> None:
    """Run `fn` in the event loop of `token`; safe from any thread and from signal handlers."""
    loop = token.native_token
    if isinstance(loop, asyncio.AbstractEventLoop):
        loop.call_soon_threadsafe(fn)
    else:
        cast(Any, loop).run_sync_soon(fn)


class Task:
    """A running `fn(*args)`. Its exceptions are logged, never raised."""

    def __init__(self, name: str, on_done: Callable[[], None] | None) -> None:
        self.name = name
        self.done = False
        self._on_done = on_done
        self._ended = anyio.Event()
        self._cancel: Callable[[], object] = lambda: None

    def cancel(self) -> None:
        """Ask the task to stop.

        On asyncio this is one `CancelledError`, not anyio's repeated one, so that an `await` in a
        `finally` of the user's code runs to its end. On trio it is a cancelled scope, as there
        always.
        """
        if not self.done:
            self._cancel()

    async def wait(self) -> None:
        """Return once the task has ended."""
        await self._ended.wait()

    async def _run(self, fn: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        try:
            await fn(*args)
        except Exception:
            logger.exception("%s failed", self.name)
        finally:
            self._finish()

    def _finish(self) -> None:
        if not self.done:
            self.done = True
            _strong.discard(self)
            self._ended.set()
            if self._on_done is not None:
                self._on_done()


def spawn(
    name: str,
    fn: Callable[..., Awaitable[None]],
    *args: Any,
    on_done: Callable[[], None] | None = None,
) -> Task:
    """Start `fn(*args)` in a task of its own and return it; `on_done` is called when it ends.

    It runs in an empty context, so that nothing of the request that happened to come first (a
    current user, a trace) leaks into what all viewers share.
    """
    task = Task(name, on_done)
    _strong.add(task)
    if on_asyncio():
        native = asyncio.get_running_loop().create_task(
            task._run(fn, args), name=name, context=Context()
        )
        # A task that is cancelled before its first step never reaches its `finally`.
        native.add_done_callback(lambda _: task._finish())
        task._cancel = native.cancel
    else:
        import trio  # only where trio runs

        async def in_scope(scope: anyio.CancelScope) -> None:
            with scope:
                await task._run(fn, args)

        scope = anyio.CancelScope()
        task._cancel = scope.cancel
        trio.lowlevel.spawn_system_task(in_scope, scope, name=name, context=Context())
    return task


@dataclass(slots=True, order=True)
class Timer:
    """A call to come; without `fn` when it was made or cancelled."""

    when: float
    order: int
    fn: Callable[[], object] | None = field(compare=False)


class Clock:
    """Timers, run by one task that exists only while a timer does."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._timers: list[Timer] = []
        self._cancelled = 0
        self._order = count()
        self._task: Task | None = None
        self._changed = anyio.Event()

    def now(self) -> float:
        """Seconds on the event loop's clock."""
        return asyncio.get_running_loop().time() if on_asyncio() else anyio.current_time()

    def at(self, when: float, fn: Callable[[], object]) -> Timer:
        """Call `fn` at `when`, unless the timer that is returned is cancelled before."""
        timer = Timer(when, next(self._order), fn)
        heapq.heappush(self._timers, timer)
        if self._task is None:
            self._task = spawn(self._name, self._run)
        elif self._timers[0] is timer:
            self._changed.set()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer, and what it would have called, at once."""
        if timer.fn is not None:
            timer.fn = None
            self._cancelled += 1
            if self._cancelled > 100 and self._cancelled > len(self._timers) // 2:
                self._timers = [timer for timer in self._timers if timer.fn is not None]
                heapq.heapify(self._timers)
                self._cancelled = 0
            elif self._cancelled == len(self._timers):
                self._timers.clear()
                self._cancelled = 0
                self._changed.set()  # nothing is left to wait for

    def stop(self) -> None:
        """Drop every timer."""
        self._timers.clear()
        self._cancelled = 0
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while self._timers:
            when = self._timers[0].when
            if when > self.now():
                self._changed = anyio.Event()
                with anyio.move_on_after(when - self.now()):
                    await self._changed.wait()
                continue
            timer = heapq.heappop(self._timers)
            fn, timer.fn = timer.fn, None
            if fn is None:
                self._cancelled -= 1
                continue
            try:
                fn()
            except Exception:
                logger.exception("%s: a timer failed", self._name)
        self._task = None
