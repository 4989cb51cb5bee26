"""`get_entity` and `is_active`: who is there, who is done."""

from __future__ import annotations

from typing import Any

from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.jobs import ONE, Job, Jobs, said, served
from tests.asgi.virtual_time import settle


async def test_an_active_entity_is_streamed(jobs: Jobs) -> None:
    jobs.jobs["a"] = Job("backup")
    feed = Feed("1 %")
    async with connect(served(jobs, feed), ONE) as conn:
        assert said(await conn.events(1)) == [("message", "1 %")]


async def test_an_inactive_one_shows_its_final_form_and_closes(jobs: Jobs) -> None:
    jobs.jobs["a"] = Job("backup", "done")
    feed = Feed("1 %")
    conn = await request(served(jobs, feed), ONE)
    assert said(conn.received) == [("message", "backup is done"), ("close", "done")]
    assert not feed.runs


async def test_an_unknown_one_is_asked_for_its_final_form_too(jobs: Jobs) -> None:
    feed = Feed("1 %")
    conn = await request(served(jobs, feed), ONE)
    assert said(conn.received) == [("message", "gone"), ("close", "done")]
    assert not feed.runs


async def test_without_a_transform_it_just_closes(jobs: Jobs) -> None:
    feed = Feed("1 %")
    manager = manager_of(feed.endpoint(), **jobs.options())
    assert said((await request(manager, ONE)).received) == [("close", "done")]


async def test_a_final_form_of_none_sends_no_event(jobs: Jobs) -> None:
    manager = manager_of(Feed().endpoint(transform_fn=lambda data, final: None), **jobs.options())
    assert said((await request(manager, ONE)).received) == [("close", "done")]


async def test_one_inactive_among_active_ones(jobs: Jobs) -> None:
    jobs.jobs.update(a=Job("backup", "done"), b=Job("copy"))
    async with connect(served(jobs, Feed("1 %")), "/stream?id=a&id=b") as conn:
        events = await conn.events(3)
        assert set(said(events)) == {
            ("progress:a", "backup is done"),
            ("end", "progress:a"),
            ("progress:b", "1 %"),
        }


async def test_an_entity_is_asked_for_once_per_connection(jobs: Jobs) -> None:
    jobs.jobs.update(a=Job("backup"), b=Job("copy"))
    manager = manager_of(*(Feed().endpoint(name) for name in "xyz"), **jobs.options())
    async with connect(manager, "/stream?id=a&id=b"):
        await settle()
        assert jobs.asked == ["a", "b"]


async def test_who_comes_back_to_an_inactive_one_gets_204(jobs: Jobs) -> None:
    manager = served(jobs, Feed())
    conn = await request(manager, ONE)
    again = await request(manager, ONE, headers={"Last-Event-ID": conn.last_event_id})
    assert again.status == 204


async def test_a_final_form_that_fails_is_a_failure_without_its_text(jobs: Jobs) -> None:
    manager = manager_of(
        Feed().endpoint(transform_fn=lambda job, final: job.secret), **jobs.options()
    )
    conn = await request(manager, ONE)
    assert said(conn.received) == [("failed", "failed"), ("close", "done")]
    assert b"secret" not in conn.body


async def test_a_store_that_fails_lets_its_clients_come_back() -> None:
    def get(entity_id: str) -> Any:
        raise ConnectionError("db.internal:5432")

    feed = Feed()
    manager = manager_of(feed.endpoint(), get_entity=get)
    conn = await request(manager, ONE)
    assert (conn.status, conn.received) == (200, [])
    assert conn.retries
    assert b"internal" not in conn.body
    assert not feed.runs
