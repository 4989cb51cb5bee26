"""What is refused, with which status, and before any source starts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from multistream_asgi import Limits, MultiStreamManager, Refused, Topic
from multistream_asgi.types import Message
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.test_one_topic import HEADERS
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


def app_and_feed(**options: Any) -> tuple[MultiStreamManager, Feed]:
    feed = Feed("x")
    return manager_of(feed.endpoint(), "log", **options), feed


@pytest.mark.parametrize("url", [ONE, "/stream?id=a"])
async def test_head_is_answered_with_the_headers_alone(url: str) -> None:
    manager, feed = app_and_feed()
    conn = await request(manager, url, method="HEAD")
    assert (conn.status, conn.raw_headers, conn.body) == (200, HEADERS, b"")
    await settle()
    assert not feed.runs


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"])
@pytest.mark.parametrize("url", [ONE, "/stream?id=a", "/stream"])
async def test_other_methods_are_405(method: str, url: str) -> None:
    manager, feed = app_and_feed()
    conn = await request(manager, url, method=method)
    assert (conn.status, conn.headers["allow"]) == (405, "GET, HEAD")
    assert not feed.runs


REFUSED: dict[str, tuple[int, str]] = {
    "no id": (400, "/stream_progress"),
    "no id at the base path": (400, "/stream"),
    "no id but others": (400, "/stream?stream=progress"),
    "an empty id": (400, "/stream_progress?id="),
    "an over-long id": (400, f"/stream_progress?id={'x' * 257}"),
    "an over-long id in UTF-8": (400, f"/stream_progress?id={'%C3%A9' * 257}"),
    "NUL": (400, "/stream_progress?id=a%00b"),
    "a newline": (400, "/stream_progress?id=a%0Ab"),
    "CR": (400, "/stream?id=ok&id=a%0Db"),
    "bad UTF-8": (400, "/stream_progress?id=%FF"),
    "a surrogate": (400, "/stream_progress?id=%ED%A0%80"),
    "two ids on the path of one": (400, "/stream_progress?id=a&id=b"),
    "too many topics": (400, "/stream?" + "&".join(f"id={n}" for n in range(501))),
    "too long a query": (400, "/stream?id=a&x=" + "x" * 65_536),
    "an unknown stream": (404, "/stream?id=a&stream=nosuch"),
    "one unknown stream of two": (404, "/stream?id=a&stream=progress&stream=nosuch"),
    "an empty stream": (404, "/stream?id=a&stream="),
    "an unknown dialect": (400, "/stream?id=a&dialect=klingon"),
    "an unknown path": (404, "/stream_nosuch?id=a"),
    "a path that only begins like ours": (404, "/streams?id=a"),
    "another path": (404, "/"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("status", "url"), REFUSED.values(), ids=REFUSED)
async def test_refused_with_a_reason_of_one_line(status: int, url: str, method: str) -> None:
    manager, feed = app_and_feed()
    conn = await request(manager, url, method=method)
    assert conn.status == status
    assert conn.headers["content-type"] == "text/plain; charset=utf-8"
    assert conn.headers["cache-control"] == "no-store"
    if method == "GET":
        assert conn.body.endswith(b"\n")
        assert conn.body.count(b"\n") == 1
    await settle()
    assert not feed.runs


async def test_the_longest_id_is_served() -> None:
    manager, feed = app_and_feed()
    async with connect(manager, f"/stream_progress?id={'%C3%A9' * 256}"):
        await settle()
        assert [run.entity_id for run in feed.runs] == ["é" * 256]


async def test_authorize_is_asked_for_every_topic_before_any_starts() -> None:
    asked: list[tuple[str, Topic]] = []

    def check(scope: Any, topic: Topic) -> bool:
        asked.append((scope["path"], topic))
        return (topic.stream, topic.entity_id) != ("log", "b")

    manager, feed = app_and_feed(authorize=check)
    conn = await request(manager, "/stream?id=a&id=b")
    assert conn.status == 403
    assert [str(topic) for _, topic in asked] == ["progress:a", "log:a", "progress:b", "log:b"]
    assert not feed.runs
    async with connect(manager, "/stream?id=a") as allowed:
        assert (await allowed.next_event()).data == "x"


async def yes(scope: Any, topic: Any) -> bool:
    return True


async def no(scope: Any, topic: Any) -> bool:
    return False


async def login(scope: Any, topic: Any) -> bool:
    raise Refused(401, "log in first", headers={"www-authenticate": "Basic"})


@pytest.mark.parametrize(
    ("check", "status"),
    [
        (yes, 200),
        (no, 403),
        (login, 401),
        (lambda scope, topic: None, 403),
        (lambda scope, topic: 1, 403),
        (lambda scope, topic: PlainTextResponse("no", 403), 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_authorize(
    check: Callable[[Any, Any], Awaitable[bool]], status: int, method: str
) -> None:
    manager, feed = app_and_feed(authorize=check)
    async with connect(manager, ONE, method=method) as conn:
        await settle()
        assert conn.status == status
        assert bool(feed.runs) is (status == 200 and method == "GET")
        if status == 401 and method == "GET":
            assert (conn.body, conn.headers["www-authenticate"]) == (b"log in first\n", "Basic")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_authorize_that_raises_lets_nobody_in(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And its clients come back: a status other than 200 would stop them for good."""

    def check(scope: Any, topic: Topic) -> bool:
        raise RuntimeError("the database is gone")

    manager, feed = app_and_feed(authorize=check)
    with caplog.at_level(logging.ERROR, "multistream_asgi"):
        conn = await request(manager, ONE, method=method)
    assert (conn.status, conn.received) == (200, [])
    assert conn.retries or method == "HEAD"
    assert "the database is gone" in caplog.text
    assert b"database" not in conn.body
    assert not feed.runs


async def test_one_viewer_too_many_is_told_to_come_back() -> None:
    manager, _ = app_and_feed(limits=Limits(max_viewers=1))
    async with connect(manager, ONE) as first:
        await first.next_event()
        second = await request(manager, ONE)
        assert (second.status, second.raw_headers, second.received) == (200, HEADERS, [])
        assert second.retries[0] >= 2000
        assert manager.connection_registry.get_stats()["total"] == 1
    async with connect(manager, ONE) as third:
        assert (await third.next_event()).data == "x"


async def test_those_who_are_told_to_come_back_do_not_all_come_at_once() -> None:
    manager, _ = app_and_feed(limits=Limits(max_viewers=1))
    async with connect(manager, ONE):
        await settle()
        retries = {(await request(manager, ONE)).retries[0] for _ in range(20)}
    assert len(retries) > 5


async def test_one_topic_too_many_leaves_nothing_behind() -> None:
    manager, feed = app_and_feed(limits=Limits(max_topics=3), linger=0)
    async with connect(manager, "/stream?id=a"):
        await settle()
        second = await request(manager, "/stream?id=b")
        assert (second.status, second.received) == (200, [])
        assert second.retries
        await settle()
        assert feed.open == 1
        assert manager.connection_registry.get_stats()["total"] == 1


@pytest.mark.parametrize("path", ["/stream_progress", "/stream", "/nosuch"])
async def test_a_websocket_is_closed_at_once(path: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    manager, _ = app_and_feed()
    scope = {"type": "websocket", "path": path, "query_string": b"id=a", "headers": []}
    await manager(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
