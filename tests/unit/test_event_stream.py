"""The oracle itself: cases from the standard, and any chunking gives the same result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.event_stream import EventStreamParser, Parsed, StreamViolation, parse

MESSAGE = Parsed("message", "x", "")
State = tuple[list[Parsed], list[str], list[int], str]


def record(*chunks: bytes) -> State:
    parser = EventStreamParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    parser.close()
    return events, parser.comments, parser.retries, parser.last_event_id


def bytewise(body: bytes) -> list[bytes]:
    return [body[i : i + 1] for i in range(len(body))]


EVENTS: dict[str, tuple[bytes, list[Parsed]]] = {
    "nothing": (b"", []),
    "an unnamed event is a message": (b"data: x\n\n", [MESSAGE]),
    "a named event": (b"event: tick\ndata: x\n\n", [Parsed("tick", "x", "")]),
    "an empty name is none": (b"event\ndata: x\n\n", [MESSAGE]),
    "the last name counts": (b"event: a\nevent: b\ndata: x\n\n", [Parsed("b", "x", "")]),
    "lines of data are joined by LF": (b"data: a\ndata: b\n\n", [Parsed("message", "a\nb", "")]),
    "one space after the colon goes": (b"data:  x \n\n", [Parsed("message", " x ", "")]),
    "no space after the colon": (b"data:x\n\n", [MESSAGE]),
    "the first colon separates": (b"data: a: b\n\n", [Parsed("message", "a: b", "")]),
    "data without a colon is empty data": (b"data\n\n", [Parsed("message", "", "")]),
    "two empty lines of data": (b"data\ndata\n\n", [Parsed("message", "\n", "")]),
    "no data, no event": (b"event: tick\n\n", []),
    "no data, and the name is forgotten": (b"event: tick\n\ndata: x\n\n", [MESSAGE]),
    "a name serves one event": (
        b"event: tick\ndata: x\n\ndata: x\n\n",
        [Parsed("tick", "x", ""), MESSAGE],
    ),
    "an id": (b"id: 1\ndata: x\n\n", [Parsed("message", "x", "1")]),
    "an id stays": (
        b"id: 1\ndata: x\n\ndata: y\n\n",
        [Parsed("message", "x", "1"), Parsed("message", "y", "1")],
    ),
    "an id without data counts for the next event": (
        b"id: 1\n\ndata: x\n\n",
        [Parsed("message", "x", "1")],
    ),
    "an empty id resets": (
        b"id: 1\ndata: x\n\nid\ndata: y\n\n",
        [Parsed("message", "x", "1"), Parsed("message", "y", "")],
    ),
    "an id with NUL is ignored": (
        b"id: 1\ndata: x\n\nid: 2\0\ndata: y\n\n",
        [Parsed("message", "x", "1"), Parsed("message", "y", "1")],
    ),
    "CR ends a line": (b"data: x\r\r", [MESSAGE]),
    "CR LF ends one line": (b"data: x\r\n\r\n", [MESSAGE]),
    "CR LF is not a blank line": (b"data: a\r\ndata: b\r\n\r\n", [Parsed("message", "a\nb", "")]),
    "line ends may be mixed": (b"data: x\r\rdata: x\n\ndata: x\r\n\n", [MESSAGE] * 3),
    "LF CR is two line ends": (b"data: x\n\rdata: x\n\r", [MESSAGE, MESSAGE]),
    "U+2028, U+0085, VT and FF end no line": (
        "data: \u2028\u0085\v\f\x1c\n\n".encode(),
        [Parsed("message", "\u2028\u0085\v\f\x1c", "")],
    ),
    "a leading BOM goes": (b"\xef\xbb\xbfdata: x\n\n", [MESSAGE]),
    "only one BOM goes": (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
    "a later BOM is text": (b"data: \xef\xbb\xbf\n\n", [Parsed("message", "\ufeff", "")]),
    "invalid UTF-8 is replaced": (b"data: \xff\xc3\n\n", [Parsed("message", "\ufffd\ufffd", "")]),
    "names of fields are case-sensitive": (b"Data: x\n\n", []),
    "a name is not trimmed": (b" data: x\n\n", []),
    "an unknown field is ignored": (b"why: not\ndata: x\n\n", [MESSAGE]),
    "a comment within an event": (b"data: a\n:\ndata: b\n\n", [Parsed("message", "a\nb", "")]),
    "an incomplete event is discarded": (b"data: x\n\ndata: y\n", [MESSAGE]),
    "an incomplete line is discarded": (b"data: x\n\ndata: y", [MESSAGE]),
    # 9.2.6, the standard's own example of which blocks are events.
    "the standard's example of empty data": (
        b"data\n\ndata\ndata\n\ndata:",
        [Parsed("message", "", ""), Parsed("message", "\n", "")],
    ),
}


@pytest.mark.parametrize(("body", "events"), EVENTS.values(), ids=EVENTS)
def test_events(body: bytes, events: list[Parsed]) -> None:
    assert parse(body) == events
    assert record(*bytewise(body))[0] == events


@pytest.mark.parametrize(
    ("body", "last_event_id"),
    [
        (b"", "before"),
        (b"id: 1\n\n", "1"),
        (b"id: 1", "before"),
        (b"id: 1\ndata: x\n", "before"),
        (b"id\n\n", ""),
        (b"id: \0\n\n", "before"),
    ],
)
def test_the_last_event_id_is_that_of_the_last_complete_block(
    body: bytes, last_event_id: str
) -> None:
    parser = EventStreamParser(last_event_id="before")
    parser.feed(body)
    parser.close()
    assert parser.last_event_id == last_event_id


@pytest.mark.parametrize(
    ("body", "retries"),
    [
        (b"retry: 10\n", [10]),
        (b"retry: 10\nretry:0\n\n", [10, 0]),
        (b"retry\nretry: \nretry: -1\nretry: 1.5\nretry:  1\nretry: 1s\n", []),
        ("retry: \u0661\u00b2\n".encode(), []),
    ],
)
def test_retry_counts_at_once_and_only_as_ascii_digits(body: bytes, retries: list[int]) -> None:
    parser = EventStreamParser()
    parser.feed(body)
    assert parser.retries == retries


def test_comments_are_kept_as_sent() -> None:
    parser = EventStreamParser()
    assert parser.feed(b":\n: ping\n:x: y\n\n") == []
    assert parser.comments == ["", " ping", "x: y"]


def test_an_event_is_dispatched_as_soon_as_its_blank_line_has_come() -> None:
    parser = EventStreamParser()
    assert parser.feed(b"data: x\r\n") == []
    assert parser.feed(b"\r") == [MESSAGE]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: x\n\n") == [MESSAGE]


STRICT_REFUSES = {
    "CR LF": b"data: x\r\n\r\n",
    "CR": b"data: x\r\r",
    "a leading BOM": b"\xef\xbb\xbfdata: x\n\n",
    "invalid UTF-8": b"data: \xff\n\n",
    "UTF-8 cut off": b"data: x\n\n\xc3",
    "an unknown field": b"data: x\nwhy: not\n\n",
    "an unknown field without a colon": b"data: x\ny\n\n",
    "a NUL in an id": b"id: \0\ndata: x\n\n",
    "a NUL in a type": b"event: \0\ndata: x\n\n",
    "a type without data": b"event: x\n\n",
    "an id without data": b"id: x\n\n",
    "a retry that is no number": b"retry: soon\n\n",
    "a second type": b"event: a\nevent: b\ndata: x\n\n",
    "a second id": b"id: a\nid: b\ndata: x\n\n",
    "an event cut off": b"data: x\n",
    "a line cut off": b"data: x\n\ndata",
    "a comment cut off": b"data: x\n\n: pin",
    "a retry cut off": b"retry: 1\n",
}


@pytest.mark.parametrize("body", STRICT_REFUSES.values(), ids=STRICT_REFUSES)
def test_strict_refuses(body: bytes) -> None:
    parse(body)
    with pytest.raises(StreamViolation):
        parse(body, strict=True)


def test_strict_accepts_what_a_careful_server_sends() -> None:
    parser = EventStreamParser(strict=True)
    events = parser.feed(": hello\nretry: 2000\n\nid: e.1\nevent: log:ä\n".encode())
    events += parser.feed("data: a\ndata: \0\ufeff\u2028\n\n: ping\n\n".encode())
    parser.close()
    assert events == [Parsed("log:ä", "a\n\0\ufeff\u2028", "e.1")]
    assert (parser.comments, parser.retries) == ([" hello", " ping"], [2000])


# Whatever can go wrong at a seam: halves of line ends, of characters, of BOMs, of fields.
LINES = [
    *(b"", b"data: x", b"data", b"event: e", b"id: 7", b"id", b"id: \0", b"retry: 7", b": ping"),
    *("data: é\u2028😀".encode(), b"\xef\xbb\xbfdata: x", b"data: \xf0\x9f", b"\xef\xbb", b"\xff"),
]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b""]
PIECES = st.tuples(st.sampled_from(LINES), st.sampled_from(ENDS)).map(b"".join)
BODIES = st.lists(PIECES, max_size=20).map(b"".join)


@given(BODIES, st.lists(st.integers(0, 120)))
def test_any_chunking_gives_the_same_result(body: bytes, cuts: list[int]) -> None:
    ends = [*sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    whole = record(body)
    assert b"".join(chunks) == body
    assert record(*chunks) == whole
    assert record(*bytewise(body)) == whole


LINE = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))
FIELD = LINE.filter(lambda text: "\0" not in text)


@given(
    st.lists(st.tuples(FIELD, st.lists(LINE, min_size=1), FIELD)),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_written_by_the_book_is_read_back(
    events: list[tuple[str, list[str], str]], end: str
) -> None:
    lines: list[str] = []
    for type_, data, id_ in events:
        lines += [f"event: {type_}", f"id: {id_}", *(f"data: {line}" for line in data), ""]
    assert parse("".join(line + end for line in lines).encode()) == [
        Parsed(type_ or "message", "\n".join(data), id_) for type_, data, id_ in events
    ]
