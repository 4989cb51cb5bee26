"""Sources that say what the test tells them to, and count what is done to them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import anyio

from multistream_asgi import MultiStreamManager, StreamConfig, StreamEndpoint

__all__ = ["Feed", "Run", "manager_of"]


class Run:
    """One run of a source."""

    def __init__(self, entity_id: str) -> None:
        self.entity_id = entity_id
        self.closed = 0
        self.exhausted = False
        self._items: deque[Any] = deque()
        self._more = anyio.Event()

    def put(self, *items: Any) -> None:
        """Let the source yield these, one after another."""
        self._items.extend(items)
        self._more.set()

    def end(self) -> None:
        """Let the source come to its end."""
        self.put(StopAsyncIteration())

    def fail(self, error: Exception) -> None:
        """Let the source raise."""
        self.put(error)

    async def next(self) -> Any:
        while not self._items:
            self._more = anyio.Event()
            await self._more.wait()
        return self._items.popleft()


class Feed:
    """The source of a stream; `first` is what each of its runs begins with."""

    def __init__(self, *first: Any) -> None:
        self.first = first
        self.runs: list[Run] = []

    @property
    def run(self) -> Run:
        """The newest run."""
        return self.runs[-1]

    @property
    def open(self) -> int:
        """How many runs have not been closed."""
        return sum(not run.closed for run in self.runs)

    async def source(self, entity_id: str) -> AsyncIterator[Any]:
        run = Run(entity_id)
        self.runs.append(run)
        run.put(*self.first)
        try:
            while True:
                item = await run.next()
                if isinstance(item, StopAsyncIteration):
                    run.exhausted = True
                    return
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            run.closed += 1

    def endpoint(self, name: str = "progress", **options: Any) -> StreamEndpoint:
        return StreamEndpoint(name, f"_{name}", self.source, **options)


def manager_of(*streams: str | StreamEndpoint, **options: Any) -> MultiStreamManager:
    """A manager with these streams; a name alone is a stream that is only published to.

    Options that `StreamConfig` knows are put into the `default_config`.
    """
    known = StreamConfig.__dataclass_fields__.keys()
    config = {name: options.pop(name) for name in list(options) if name in known}
    manager = MultiStreamManager(default_config=StreamConfig(**config), **options)
    for stream in streams:
        if isinstance(stream, str):
            stream = StreamEndpoint(stream, f"_{stream}")
        manager.register_endpoint(stream)
    return manager
