"""What the notebook this grew out of got wrong (DESIGN.md, section 8), one test for each defect.

Its markup is tested in test_fasthtml.py and its own cells in test_notebook.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from multistream_asgi import MultiStreamManager, StreamConfig, StreamEndpoint
from tests.asgi.driver import Connection, connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


def said(conn: Connection) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in conn.received]


async def test_a_heartbeat_does_not_cancel_the_source() -> None:
    feed = Feed("x")
    async with connect(manager_of(feed.endpoint(), heartbeat_interval=0.02), ONE) as conn:
        await conn.until(lambda: conn.chunks.count(b":\n\n") >= 3)
        assert feed.run.closed == 0
        feed.run.put("y")
        assert await conn.data(2) == ["x", "y"]


async def test_a_string_with_newlines_arrives_whole_and_injects_no_event() -> None:
    data = "one\ntwo\n\nevent: close\ndata: injected"
    async with connect(manager_of(Feed(data).endpoint()), ONE) as conn:
        await conn.events(1)
        await settle()
        assert said(conn) == [("message", data)]


async def test_a_source_is_closed_when_its_viewer_has_gone() -> None:
    feed = Feed("x")
    async with connect(manager_of(feed.endpoint(), linger=0), ONE) as conn:
        await conn.next_event()
    await settle()
    assert [run.closed for run in feed.runs] == [1]


async def test_an_async_transform_is_awaited() -> None:
    async def transform(data: str, **_: Any) -> str:
        return f"<b>{data}</b>"

    async with connect(manager_of(Feed("x").endpoint(transform_fn=transform)), ONE) as conn:
        assert await conn.data(1) == ["<b>x</b>"]


async def test_a_transform_gets_the_same_keywords_live_and_final() -> None:
    calls: list[dict[str, Any]] = []

    def transform(data: Any, **keywords: Any) -> str:
        calls.append(keywords)
        return "x"

    feed = Feed("x")
    async with connect(manager_of(feed.endpoint(transform_fn=transform)), ONE) as conn:
        await conn.next_event()
    manager = manager_of(feed.endpoint(transform_fn=transform), get_entity=lambda _: None)
    await request(manager, ONE)
    assert calls == [{"entity_id": "a", "final": False}, {"entity_id": "a", "final": True}]


async def test_a_transform_gets_only_the_keywords_it_accepts() -> None:
    for transform in (lambda data: "x", lambda data, final: "x", lambda data, entity_id: "x"):
        manager = manager_of(Feed(1).endpoint(transform_fn=transform))
        async with connect(manager, ONE) as conn:
            assert await conn.data(1) == ["x"]


@pytest.mark.parametrize("entity", [None, {"state": "done"}])
async def test_a_browser_is_told_to_stop_for_an_entity_that_is_finished_or_unknown(
    entity: Any,
) -> None:
    manager = manager_of(
        Feed().endpoint(), get_entity=lambda _: entity, is_active=lambda job: False
    )
    conn = await request(manager, ONE)
    assert said(conn) == [("close", "done")]
    again = await request(manager, ONE, headers={"Last-Event-ID": conn.last_event_id})
    assert again.status == 204


async def test_ids_are_percent_encoded() -> None:
    entity = "a&id=b c#é/%41"
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    for url in (manager.url(entity, "progress"), manager.url([entity])):
        async with connect(manager, url) as conn:
            await conn.next_event()
    assert [run.entity_id for run in feed.runs] == [entity]


async def test_a_sync_generator_is_a_source() -> None:
    def source(entity_id: str) -> Iterator[dict[str, str]]:
        yield {"status": "running"}

    conn = await request(manager_of(StreamEndpoint("progress", "_progress", source)), ONE)
    assert said(conn) == [("message", '{"status":"running"}'), ("close", "done")]


async def test_none_from_a_final_transform_sends_no_event() -> None:
    endpoint = Feed().endpoint(transform_fn=lambda data, final: None)
    conn = await request(manager_of(endpoint, get_entity=lambda _: None), ONE)
    assert said(conn) == [("close", "done")]


async def test_get_entity_and_is_active_are_awaited_and_asked_for_each_viewer() -> None:
    jobs = {"a": "done"}

    async def get_entity(entity_id: str) -> str:
        await anyio.lowlevel.checkpoint()
        return jobs[entity_id]

    async def is_active(state: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return state == "running"

    feed = Feed("x")
    manager = manager_of(feed.endpoint(), get_entity=get_entity, is_active=is_active)
    assert said(await request(manager, ONE)) == [("close", "done")]
    jobs["a"] = "running"
    async with connect(manager, ONE) as conn:
        assert await conn.data(1) == ["x"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 405)])
async def test_neither_head_nor_post_starts_a_source(method: str, status: int) -> None:
    feed = Feed("x")
    conn = await request(manager_of(feed.endpoint()), ONE, method=method)
    assert conn.status == status
    assert not feed.runs


async def test_viewers_share_one_run_of_the_source() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as one, connect(manager, ONE) as two:
        assert await one.data(1) == await two.data(1) == ["x"]
        assert len(feed.runs) == 1


async def test_a_page_of_cells_opens_one_connection() -> None:
    manager = manager_of(*(Feed(name).endpoint(name) for name in ("progress", "status", "log")))
    async with connect(manager, manager.url(["a", "b"])) as conn:
        assert len({event.type for event in await conn.events(6)}) == 6
        assert manager.connection_registry.get_stats()["total"] == 1


async def test_the_registry_counts() -> None:
    manager = manager_of(Feed("x", "y").endpoint())
    async with connect(manager, ONE) as conn:
        await conn.events(2)
        [connection] = manager.connection_registry.get_connections()
        assert (connection.message_count, connection.is_active()) == (2, True)
        assert manager.connection_registry.get_stats()["message_count"] == 2
    assert not connection.is_active()


async def test_no_two_topics_share_a_connection_type() -> None:
    """`a_b` + `c` was `a` + `b_c`."""
    one, two = Feed(), Feed()
    manager = manager_of(one.endpoint("a_b"), two.endpoint("a"))
    async with connect(manager, "/stream_a_b?id=c"), connect(manager, "/stream_a?id=b_c"):
        await settle()
        assert set(manager.connection_registry.get_stats()["by_type"].values()) == {1}


@pytest.mark.parametrize(("name", "suffix"), [("progress", "_other"), ("other", "_progress")])
def test_a_duplicate_is_refused_and_the_first_stays(name: str, suffix: str) -> None:
    manager = manager_of("progress")
    with pytest.raises(ValueError, match=r"^(name|path_suffix)"):
        manager.register_endpoint(StreamEndpoint(name, suffix))
    assert list(manager.endpoints) == ["progress"]
    assert manager.endpoints["progress"].path_suffix == "_progress"


async def test_a_stream_that_is_registered_later_is_served() -> None:
    manager = MultiStreamManager(default_config=StreamConfig(linger=0))
    assert (await request(manager, ONE)).status == 404

    @manager.stream("progress")
    async def progress(entity_id: str) -> AsyncIterator[str]:
        yield "x"

    assert said(await request(manager, ONE)) == [("message", "x"), ("close", "done")]
