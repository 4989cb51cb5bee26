"""What an app sends for one request: recorded, and held against the ASGI specification."""

from __future__ import annotations

from typing import Any

from multistream_asgi.types import Message
from tests.event_stream import EventStreamParser, Parsed

__all__ = ["AsgiViolation", "Response"]


class AsgiViolation(AssertionError):
    """The app broke the protocol between a server and an app."""


class Response:
    """A response as it comes. An event stream goes through the strict parser, byte for byte."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.status = 0
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.received: list[Parsed] = []
        """Every event so far."""
        self.complete = False
        """Whether the app has ended the body."""
        self.parser: EventStreamParser | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers; one given twice is joined by a comma."""
        found: dict[str, str] = {}
        for name, value in self.raw_headers:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            found[key] = f"{found[key]}, {text}" if key in found else text
        return found

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def comments(self) -> list[str]:
        return [] if self.parser is None else self.parser.comments

    @property
    def retries(self) -> list[int]:
        return [] if self.parser is None else self.parser.retries

    @property
    def last_event_id(self) -> str:
        """What a client would send as `Last-Event-ID` when it came back now."""
        return "" if self.parser is None else self.parser.last_event_id

    def take(self, message: Message) -> None:
        """Record the app's next message."""
        kind = message["type"]
        _require(kind in ("http.response.start", "http.response.body"), f"a message {kind!r}")
        if kind == "http.response.start":
            self._take_start(message)
        else:
            self._take_body(message)

    def _take_start(self, message: Message) -> None:
        _require(not self.status, "a second response.start")
        status = message["status"]
        _require(type(status) is int and 200 <= status <= 599, f"a status of {status!r}")
        for name, value in message.get("headers", ()):
            _require(type(name) is bytes and type(value) is bytes, "a header that is not bytes")
            _require(name == name.lower() != b"", f"the header name {name!r}")
            _require(not set(b"\r\n\0") & set(name + value), f"the header {name!r}: {value!r}")
        self.status = status
        self.raw_headers = [(name, value) for name, value in message.get("headers", ())]
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            self.parser = EventStreamParser(strict=True)

    def _take_body(self, message: Message) -> None:
        _require(self.status, "a body before response.start")
        _require(not self.complete, "a body after the body's end")
        body, more = message.get("body", b""), message.get("more_body", False)
        _require(type(body) is bytes and type(more) is bool, "a body of the wrong type")
        if body:
            _require(self.method != "HEAD" or not self.parser, "a body after HEAD")
            _require(self.status not in (204, 304), f"a body with {self.status}")
            self.chunks.append(body)
            if self.parser is not None:
                self.received += self.parser.feed(body)
        if not more:
            self.complete = True
            if self.parser is not None:
                self.parser.close()


def _require(condition: Any, what: str) -> None:
    if not condition:
        raise AsgiViolation(what)
