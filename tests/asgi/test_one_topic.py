"""A connection with one topic: its headers, its first bytes, its events, its end."""

from __future__ import annotations

from typing import Any

import pytest

from multistream_asgi import Cursor
from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle
from tests.event_stream import Parsed

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


async def test_the_headers_are_exactly_these() -> None:
    async with connect(manager_of("progress"), "/stream_progress?id=job1") as conn:
        await settle()
        assert conn.status == 200
        assert conn.raw_headers == HEADERS


async def test_the_first_bytes_go_out_before_there_is_any_event() -> None:
    async with connect(manager_of("progress"), "/stream_progress?id=job1") as conn:
        await settle()
        assert conn.chunks == [b": Connected\n\nretry: 2000\n\n"]


async def test_the_first_comment_and_the_retry_are_configured() -> None:
    manager = manager_of("progress", initial_message="hello", retry_ms=7)
    async with connect(manager, "/stream_progress?id=job1") as conn:
        await settle()
        assert conn.chunks == [b": hello\n\nretry: 7\n\n"]
    manager = manager_of("progress", send_initial_message=False)
    async with connect(manager, "/stream_progress?id=job1") as conn:
        await settle()
        assert conn.chunks == [b"retry: 2000\n\n"]


async def test_events_are_unnamed_and_carry_rising_cursors_of_one_epoch() -> None:
    feed = Feed("a", "b", "c")
    async with connect(manager_of(feed.endpoint()), "/stream_progress?id=job1") as conn:
        events = await conn.events(3)
        assert [(e.type, e.data) for e in events] == [("message", d) for d in "abc"]
        cursors = [Cursor.parse(event.last_event_id) for event in events]
        assert len({cursor.epoch for cursor in cursors}) == 1
        seqs = [cursor.seq for cursor in cursors]
        assert seqs == sorted(set(seqs))


async def test_an_event_is_sent_when_it_comes_and_not_later() -> None:
    feed = Feed()
    async with connect(manager_of(feed.endpoint()), "/stream_progress?id=job1") as conn:
        await settle()
        for text in "ab":
            feed.run.put(text)
            await settle()
            assert [event.data for event in conn.unread()] == [text]


async def test_the_source_is_given_the_id_as_the_client_meant_it() -> None:
    feed = Feed()
    url = "/stream_progress?id=a%26b%20%C3%A9%2F%F0%9F%98%80+c"
    async with connect(manager_of(feed.endpoint()), url):
        await settle()
        assert [run.entity_id for run in feed.runs] == ["a&b é/😀 c"]


async def test_a_source_that_ends_ends_the_stream_with_close() -> None:
    feed = Feed("a")
    async with connect(manager_of(feed.endpoint()), "/stream_progress?id=job1") as conn:
        first = await conn.next_event()
        feed.run.end()
        [close] = await conn.until_closed()
        assert (close.type, close.data) == ("close", "done")
        assert Cursor.parse(close.last_event_id).seq > Cursor.parse(first.last_event_id).seq
        assert conn.comments == [" Connected", " Connection closed"]
        assert feed.run.closed == 1


async def test_the_close_comment_can_be_left_out() -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint(), send_close_message=False)
    async with connect(manager, "/stream_progress?id=job1") as conn:
        await settle()
        feed.run.end()
        await conn.until_closed()
        assert conn.comments == [" Connected"]


LINES: dict[str, tuple[Any, str | None]] = {
    "several lines": ("a\nb\n\nc\n", "a\nb\n\nc\n"),
    "CR and CRLF become LF": ("a\r\nb\rc", "a\nb\nc"),
    "only CR and LF end lines": ("a\u2028b\x0b\x0c\x85c", "a\u2028b\x0b\x0c\x85c"),
    "fields in the data stay data": ("x\nevent: close\ndata: done\nid: 9\n\n:", None),
    "nothing": ("", ""),
    "a space in front": (" a", " a"),
    "NUL": ("a\0b", "a\0b"),
    "a BOM": ("\ufeffa", "\ufeffa"),
    "JSON": ({"percent": 7, "name": "é"}, '{"percent":7,"name":"é"}'),
    "bytes": (b"\xc3\xa9", "é"),
}


@pytest.mark.parametrize(("data", "text"), LINES.values(), ids=LINES)
async def test_data_arrives_whole(data: Any, text: str | None) -> None:
    feed = Feed(data, "after")
    async with connect(manager_of(feed.endpoint()), "/stream_progress?id=job1") as conn:
        got, after = await conn.events(2)
        assert (got.type, got.data) == ("message", data if text is None else text)
        assert after.data == "after"


async def test_two_viewers_get_the_same_bytes() -> None:
    feed = Feed("a", {"b": 1}, "c\nd")
    manager = manager_of(feed.endpoint())
    url = "/stream_progress?id=job1"
    async with connect(manager, url) as one, connect(manager, url) as two:
        await settle()
        feed.run.put("e")
        feed.run.end()
        await one.until_closed()
        await two.until_closed()
        assert one.body == two.body
        assert len(feed.runs) == 1


async def test_topics_of_two_entities_do_not_mix() -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint())
    async with (
        connect(manager, "/stream_progress?id=a") as one,
        connect(manager, "/stream_progress?id=b") as two,
    ):
        await settle()
        for run in feed.runs:
            run.put(run.entity_id)
        await settle()
        assert [[event.data for event in conn.received] for conn in (one, two)] == [["a"], ["b"]]


async def test_a_source_may_name_its_events() -> None:
    from sse_starlette import ServerSentEvent

    feed = Feed(ServerSentEvent(data="x", event="tick"), ServerSentEvent(data={"a": 1}))
    async with connect(manager_of(feed.endpoint()), "/stream_progress?id=job1") as conn:
        one, two = await conn.events(2)
        assert (one.type, one.data) == ("tick", "x")
        assert (two.type, two.data) == ("message", '{"a":1}')


async def test_a_newcomer_gets_what_the_log_holds_then_what_comes() -> None:
    feed = Feed("a", "b")
    manager = manager_of(feed.endpoint(), history=3)
    async with connect(manager, "/stream_progress?id=job1") as first:
        feed_events = await first.events(2)
        feed.run.put("c", "d")
        feed_events += await first.events(2)
        async with connect(manager, "/stream_progress?id=job1") as second:
            got: list[Parsed] = await second.events(3)
            assert got == feed_events[1:]
            feed.run.put("e")
            assert await second.next_event() == await first.next_event()
