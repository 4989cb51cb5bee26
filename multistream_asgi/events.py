"""The values that travel: topics, cursors, events. What exists is valid."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import re
import sys
import uuid
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from .types import Ends

__all__ = [
    "RESERVED_NAMES",
    "Cursor",
    "Event",
    "Topic",
    "check_text",
    "is_server_sent_event",
    "text_of",
    "utf8_size",
]

RESERVED_NAMES = frozenset({"close", "end", "failed", "reset", "shutdown", "open", "error"})
"""Event names with a meaning of their own: ours, and the two that EventSource fires by itself."""

_STREAM_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CURSOR = re.compile(r"([A-Za-z0-9_~-]{1,64})\.([0-9]{1,18})")
_LINE_BREAK_OR_NUL = re.compile(r"[\r\n\0]")


def check_text(value: object, argument: str) -> str:
    """Return `value` as a plain `str` if UTF-8 can carry it; the errors name `argument`.

    A plain one, for a member of a `str, Enum` is written by its name wherever it is formatted.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a str, not {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{argument} holds characters that UTF-8 cannot encode") from None
    return value if type(value) is str else str.__str__(value)


def utf8_size(text: str) -> int:
    """The length of `text` in UTF-8 bytes."""
    return len(text) if text.isascii() else len(text.encode())


@dataclass(frozen=True, slots=True)
class Topic:
    """One stream of one entity. Its text is `progress:job1`, the entity id percent-encoded."""

    stream: str
    entity_id: str

    def __post_init__(self) -> None:
        for argument in ("stream", "entity_id"):
            object.__setattr__(self, argument, check_text(getattr(self, argument), argument))
        if not _STREAM_NAME.fullmatch(self.stream):
            raise ValueError(
                f"stream must be one or more of letters, digits and . _ ~ -, not {self.stream!r}"
            )
        if not self.entity_id:
            raise ValueError("entity_id must not be empty")
        if _CONTROL.search(self.entity_id):
            raise ValueError("entity_id must not hold control characters")

    def __str__(self) -> str:
        # As JavaScript's encodeURIComponent has it, so that a page can name the event.
        return self.stream + ":" + quote(self.entity_id, safe="!'()*")

    @classmethod
    def parse(cls, text: str) -> Topic:
        """The topic that `str(topic)` wrote. Raises `ValueError` for anything else."""
        stream, colon, entity_id = text.partition(":")
        if not colon:
            raise ValueError(f"not a topic: {text!r}")
        return cls(stream, unquote(entity_id, errors="strict"))


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a viewer has read. Its text, `<epoch>.<seq>`, is the SSE `id:`.

    `seq` rises over all topics of one broker, so one cursor covers every topic of a connection.
    `epoch` changes whenever the broker cannot promise that it still knows its earlier events.
    """

    epoch: str
    seq: int

    def __post_init__(self) -> None:
        if type(self.seq) is not int or not _CURSOR.fullmatch(f"{self.epoch}.{self.seq}"):
            raise ValueError(f"not a cursor: {self.epoch!r}, {self.seq!r}")

    def __str__(self) -> str:
        return f"{self.epoch}.{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor that `str(cursor)` wrote. Raises `ValueError` for anything else."""
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ValueError("not a cursor")
        return cls(found[1], int(found[2]))


@dataclass(frozen=True, slots=True)
class Event:
    """One datum of a topic, with its sequence number.

    `data` is None only in an event that ends its topic without a last datum. `name` is the event
    name a source asked for; a connection with many topics names events after the topic instead.
    """

    topic: Topic
    seq: int
    data: str | None
    name: str | None = None
    ends: Ends | None = None


def text_of(data: Any) -> tuple[str, str | None]:
    """The text of a datum of any kind, and the event name it asks for.

    `str` as it is, `bytes` as UTF-8, anything with `__html__` as its markup, a `ServerSentEvent`
    of sse-starlette by its `data` and `event` (its id, retry and comment are ours to write), and
    everything else as JSON: dataclasses, datetimes, UUIDs, decimals, enums, paths and sets too.

    Raises `TypeError` for what JSON cannot carry, `ValueError` for NaN and infinities, for what
    UTF-8 cannot carry, and for an event name with a line break or with a meaning of its own.
    """
    if is_server_sent_event(data):
        text = text_of(data.data)[0] if data.data is not None else ""
        return text, None if data.event is None else _event_name(data.event)
    if isinstance(data, str) and not hasattr(data, "__html__"):
        return check_text(data, "data"), None
    if isinstance(data, bytes | bytearray | memoryview):
        try:
            return bytes(data).decode(), None
        except UnicodeDecodeError:
            raise ValueError("data: these bytes are not UTF-8") from None
    if hasattr(data, "__html__"):
        return check_text(str(data.__html__()), "data"), None
    return check_text(_json(data), "data"), None


def is_server_sent_event(data: Any) -> bool:
    """Whether `data` is an event of sse-starlette."""
    # Importing sse_starlette replaces a method of uvicorn's Server, so that is left to whoever
    # makes its events.
    module = sys.modules.get("sse_starlette.event")
    return module is not None and isinstance(data, module.ServerSentEvent)


def _event_name(name: object) -> str:
    text = check_text(name, "event")
    if not text or _LINE_BREAK_OR_NUL.search(text):
        raise ValueError("event: a name must not be empty or hold CR, LF or NUL")
    if text in RESERVED_NAMES:
        raise ValueError(f"event: {text!r} has a meaning of its own")
    return text


def _json(data: Any) -> str:
    try:
        return json.dumps(
            data, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain
        )
    except (ValueError, TypeError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"data cannot be written as JSON: {error}") from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID | decimal.Decimal | pathlib.PurePath):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Set):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")
