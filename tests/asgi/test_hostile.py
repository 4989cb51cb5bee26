"""Whatever a client sends: never an exception out of the app, never a 500, never bad bytes."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import example, given, settings
from hypothesis import strategies as st

from multistream_asgi import MultiStreamManager, Topic
from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

ALLOWED = {200, 204, 400, 404, 405}

SEED = ["id", "stream", "after", "dialect", "progress", "log", "events", "htmx4", "datastar"]
NASTY = ["%00", "%0a", "%0D%0A", "%FF", "%ED%A0%80", "%", "%zz", "%u1234", "&", ";", "=", "+", "#"]
PIECES = st.one_of(
    st.sampled_from([*SEED, *NASTY, "id=a", "&id=", "&stream=", "&after="]),
    st.text(st.characters(max_codepoint=255), max_size=5),
    st.text(max_size=5).map(lambda text: quote(text, errors="replace")),
    st.integers().map(str),
)
QUERIES = st.lists(PIECES, max_size=8).map("".join)
# What a server may pass on: any byte but CR, LF and NUL.
VALUES = st.binary(max_size=40).map(lambda b: b.translate(None, b"\r\n\0"))
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"last-event-id", b"Last-Event-ID", b"hx-request", b"datastar-request"]),
        VALUES | st.sampled_from([b"true", b"a.1", b"." * 70, b"9" * 30, b"e." + b"9" * 18]),
    ),
    max_size=3,
)
METHODS = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "get", "OPTIONS"])
PATHS = st.sampled_from(["/stream", "/stream/", "/stream_progress", "/stream/_progress"])


def fresh() -> MultiStreamManager:
    return manager_of(Feed("x").endpoint(), "log", linger=0)


@settings(max_examples=150)
@given(PATHS, QUERIES, HEADERS, METHODS)
@example("/stream", "id=a&id=%00", [], "GET")
@example("/stream_progress", "id=a&after=" + "9" * 5000, [], "GET")
@example("/stream_progress", "id=a", [(b"last-event-id", b"\xff\xfe")], "GET")
@example("/stream_progress", "id=\xff", [], "GET")
@example("/stream_progress", "id=a&dialect=datastar&dialect=events", [(b"hx-request", b"")], "GET")
async def test_any_query_and_headers(
    path: str, query: str, headers: list[tuple[bytes, bytes]], method: str
) -> None:
    async with connect(fresh(), f"{path}?{query}", method=method, headers=headers) as conn:
        await settle()
        assert conn.status in ALLOWED
        if conn.parser is None:
            assert conn.complete
            assert len(conn.body) < 100


@settings(max_examples=100)
@given(st.text(max_size=20), st.text(max_size=20))
async def test_any_path(path: str, root_path: str) -> None:
    url = f"/stream{quote(path, errors='replace')}?id=a"
    async with connect(fresh(), url, root_path=root_path) as conn:
        await settle()
        assert conn.status in ALLOWED


@settings(max_examples=100)
@given(st.text(min_size=1, max_size=20))
async def test_any_id_is_refused_or_served_as_it_is(entity_id: str) -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    try:
        topic = Topic("progress", entity_id)
    except ValueError:
        topic = None
    url = f"/stream?stream=progress&id={quote(entity_id, safe='', errors='surrogatepass')}"
    async with connect(manager, url) as conn:
        await settle()
        if topic is None:
            assert conn.status == 400
        else:
            assert [run.entity_id for run in feed.runs] == [entity_id]
            [event] = conn.received
            assert event.type == str(topic)
            assert Topic.parse(event.type) == topic
