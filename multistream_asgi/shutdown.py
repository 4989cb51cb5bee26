"""How a shutdown is noticed where no server tells: by the signals it is asked with.

A server runs `lifespan.shutdown` only after its open streams have ended, and a mounted app gets no
lifespan at all; uvicorn waits for ever. So the handler that the server has set for SIGINT and
SIGTERM is called through one of ours, which first lets the streams know.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from anyio.lowlevel import current_token

from .tasks import call_soon

__all__ = ["watch"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def watch(on_shutdown: Callable[[], object]) -> Callable[[], None]:
    """Call `on_shutdown` in the running event loop when the process is asked to stop.

    Only handlers that a server has set are called through: where there is none, and outside the
    main thread, this does nothing, and `drain` or lifespan must be used. Returns what undoes it.
    """
    undo: list[Callable[[], None]] = []
    if threading.current_thread() is threading.main_thread():
        token = current_token()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if callable(before) and before is not signal.default_int_handler:
                undo.append(_chain(number, before, lambda: call_soon(token, on_shutdown)))

    def unwatch() -> None:
        for one in undo:
            one()

    return unwatch


def _chain(
    number: signal.Signals, before: Callable[[int, FrameType | None], Any], tell: Callable[[], None]
) -> Callable[[], None]:
    telling = True

    def handle(signum: int, frame: FrameType | None) -> None:
        if telling:
            with contextlib.suppress(RuntimeError):  # the event loop has gone already
                tell()
        before(signum, frame)

    def undo() -> None:
        nonlocal telling
        telling = False  # somebody may have chained on top of ours, so it may have to stay
        if signal.getsignal(number) is handle:
            signal.signal(number, before)

    signal.signal(number, handle)
    return undo
