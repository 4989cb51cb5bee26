"""Requests to an ASGI app in this process, read while they are still being answered.

    async with connect(app, "/stream_progress?id=job1") as conn:
        event = await conn.next_event()

`httpx.ASGITransport` and Starlette's TestClient wait for the whole body, so an endless stream never
reaches the test. What the app does is held against the ASGI specification, and every byte of an
event stream against the strict parser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import unquote

import anyio
from anyio.abc import TaskGroup

from multistream_asgi.types import ASGIApp, Message, Scope
from tests.asgi.response import AsgiViolation, Response
from tests.event_stream import Parsed

__all__ = ["Connection", "connect", "http_scope", "request"]

PATIENCE = 60.0
"""Seconds, on virtual time as a rule, after which a wait is given up."""


def http_scope(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] = (),
    root_path: str = "",
) -> Scope:
    """The scope a server makes of a request: the path decoded, the query as it is."""
    path, _, query = url.partition("?")
    if isinstance(headers, Mapping):
        headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode("latin-1"),
        "root_path": root_path,
        "headers": [(b"host", b"test"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }


class Connection(Response):
    """One request. Enter it to send it; leaving it disconnects and waits for the app."""

    def __init__(self, app: ASGIApp, scope: Scope, *, stalled: bool = False) -> None:
        super().__init__(scope["method"])
        self.scope = scope
        self.returned = False
        """Whether the app has returned."""
        self.send_fails = False
        """With True, `send` raises OSError, as some servers do when the client has gone."""
        self._app = app
        self._read = 0
        self._gone = anyio.Event()
        self._flowing = anyio.Event()
        if not stalled:
            self._flowing.set()
        self._changed = anyio.Event()
        self._receiving = False
        self._asked_for_body = False
        self._error: BaseException | None = None
        self._tasks: TaskGroup

    # What was received

    # Waiting

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once `condition()` is true; it is looked at whenever the app has done a thing."""
        with anyio.fail_after(PATIENCE):
            while not condition():
                self._raise_error()
                if self.returned:
                    raise AssertionError(f"the app returned first; it sent {self.body!r}")
                await self._changed.wait()

    async def next_event(self) -> Parsed:
        """The next event nobody has asked for yet."""
        [event] = await self.events(1)
        return event

    async def events(self, count: int) -> list[Parsed]:
        """The next `count` events."""
        await self.until(lambda: len(self.received) >= self._read + count)
        self._read += count
        return self.received[self._read - count : self._read]

    async def data(self, count: int) -> list[str]:
        """The data of the next `count` events."""
        return [event.data for event in await self.events(count)]

    def unread(self) -> list[Parsed]:
        """The events that have come and that nobody has asked for yet."""
        found, self._read = self.received[self._read :], len(self.received)
        return found

    async def until_closed(self) -> list[Parsed]:
        """Wait until the app has ended the stream, and return the events nobody has asked for."""
        await self.until(lambda: self.complete)
        await self.until_returned()
        return self.unread()

    async def until_returned(self) -> None:
        """Wait until the app is done with the request."""
        with anyio.fail_after(PATIENCE):
            while not self.returned:
                await self._changed.wait()
        self._raise_error()

    # The client's side

    async def disconnect(self) -> None:
        """Go away, and wait until the app is done with the request."""
        self.hang_up()
        await self.until_returned()

    def hang_up(self) -> None:
        """Go away; the app hears of it when it next runs."""
        self._gone.set()
        self.resume()

    def stall(self) -> None:
        """Take nothing more: `send` waits until `resume`."""
        if self._flowing.is_set():
            self._flowing = anyio.Event()

    def resume(self) -> None:
        self._flowing.set()

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        try:
            if error is None:
                self.send_fails = False
                await self.disconnect()
        finally:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
        return None

    # The server's side

    async def _run(self) -> None:
        try:
            await self._app(self.scope, self._receive, self._send)
        except Exception as error:
            self._error = error
        finally:
            self.returned = True
            self._note()

    def _note(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    async def _receive(self) -> Message:
        if self._receiving:
            raise AsgiViolation("two tasks call receive()")
        self._receiving = True
        try:
            if self._asked_for_body:
                await self._gone.wait()
                return {"type": "http.disconnect"}
            await anyio.lowlevel.checkpoint()
            self._asked_for_body = True
            return {"type": "http.request", "body": b"", "more_body": False}
        finally:
            self._receiving = False

    async def _send(self, message: Message) -> None:
        if self.returned:
            raise AsgiViolation("send() after the app has returned")
        await anyio.lowlevel.checkpoint()
        await self._flowing.wait()
        if self.send_fails:
            raise OSError("the client has gone")
        if self._gone.is_set():
            return
        self.take(message)
        self._note()


def connect(
    app: ASGIApp,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] = (),
    root_path: str = "",
    stalled: bool = False,
) -> Connection:
    """A request, sent on entering. With `stalled` its client takes nothing from the start."""
    scope = http_scope(url, method=method, headers=headers, root_path=root_path)
    return Connection(app, scope, stalled=stalled)


async def request(
    app: ASGIApp,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[bytes, bytes]] = (),
    root_path: str = "",
) -> Connection:
    """A request whose answer ends by itself, with that answer."""
    conn = connect(app, url, method=method, headers=headers, root_path=root_path)
    async with conn:
        await conn.until_closed()
    return conn
