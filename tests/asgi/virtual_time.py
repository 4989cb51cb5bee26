"""Time that passes only when nothing else can happen, and waiting until nothing can.

Intervals of seconds then cost no time, and a heartbeat never comes by chance on a busy machine.
Threads are not seen: a test that waits for one uses real time.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

import trio
import trio.testing
from anyio.lowlevel import checkpoint

__all__ = ["BACKENDS", "REAL_BACKENDS", "VirtualTimeLoop", "settle", "task_count"]


class _Selector(selectors.DefaultSelector):
    """Instead of waiting until a timer is due, it moves the time there."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self.loop.jumped += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """asyncio with the autojump of trio's `MockClock`."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.jumped = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.jumped


BACKENDS: dict[str, Any] = {
    "asyncio": ("asyncio", {"loop_factory": VirtualTimeLoop}),
    "trio": ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}),
}
REAL_BACKENDS: dict[str, Any] = {"asyncio": "asyncio", "trio": "trio"}


async def settle() -> None:
    """Return once every other task waits for something that only time or the caller can bring.

    Two that call it at once would wait for each other.
    """
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        await trio.testing.wait_all_tasks_blocked()
        return
    await checkpoint()
    while loop._ready:
        await checkpoint()


def task_count() -> int:
    """How many tasks there are in the event loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living
