"""The ceiling of ASGI: one task calls each viewer's `send` with one shared message.

It keeps no history, sends no `id:` and no heartbeat, and one slow viewer would hold up all others:
no server to use, only the least that a server in ASGI can cost.
"""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

__all__ = ["make"]

_HEADERS = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]


class Bare:
    """See above."""

    path = "/"

    def __init__(self) -> None:
        self._sends: list[Send] = []

    @property
    def viewers(self) -> int:
        return len(self._sends)

    async def publish(self, data: str) -> None:
        body = f"data: {data}\n\n".encode()
        message = {"type": "http.response.body", "body": body, "more_body": True}
        for send in list(self._sends):
            await send(message)

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        self._sends.append(send)
        while (await receive())["type"] != "http.disconnect":
            pass
        self._sends.remove(send)


make = Bare
