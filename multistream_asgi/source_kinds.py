"""A data source of any kind -> its data, one at a time, closed exactly once."""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any

import anyio
from anyio import from_thread
from anyio.lowlevel import EventLoopToken, checkpoint, current_token

from .types import DataSource

__all__ = ["Emit", "run_source"]

logger = logging.getLogger("multistream_asgi")

Emit = Callable[[Any], Coroutine[Any, Any, bool]]
"""Takes a datum; False asks the source to stop."""


async def run_source(
    source: DataSource, entity_id: str, emit: Emit, close_timeout: float | None
) -> None:
    """Run `source(entity_id)` to its end, passing each datum to `emit`.

    Async code runs in the calling task. Sync code runs in a daemon thread of its own, from its
    call to its close, so that what it opens (a database cursor, a file) stays in one thread and a
    source that blocks for ever cannot keep the process alive. A source that is or returns None
    has nothing to say and ends at once.

    Whatever ends it, exhaustion, an exception, `emit` or cancellation, its `aclose()` or
    `close()` is called exactly once, within `close_timeout` seconds. Raises what the source
    raises, and `TypeError` for a source of an unusable kind.
    """
    function = inspect.unwrap(source)
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        items = await _resolve(source(entity_id))
    else:
        thread = _Thread(source, entity_id, emit, close_timeout)
        items = await _resolve(await thread.run())
    if items is None:
        return
    if isinstance(items, AsyncIterable):
        await _run_async(aiter(items), emit, close_timeout)
    else:
        # An async function returned something sync: iterating it may block all the same.
        await _Thread(lambda _: items, entity_id, emit, close_timeout).run()


async def _resolve(items: Any) -> Any:
    """Await and call until what is left can be iterated."""
    while True:
        if inspect.isawaitable(items):
            items = await items
        elif callable(items) and not isinstance(items, AsyncIterable | Iterable):
            items = items()
        else:
            return items


async def _run_async(items: AsyncIterator[Any], emit: Emit, close_timeout: float | None) -> None:
    try:
        async for item in items:
            if not await emit(item):
                break
            # A source that never waits would keep everybody else from running.
            await checkpoint()
    finally:
        if hasattr(items, "aclose"):
            with anyio.move_on_after(close_timeout, shield=True) as scope:
                await items.aclose()
            if scope.cancelled_caught:
                logger.warning("a source did not close within %s s", close_timeout)


class _Thread:
    """A sync source in a thread of its own."""

    def __init__(
        self, source: DataSource, entity_id: str, emit: Emit, close_timeout: float | None
    ) -> None:
        self._source, self._entity_id, self._emit = source, entity_id, emit
        self._close_timeout = close_timeout
        self._stop = False
        self._error: BaseException | None = None
        self._async_items: Any = None
        self._ended = anyio.Event()
        self._emitting = anyio.CancelScope()

    async def run(self) -> Any:
        """Iterate what the source returns; return it instead where only a loop can run it."""
        token = current_token()
        threading.Thread(
            target=self._work, args=(token,), daemon=True, name="multistream_asgi source"
        ).start()
        try:
            await self._ended.wait()
        except BaseException:
            self._stop = True
            self._emitting.cancel()
            with anyio.move_on_after(self._close_timeout, shield=True) as scope:
                await self._ended.wait()
            if scope.cancelled_caught:
                logger.warning(
                    "a sync source did not come back within %s s; its thread is left behind",
                    self._close_timeout,
                )
            if self._error is not None:
                logger.error("a sync source failed as it was closed", exc_info=self._error)
            raise
        if isinstance(self._error, Exception):
            raise self._error
        if self._error is not None:  # SystemExit in a thread is not the event loop's to obey
            raise RuntimeError("a sync source was torn down") from self._error
        return self._async_items

    def _work(self, token: EventLoopToken) -> None:
        try:
            items = self._source(self._entity_id)
            while callable(items) and not isinstance(items, AsyncIterable | Iterable):
                items = items()
            if items is None or inspect.isawaitable(items) or isinstance(items, AsyncIterable):
                self._async_items = items
            elif isinstance(items, Iterable) and not isinstance(items, str | bytes | dict):
                self._iterate(iter(items), token)
            else:
                raise TypeError(f"data_source returned {type(items).__name__}, not an iterable")
        except BaseException as error:
            self._error = error
        with contextlib.suppress(RuntimeError):  # the event loop is gone, and its waiter with it
            from_thread.run_sync(self._ended.set, token=token)

    def _iterate(self, items: Iterator[Any], token: EventLoopToken) -> None:
        try:
            for item in items:
                if self._stop or not from_thread.run(self._emit_here, item, token=token):
                    break
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    async def _emit_here(self, item: Any) -> bool:
        # In a task of its own: what stops the source has to reach it too.
        with anyio.CancelScope() as self._emitting:
            return not self._stop and await self._emit(item)
        return False
