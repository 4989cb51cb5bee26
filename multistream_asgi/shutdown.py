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

_Handler = Callable[[int, FrameType | None], Any]


def watch(on_shutdown: Callable[[], object]) -> Callable[[], None]:
    """Call `on_shutdown` in the running event loop when the process is asked to stop.

    Only handlers that a server has set are called through: where there is none, and outside the
    main thread, this does nothing, and `drain` or lifespan must be used. Returns what undoes it.
    """
    links: list[_Link] = []
    if threading.current_thread() is threading.main_thread():
        token = current_token()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if callable(before) and before is not signal.default_int_handler:
                links.append(_Link(number, before, lambda: call_soon(token, on_shutdown)))

    def unwatch() -> None:
        for link in links:
            link.undo()

    return unwatch


class _Link:
    """A handler in front of the one that was there before."""

    def __init__(self, number: signal.Signals, before: _Handler, tell: Callable[[], None]) -> None:
        self._number = number
        self._before = before
        self._tell: Callable[[], None] | None = tell
        signal.signal(number, self)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self._tell is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has gone already
                self._tell()
        self._before(signum, frame)

    def undo(self) -> None:
        """Take this link out, and those that had to stay because of what stood on top of them."""
        self._tell = None
        top = signal.getsignal(self._number)
        wanted = _wanted(top)
        if wanted is not top:
            signal.signal(self._number, wanted)
        while isinstance(wanted, _Link):
            wanted._before = _wanted(wanted._before)
            wanted = wanted._before


def _wanted(handler: Any) -> Any:
    """The first handler of a chain that is not a link of ours which is undone."""
    while isinstance(handler, _Link) and handler._tell is None:
        handler = handler._before
    return handler
