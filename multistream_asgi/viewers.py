"""The open connections of a hub, and the time that passes for all of them at once."""

from __future__ import annotations

from typing import Protocol

import anyio

from .errors import MultiStreamError
from .log import TopicLog
from .tasks import Clock

__all__ = ["Full", "Viewer", "Viewers"]


class Full(MultiStreamError):
    """A bound of `Limits` is reached; the client is told to come back later."""


class Viewer(Protocol):
    """What the hub knows of an open connection. Nothing here waits or raises."""

    period: float

    def wake(self, log: TopicLog) -> None:
        """There is something new in `log`."""

    def tick(self, now: float) -> None:
        """Time has passed: beat, end or give up if that is due."""

    def say_goodbye(self, retry_ms: int) -> None:
        """Send what waits, then the farewell, then end."""

    def give_up(self) -> None:
        """End at once: it takes no write."""


class Viewers:
    """Every viewer of a hub. One clock beats for all of them: no timer per viewer or per write."""

    def __init__(self, clock: Clock, most: int | None) -> None:
        self.now = clock.now()
        """The time as of the last tick: cheap enough to read at every write."""
        self._clock = clock
        self._most = most
        self._all: dict[Viewer, None] = {}
        self._tick_at: float | None = None
        self._gone: anyio.Event | None = None

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, viewer: Viewer) -> None:
        """Count a viewer in, and give it ticks. Raises `Full`."""
        if self._most is not None and len(self._all) >= self._most:
            raise Full("max_viewers")
        if not self._all:
            self.now = self._clock.now()
        self._all[viewer] = None
        self._tick_by(self._clock.now() + viewer.period)

    def leave(self, viewer: Viewer) -> None:
        """Count a viewer out."""
        self._all.pop(viewer, None)
        if not self._all and self._gone is not None:
            self._gone.set()

    def all(self) -> list[Viewer]:
        """Those that are there now."""
        return list(self._all)

    async def gone(self) -> None:
        """Return when there is none left."""
        if self._all:
            if self._gone is None or self._gone.is_set():
                self._gone = anyio.Event()
            await self._gone.wait()

    def _tick_by(self, when: float) -> None:
        if self._tick_at is None or when < self._tick_at:
            self._tick_at = when
            self._clock.at(when, lambda: self._tick(when))

    def _tick(self, when: float) -> None:
        if when != self._tick_at:
            return  # an earlier tick was asked for since, and it goes on from there
        self._tick_at = None
        self.now = now = self._clock.now()
        period = 1.0
        for viewer in self.all():
            viewer.tick(now)
            period = min(period, viewer.period)
        if self._all:
            self._tick_by(now + period)
