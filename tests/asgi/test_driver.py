"""The driver itself: it sees each event as it is sent, and every breach of the protocol."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from multistream_asgi.types import Message, Receive, Scope, Send
from tests.asgi.driver import connect, request
from tests.asgi.response import AsgiViolation
from tests.asgi.virtual_time import settle
from tests.event_stream import Parsed, StreamViolation

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}


def body(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Script:
    """An app that sends what it was given, then waits until its client has gone."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        self.sent = 0
        self.ended = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for message in self.messages:
            await send(message)
            self.sent += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        self.ended = True


async def test_events_are_there_while_the_stream_is_open() -> None:
    app = Script(START, body(b"data: a\n"), body(b"\ndata: b\n\n"))
    async with connect(app, "/") as conn:
        assert await conn.events(2) == [Parsed("message", "a", ""), Parsed("message", "b", "")]
        assert not conn.complete
        assert not conn.returned
        await conn.disconnect()
        assert app.ended


async def test_leaving_is_a_disconnect() -> None:
    app = Script(START)
    async with connect(app, "/"):
        pass
    assert app.ended


async def test_a_stalled_client_holds_send_back() -> None:
    app = Script(START, body(b"data: a\n\n"), body(b"data: b\n\n"))
    async with connect(app, "/", stalled=True) as conn:
        await settle()
        assert (app.sent, conn.status) == (0, 0)
        conn.resume()
        await conn.events(2)
        assert app.sent == 3


async def test_waiting_for_what_never_comes_is_given_up() -> None:
    async with connect(Script(START), "/") as conn:
        with pytest.raises(TimeoutError):
            await conn.next_event()


async def test_an_exception_of_the_app_is_raised() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("oh")

    with pytest.raises(LookupError, match="oh"):
        async with connect(app, "/") as conn:
            await conn.until_closed()


BREACHES: dict[str, tuple[type[AssertionError], list[Any]]] = {
    "a body first": (AsgiViolation, [body(b"")]),
    "two starts": (AsgiViolation, [START, START]),
    "a body after its end": (AsgiViolation, [START, body(b"", more=False), body(b"")]),
    "a header in capitals": (AsgiViolation, [{**START, "headers": [(b"X-A", b"")]}]),
    "a header of str": (AsgiViolation, [{**START, "headers": [("x-a", "")]}]),
    "a header of two lines": (AsgiViolation, [{**START, "headers": [(b"x-a", b"a\nb: c")]}]),
    "a body of str": (AsgiViolation, [START, {**body(b""), "body": "x"}]),
    "a body with 204": (AsgiViolation, [{**START, "status": 204}, body(b"x")]),
    "another message": (AsgiViolation, [{"type": "websocket.close"}]),
    "bytes no client should get": (StreamViolation, [START, body(b"data: x\r\n\r\n")]),
    "a block cut off at the end": (StreamViolation, [START, body(b"data: x\n", more=False)]),
}


@pytest.mark.parametrize(("kind", "messages"), BREACHES.values(), ids=BREACHES)
async def test_a_breach_is_raised(kind: type[AssertionError], messages: list[Any]) -> None:
    with pytest.raises(kind):
        async with connect(Script(*messages), "/") as conn:
            await conn.until_returned()


async def test_a_body_after_head_is_a_breach() -> None:
    with pytest.raises(AsgiViolation):
        await request(Script(START, body(b"data: x\n\n", more=False)), "/", method="HEAD")


async def test_two_tasks_that_call_receive_are_a_breach() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def ask() -> None:
            await receive()

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(ask)

    with pytest.raises(ExceptionGroup) as raised:
        async with connect(app, "/") as conn:
            await conn.until_returned()
    assert raised.group_contains(AsgiViolation)


async def test_hours_cost_no_time() -> None:
    before = anyio.current_time()
    await anyio.sleep(3600)
    assert anyio.current_time() - before == pytest.approx(3600)
