"""Event -> bytes, per dialect. Pure; nothing here awaits.

Lines end in LF alone: a client that splits chunks between CR and LF would see a blank line. Data
is split on CRLF, CR and LF and on nothing else, as the event-stream grammar has it
(https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape

from .events import Cursor, Event, Topic
from .types import Dialect, ResetReason

__all__ = [
    "HEARTBEAT",
    "close",
    "comment",
    "dom_id",
    "end",
    "failed",
    "frame",
    "reset",
    "retry",
    "selector",
    "shutdown",
]

HEARTBEAT = b":\n\n"


def frame(event: Event, cursor: Cursor, dialect: Dialect, *, many: bool, target: str = "") -> bytes:
    """One event with data, as `dialect` writes it.

    `many` tells that the connection carries several topics; `target` is the CSS selector of the
    element the topic's data belongs in, for the dialects that name one.
    """
    data = event.data or ""
    name = event.name
    if dialect == "datastar":
        name = "datastar-patch-elements"
        lines = _lines(data).replace("\n", "\nelements ")
        data = f"selector {target}\nmode inner\nelements {lines}"
    elif many and dialect == "htmx4":
        name = None
        quoted = escape(target)
        data = f'<hx-partial hx-target="{quoted}" hx-swap="innerHTML">{data}</hx-partial>'
    elif many:
        name = str(event.topic)
    return _block(name, data, cursor)


def reset(reason: ResetReason, topics: Iterable[Topic]) -> bytes:
    """Tell that the cursor could not be honoured for `topics`; what they hold now follows."""
    return _block("reset", json.dumps({"reason": reason, "topics": [str(t) for t in topics]}))


def failed(cursor: Cursor) -> bytes:
    """Tell that a source failed. It says no more than that."""
    return _block("failed", "failed", cursor)


def end(topic: Topic, cursor: Cursor) -> bytes:
    """Tell, on a connection with many topics, that this one has ended."""
    return _block("end", str(topic), cursor)


def close(cursor: Cursor, message: str | None = None) -> bytes:
    """Tell that every topic has ended and the client must not come back.

    It carries an id, so that an EventSource that ignores it comes back with a cursor that shows
    it has seen everything, and is stopped by a 204.
    """
    return (comment(message) if message is not None else b"") + _block("close", "done", cursor)


def shutdown(retry_ms: int) -> bytes:
    """Tell that this process stops and the client should come back in `retry_ms`."""
    return retry(retry_ms) + _block("shutdown", "bye")


def retry(retry_ms: int) -> bytes:
    """Set the client's reconnection time, in milliseconds."""
    return b"retry: %d\n\n" % retry_ms


def comment(text: str) -> bytes:
    """A line that clients skip; `text` holds no line break."""
    return f": {text}\n\n".encode()


def _lines(data: str) -> str:
    return data.replace("\r\n", "\n").replace("\r", "\n") if "\r" in data else data


def _block(name: str | None, data: str, cursor: Cursor | None = None) -> bytes:
    head = "" if cursor is None else f"id: {cursor}\n"
    if name is not None:
        head += f"event: {name}\n"
    data = _lines(data)
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    return f"{head}data: {data}\n\n".encode()


def dom_id(topic: Topic) -> str:
    """The id of the page element a topic's data belongs in: `<entity>-<stream>`.

    Letters, digits, `-` and `_` stay; any other byte is written `_XX`, and so is a `_` that would
    read like one, so two topics of one stream never share an id.
    """
    return f"{_safe(topic.entity_id)}-{_safe(topic.stream)}"


def _safe(text: str) -> str:
    text = re.sub(r"_(?=[0-9A-F]{2})", "_5F", text)
    return re.sub(r"[^A-Za-z0-9_-]", lambda m: "".join(f"_{b:02X}" for b in m[0].encode()), text)


def selector(element_id: str) -> str:
    """The CSS selector of an element id (https://drafts.csswg.org/cssom/#serialize-an-identifier)."""
    if element_id == "-":
        return "#\\-"
    out = []
    for position, char in enumerate(element_id):
        first = position == 0 or (position == 1 and element_id[0] == "-")
        if char == "\0":
            out.append("\N{REPLACEMENT CHARACTER}")
        elif ord(char) < 0x20 or char == "\x7f" or (first and char in "0123456789"):
            out.append(f"\\{ord(char):x} ")
        elif char.isalnum() or char in "-_" or ord(char) >= 0x80:
            out.append(char)
        else:
            out.append("\\" + char)
    return "#" + "".join(out)
