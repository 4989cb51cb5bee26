"""Scope -> what is asked for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multistream_asgi import Limits, Refused, StreamEndpoint, Topic
from multistream_asgi.match import Match, Routes

from .test_events import ENTITY_IDS


def routes(base_path: str = "/stream", **suffixes: str) -> Routes:
    result = Routes(base_path)
    for name, suffix in (suffixes or {"progress": "_progress", "log": "/log"}).items():
        result.add(StreamEndpoint(name, suffix))
    return result


def scope(path: str, query: str = "", root: str = "", method: str = "GET", **headers: str) -> Any:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root,
        "query_string": query.encode("latin-1"),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
    }


def match(path: str, query: str = "id=a", limits: Limits | None = None, **options: Any) -> Match:
    where = scope(path, query, **options)
    found = routes().find(where)
    assert found is not False
    return routes().match(found, where, limits or Limits())


@pytest.mark.parametrize(
    ("base", "path", "root", "found"),
    [
        ("/stream", "/stream", "", True),
        ("/stream", "/stream/", "", True),
        ("/stream", "/stream_progress", "", "progress"),
        ("/stream", "/stream_progress/", "", "progress"),
        ("/stream", "/stream/_progress", "", "progress"),
        ("/stream", "/stream/_progress/", "", "progress"),
        ("/stream", "/stream/log", "", "log"),
        ("/stream", "/streamlog", "", False),
        ("/stream", "/stream//log", "", False),
        ("/stream", "/stream/log//", "", False),
        ("/stream", "/stream_progress/x", "", False),
        ("/stream", "/stream_other", "", False),
        ("/stream", "/streams", "", False),
        ("/stream", "/", "", False),
        ("/stream", "", "", False),
        ("/stream", "/Stream", "", False),
        ("/stream", "/api/stream_progress", "/api", "progress"),
        ("/stream", "/api/stream_progress", "/api/", "progress"),
        ("/stream", "/api/stream_progress", "", False),
        ("/stream", "/stream_progress", "/api", "progress"),
        ("/stream/", "/stream/_progress", "/stream", "progress"),
        ("/stream/", "/stream/", "/stream", True),
        ("/stream/", "/api/stream/_progress", "/api/stream", "progress"),
        ("/api/stream/", "/api/stream/_progress", "/api/stream", "progress"),
        ("", "/log", "", "log"),
        ("", "", "", True),
        ("/", "/", "", True),
        ("/", "/log", "", "log"),
    ],
)
def test_which_paths_are_ours(base: str, path: str, root: str, found: Any) -> None:
    result = routes(base).find(scope(path, root=root))
    assert (result.name if isinstance(result, StreamEndpoint) else result) == found


def test_a_single_topic() -> None:
    assert match("/stream_progress", "id=a%20b") == Match(
        (Topic("progress", "a b"),), many=False, after=None, dialect="events"
    )


@pytest.mark.parametrize(
    ("query", "topics"),
    [
        ("id=a", ["progress:a", "log:a"]),
        ("id=a&id=b&id=a", ["progress:a", "log:a", "progress:b", "log:b"]),
        ("id=a&stream=log", ["log:a"]),
        ("id=a&stream=log&stream=progress&stream=log", ["log:a", "progress:a"]),
    ],
)
def test_many_topics(query: str, topics: list[str]) -> None:
    result = match("/stream", query)
    assert [str(topic) for topic in result.topics] == topics
    assert result.many


@pytest.mark.parametrize(
    ("query", "headers", "after"),
    [
        ("id=a", {}, None),
        ("id=a&after=x.1", {}, "x.1"),
        ("id=a&after=", {}, None),
        ("id=a&after=x.1", {"last_event_id": "y.2"}, "y.2"),
        ("id=a&after=x.1", {"Last_Event_ID": "y.2"}, "y.2"),
        ("id=a&after=x.1", {"last_event_id": ""}, "x.1"),
        ("id=a&after=%00%ff", {}, None),
    ],
)
def test_where_the_cursor_is_taken_from(query: str, headers: Any, after: str | None) -> None:
    if "%ff" in query:
        with pytest.raises(Refused):
            match("/stream", query, **headers)
    else:
        assert match("/stream", query, **headers).after == after


@pytest.mark.parametrize(
    ("query", "headers", "dialect"),
    [
        ("id=a", {}, "events"),
        ("id=a", {"hx_request": "true"}, "htmx4"),
        ("id=a", {"datastar_request": "true"}, "datastar"),
        ("id=a&dialect=events", {"hx_request": "true"}, "events"),
        ("id=a&dialect=datastar", {}, "datastar"),
        ("id=a", {"hx_request": "false"}, "events"),
    ],
)
def test_how_the_dialect_is_known(query: str, headers: Any, dialect: str) -> None:
    assert match("/stream", query, **headers).dialect == dialect


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/stream", "", 400),
        ("/stream", "id=", 400),
        ("/stream", "id=%0a", 400),
        ("/stream", "id=a%00", 400),
        ("/stream", "id=%ff", 400),
        ("/stream", "id=%ed%a0%80", 400),
        ("/stream", "id=" + "x" * 257, 400),
        ("/stream", "id=" + "%C3%A9" * 257, 400),
        ("/stream", "id=a&x=" + "y" * 70_000, 400),
        ("/stream", "&".join(f"id={i}" for i in range(501)), 400),
        ("/stream", "id=a&stream=other", 404),
        ("/stream", "id=a&stream=", 404),
        ("/stream", "id=a&dialect=klingon", 400),
        ("/stream_progress", "id=a&id=b", 400),
    ],
)
def test_what_is_refused(path: str, query: str, status: int) -> None:
    with pytest.raises(Refused) as refused:
        match(path, query)
    assert refused.value.status == status
    assert "\n" not in refused.value.reason


@pytest.mark.parametrize("query", ["id=" + "x" * 256, "id=" + "%C3%A9" * 256, "id=a,b", "id=a%2Cb"])
def test_an_id_as_long_as_may_be_is_one_id(query: str) -> None:
    assert len(match("/stream_progress", query).topics) == 1


def test_limits_that_are_off_bound_nothing() -> None:
    limits = Limits(max_id_chars=None, max_query_bytes=None, max_topics_per_viewer=None)
    query = "&".join(f"id={i}{'x' * 500}" for i in range(600))
    assert len(match("/stream", query, limits).topics) == 1200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"])
def test_other_methods_are_refused_with_what_is_allowed(method: str) -> None:
    with pytest.raises(Refused) as refused:
        match("/stream_progress", method=method)
    assert refused.value.status == 405
    assert refused.value.headers == {"allow": "GET, HEAD"}


@given(
    ids=st.lists(ENTITY_IDS.filter(lambda x: len(x) <= 256), min_size=1, max_size=5, unique=True),
    streams=st.none() | st.lists(st.sampled_from(["progress", "log"]), min_size=1, unique=True),
    base=st.sampled_from(["/stream", "/stream/", "/a/b", "", "/"]),
    after=st.none() | st.just("Ab-_~9.17"),
    root=st.sampled_from(["", "/api"]),
)
def test_an_address_is_read_back_as_what_it_was_made_for(
    ids: list[str], streams: list[str] | None, base: str, after: str | None, root: str
) -> None:
    table = routes(base)
    url = table.url(ids, streams, after=after, dialect="datastar", root_path=root)
    assert url.isascii()
    parts = urlsplit(url)
    asked = scope(parts.path, parts.query, root)
    found = table.find(asked)
    assert found is True
    result = table.match(found, asked, Limits())
    assert result.topics == tuple(
        Topic(stream, entity_id) for entity_id in ids for stream in streams or ["progress", "log"]
    )
    assert (result.after, result.dialect, result.many) == (after, "datastar", True)


@given(ENTITY_IDS.filter(lambda x: len(x) <= 256), st.sampled_from(["/stream", "/stream/", "/"]))
def test_an_address_of_one_topic_is_read_back(entity_id: str, base: str) -> None:
    table = routes(base)
    for stream in ("progress", "log"):
        url = table.url(entity_id, stream, after=None, dialect=None, root_path="")
        parts = urlsplit(url)
        asked = scope(parts.path, parts.query)
        found = table.find(asked)
        assert isinstance(found, StreamEndpoint)
        assert table.match(found, asked, Limits()).topics == (Topic(stream, entity_id),)


@pytest.mark.parametrize(
    ("ids", "streams", "dialect"),
    [
        ("a", "other", None),
        ([], None, None),
        ("a", [], None),
        ("", "log", None),
        ("a\n", "log", None),
        ("a", "log", "x"),
    ],
)
def test_an_address_that_could_not_be_served_is_not_made(
    ids: Any, streams: Any, dialect: Any
) -> None:
    with pytest.raises(ValueError):
        routes().url(ids, streams, after=None, dialect=dialect, root_path="")
