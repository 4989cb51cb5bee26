"""Event -> bytes, per dialect."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multistream_asgi import Cursor, Event, Topic, frames
from multistream_asgi.types import Dialect
from tests.event_stream import EventStreamParser, Parsed

from .test_events import ENTITY_IDS

CURSOR = Cursor("ep", 7)
TOPIC = Topic("progress", "job 1")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def event(data: str, name: str | None = None) -> Event:
    return Event(TOPIC, 7, data, name)


def parse(data: bytes) -> list[Parsed]:
    parser = EventStreamParser(strict=True)
    found = parser.feed(data)
    parser.close()
    return found


@pytest.mark.parametrize(
    ("data", "name", "dialect", "many", "bytes_"),
    [
        ("x", None, "events", False, b"id: ep.7\ndata: x\n\n"),
        ("x", "tick", "events", False, b"id: ep.7\nevent: tick\ndata: x\n\n"),
        ("x", "tick", "events", True, b"id: ep.7\nevent: progress:job%201\ndata: x\n\n"),
        ("", None, "events", False, b"id: ep.7\ndata: \n\n"),
        (
            "a\nb\r\nc\rd\n",
            None,
            "events",
            False,
            b"id: ep.7\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n",
        ),
        (
            "a\u2028b\x0b\x85c",
            None,
            "events",
            False,
            "id: ep.7\ndata: a\u2028b\x0b\x85c\n\n".encode(),
        ),
        ("<b>", None, "htmx4", False, b"id: ep.7\ndata: <b>\n\n"),
        (
            "<td>",
            "tick",
            "htmx4",
            True,
            b'id: ep.7\ndata: <hx-partial hx-target="#a-b" hx-swap="innerHTML"><td></hx-partial>'
            b"\n\n",
        ),
        (
            "<p>\nx</p>",
            None,
            "datastar",
            True,
            b"id: ep.7\nevent: datastar-patch-elements\ndata: selector #a-b\ndata: mode inner\n"
            b"data: elements <p>\ndata: elements x</p>\n\n",
        ),
        (
            "x",
            "tick",
            "datastar",
            False,
            b"id: ep.7\nevent: datastar-patch-elements\ndata: selector #a-b\ndata: mode inner\n"
            b"data: elements x\n\n",
        ),
    ],
)
def test_a_frame(data: str, name: Any, dialect: Dialect, many: bool, bytes_: bytes) -> None:
    assert frames.frame(event(data, name), CURSOR, dialect, many=many, target="#a-b") == bytes_


@pytest.mark.parametrize(
    ("frame", "bytes_"),
    [
        (frames.HEARTBEAT, b":\n\n"),
        (frames.comment("hi é"), ": hi é\n\n".encode()),
        (frames.retry(2000), b"retry: 2000\n\n"),
        (frames.failed(CURSOR), b"id: ep.7\nevent: failed\ndata: failed\n\n"),
        (frames.end(TOPIC, CURSOR), b"id: ep.7\nevent: end\ndata: progress:job%201\n\n"),
        (frames.close(CURSOR), b"id: ep.7\nevent: close\ndata: done\n\n"),
        (frames.close(CURSOR, "bye"), b": bye\n\nid: ep.7\nevent: close\ndata: done\n\n"),
        (frames.shutdown(50), b"retry: 50\n\nevent: shutdown\ndata: bye\n\n"),
    ],
)
def test_what_is_said_beside_the_events(frame: bytes, bytes_: bytes) -> None:
    assert frame == bytes_
    parse(frame)


def test_a_reset_says_why_and_for_which_topics() -> None:
    (parsed,) = parse(frames.reset("gap", [TOPIC, Topic("log", "b")]))
    assert parsed.type == "reset"
    assert json.loads(parsed.data) == {"reason": "gap", "topics": ["progress:job%201", "log:b"]}


@given(TEXT, st.sampled_from(["events", "htmx4", "datastar"]), st.booleans())
def test_data_comes_back_with_only_its_line_ends_made_one(
    data: str, dialect: Dialect, many: bool
) -> None:
    (parsed,) = parse(frames.frame(event(data), CURSOR, dialect, many=many, target="#a"))
    text = re.sub(r"\r\n|\r", "\n", data)
    assert parsed.last_event_id == "ep.7"
    if dialect == "datastar":
        assert parsed.type == "datastar-patch-elements"
        assert parsed.data.split("\n")[:2] == ["selector #a", "mode inner"]
        lines = parsed.data.split("\n")[2:]
        assert "\n".join(line.removeprefix("elements ") for line in lines) == text
        assert all(line.startswith("elements ") for line in lines)
    elif dialect == "htmx4" and many:
        assert parsed.data.split(">", 1)[1].removesuffix("</hx-partial>") == text
        assert parsed.type == "message"
    else:
        assert parsed.data == text
        assert parsed.type == (str(TOPIC) if many else "message")


@given(ENTITY_IDS, ENTITY_IDS)
def test_two_entities_never_share_an_element(one: str, other: str) -> None:
    ids = [frames.dom_id(Topic("log", entity_id)) for entity_id in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", ids[0])


@pytest.mark.parametrize(
    ("entity_id", "element"),
    [
        ("job1", "job1-log"),
        ("job_1", "job_1-log"),
        ("7", "7-log"),
        ("a b", "a_20b-log"),
        ("a_20b", "a_5F20b-log"),
        ("a.b", "a_2Eb-log"),
        ("é", "_C3_A9-log"),
    ],
)
def test_an_elements_id_is_entity_and_stream(entity_id: str, element: str) -> None:
    assert frames.dom_id(Topic("log", entity_id)) == element


@pytest.mark.parametrize(
    ("element", "selector"),
    [
        ("job1-log", "#job1-log"),
        ("7-log", r"#\37 -log"),
        ("-7", r"#-\37 "),
        ("-", r"#\-"),
        ("a.b", r"#a\.b"),
        ("a b", r"#a\ b"),
        ("é", "#é"),
        ("a\0", "#a\N{REPLACEMENT CHARACTER}"),
        ("a\x01", r"#a\1 "),
    ],
)
def test_a_selector_is_escaped_as_css_has_it(element: str, selector: str) -> None:
    assert frames.selector(element) == selector


def test_a_selector_cannot_break_out_of_its_attribute() -> None:
    frame = frames.frame(event("x"), CURSOR, "htmx4", many=True, target='#a"><script>')
    assert b'hx-target="#a&quot;&gt;&lt;script&gt;"' in frame
