"""sse-starlette as it is commonly used: `EventSourceResponse` over a queue per viewer.

No Starlette app lies around it, and the generator yields a plain `str`: its quickest ways.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

__all__ = ["make"]


class Queues:
    """See above."""

    path = "/"

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[str]] = set()

    @property
    def viewers(self) -> int:
        return len(self._queues)

    async def publish(self, data: str) -> None:
        for queue in self._queues:
            queue.put_nowait(data)

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        await EventSourceResponse(self._events())(scope, receive, send)

    async def _events(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)


make = Queues
