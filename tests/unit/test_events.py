"""Topics, cursors, and the text of data of any kind."""

from __future__ import annotations

import datetime
import decimal
import enum
import pathlib
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sse_starlette import JSONServerSentEvent, ServerSentEvent

from multistream_asgi import Cursor, Topic
from multistream_asgi.events import RESERVED_NAMES, text_of, utf8_size

ENTITY_IDS = st.text(min_size=1).filter(
    lambda text: not any(c < " " or "\x7f" <= c <= "\x9f" for c in text) and text.isprintable()
)


@given(ENTITY_IDS)
def test_a_topics_text_is_ascii_without_separators_and_reads_back(entity_id: str) -> None:
    topic = Topic("progress", entity_id)
    assert str(topic).isascii()
    assert not set(str(topic)) & set(' ,"<>&#?/')
    assert Topic.parse(str(topic)) == topic


def test_a_topics_text_is_what_encodeuricomponent_makes_of_its_entity() -> None:
    """So that a page can name the event it listens for."""
    unreserved = "AZaz09-_.!~*'()"
    assert str(Topic("log", unreserved + "é %/:")) == f"log:{unreserved}%C3%A9%20%25%2F%3A"


@pytest.mark.parametrize("stream", ["", "a b", "a:b", "a,b", "é", "a\n", "<"])
def test_a_stream_name_is_plain(stream: str) -> None:
    with pytest.raises(ValueError, match="stream"):
        Topic(stream, "x")


@pytest.mark.parametrize("entity_id", ["", "a\nb", "a\rb", "\0", "\x7f", "\x85", "\ud800"])
def test_an_entity_id_has_no_control_characters(entity_id: str) -> None:
    with pytest.raises(ValueError, match="entity_id"):
        Topic("log", entity_id)


@pytest.mark.parametrize("value", [None, 1, b"x"])
def test_topics_are_made_of_strings(value: Any) -> None:
    with pytest.raises(TypeError, match="entity_id"):
        Topic("log", value)
    with pytest.raises(TypeError, match="stream"):
        Topic(value, "x")


@pytest.mark.parametrize("text", ["", "log", ":x", "log:", "log:%ff", "a b:x", "log:%0a"])
def test_what_is_no_topic_is_not_read_as_one(text: str) -> None:
    with pytest.raises(ValueError):
        Topic.parse(text)


@given(
    st.from_regex(r"[A-Za-z0-9_~-]{1,64}", fullmatch=True),
    st.integers(min_value=0, max_value=10**18 - 1),
)
def test_a_cursor_reads_back(epoch: str, seq: int) -> None:
    cursor = Cursor(epoch, seq)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".1", "a.-1", "a.1.2", "a.1 ", "a.٣", "a b.1", "a.1\n", "a." + "9" * 19],
)
def test_what_is_no_cursor_is_not_read_as_one(text: str) -> None:
    with pytest.raises(ValueError):
        Cursor.parse(text)


@pytest.mark.parametrize(
    ("epoch", "seq"),
    [("", 1), ("a.b", 1), ("a", -1), ("a\n", 1), ("a", "1"), ("a", True), ("a", 1.0)],
)
def test_no_invalid_cursor_exists(epoch: str, seq: Any) -> None:
    with pytest.raises(ValueError):
        Cursor(epoch, seq)


class Colour(enum.Enum):
    RED = "red"


class Word(str, enum.Enum):  # noqa: UP042 - formatted by its name, which a StrEnum is not
    RED = "red"


@dataclass
class Point:
    x: int
    at: datetime.date


class Markup(str):
    def __html__(self) -> str:
        return f"<b>{self}</b>"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", ""),
        ("a\r\nb", "a\r\nb"),
        ("\N{SNOWMAN}", "\N{SNOWMAN}"),
        (b"\xe2\x98\x83", "\N{SNOWMAN}"),
        (bytearray(b"a"), "a"),
        (memoryview(b"a"), "a"),
        (Markup("x"), "<b>x</b>"),
        ({"a": [1, 2.5, None, True]}, '{"a":[1,2.5,null,true]}'),
        ([], "[]"),
        (0, "0"),
        (False, "false"),
        ("é".encode(), "é"),
        ({"é": 1}, '{"é":1}'),
        (Point(1, datetime.date(2026, 1, 2)), '{"x":1,"at":"2026-01-02"}'),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), '"2026-01-02T00:00:00+00:00"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (pathlib.PurePosixPath("/a"), '"/a"'),
        (Colour.RED, '"red"'),
        ({1}, "[1]"),
        ((1, 2), "[1,2]"),
    ],
)
def test_the_text_of_data(data: Any, text: str) -> None:
    assert text_of(data) == (text, None)


def test_what_is_formatted_by_its_name_becomes_plain_text() -> None:
    """An f-string writes `Word.RED` for the member, and frames are made of f-strings."""
    text, _ = text_of(Word.RED)
    topic = Topic(Word.RED, Word.RED)
    assert (f"{text}", f"{topic}", f"{topic.entity_id}") == ("red", "red:red", "red")
    _, name = text_of(ServerSentEvent("a", event=Word.RED))
    assert f"{name}" == "red"


@pytest.mark.parametrize(
    ("event", "text", "name"),
    [
        (ServerSentEvent("a", event="tick", id="9", retry=5, comment="c"), "a", "tick"),
        (ServerSentEvent({"a": 1}), '{"a":1}', None),
        (ServerSentEvent(), "", None),
        (JSONServerSentEvent({"a": 1}), '{"a":1}', None),
    ],
)
def test_a_server_sent_event_gives_its_data_and_name(event: Any, text: str, name: Any) -> None:
    assert text_of(event) == (text, name)


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\0", "", *sorted(RESERVED_NAMES)])
def test_an_event_name_that_would_do_harm_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="event"):
        text_of(ServerSentEvent("x", event=name))


@pytest.mark.parametrize(
    "data", [float("nan"), {"a": float("inf")}, {float("nan"): 1}, "\ud800", b"\xff", ["\ud800"]]
)
def test_what_cannot_be_written_is_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match="data"):
        text_of(data)


def test_endless_data_is_a_value_error() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(ValueError, match="data"):
        text_of(data)


@pytest.mark.parametrize("data", [object(), {"a": object()}, {(1, 2): 3}, lambda: None])
def test_what_has_no_json_form_is_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError, match="data"):
        text_of(data)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_sizes_are_those_of_utf_8(text: str) -> None:
    assert utf8_size(text) == len(text.encode())
