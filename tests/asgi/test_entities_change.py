"""Entities that end while they are watched, and that become active again."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from multistream_asgi import TopicEnded
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.jobs import ONE, Job, Jobs, said, served
from tests.asgi.virtual_time import settle


async def test_an_entity_that_becomes_active_is_streamed_at_once(jobs: Jobs) -> None:
    feed = Feed("1 %")
    manager = served(jobs, feed)
    await request(manager, ONE)
    jobs.jobs["a"] = Job("backup")
    async with connect(manager, ONE) as conn:
        assert said(await conn.events(1)) == [("message", "1 %")]
        feed.run.put("2 %")
        assert said(await conn.events(1)) == [("message", "2 %")]


async def test_who_saw_the_inactive_form_is_reset_when_it_becomes_active(jobs: Jobs) -> None:
    jobs.jobs["a"] = Job("backup", "queued")
    feed = Feed("1 %")
    manager = served(jobs, feed)
    conn = await request(manager, ONE)
    jobs.jobs["a"].state = "running"
    async with connect(manager, ONE, headers={"Last-Event-ID": conn.last_event_id}) as again:
        assert [event.type for event in await again.events(2)] == ["reset", "message"]


async def test_a_topic_ended_by_its_source_stays_ended_while_the_entity_is_active(
    jobs: Jobs,
) -> None:
    jobs.jobs["a"] = Job("backup")
    feed = Feed("100 %")
    manager = served(jobs, feed)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        feed.run.end()
        await conn.until_closed()
    assert said((await request(manager, ONE)).received) == [("message", "100 %"), ("close", "done")]
    assert len(feed.runs) == 1


async def test_the_end_of_a_source_shows_an_entity_that_is_done_by_then(jobs: Jobs) -> None:
    jobs.jobs["a"] = Job("backup")
    feed = Feed("99 %")
    async with connect(served(jobs, feed), ONE) as conn:
        await conn.next_event()
        jobs.jobs["a"].state = "done"
        feed.run.end()
        assert said(await conn.until_closed()) == [("message", "backup is done"), ("close", "done")]


async def test_a_source_that_still_runs_has_the_last_word(jobs: Jobs) -> None:
    """The entity is done, its source about to say so: a newcomer does not cut it short."""
    jobs.jobs["a"] = Job("backup")
    feed = Feed("99 %")
    manager = served(jobs, feed)
    async with connect(manager, ONE) as first:
        await first.next_event()
        jobs.jobs["a"].state = "done"
        async with connect(manager, ONE) as second:
            await settle()
            feed.run.put("100 %")
            feed.run.end()
            for conn in (first, second):
                events = said(await conn.until_closed())
                assert events[-3:] == [
                    ("message", "100 %"),
                    ("message", "backup is done"),
                    ("close", "done"),
                ]


async def test_a_source_that_runs_on_for_an_entity_that_is_done_is_ended_after_linger(
    jobs: Jobs,
) -> None:
    """Noticed when somebody comes; until then nobody has asked."""
    jobs.jobs["a"] = Job("backup")
    feed = Feed("99 %")
    manager = served(jobs, feed, linger=5)
    async with connect(manager, ONE) as first:
        await first.next_event()
        jobs.jobs["a"].state = "done"
        await anyio.sleep(100)
        assert not first.complete
        async with connect(manager, ONE) as second, connect(manager, ONE) as third:
            await anyio.sleep(4)
            assert not second.complete
            for conn in (first, second, third):
                assert said(await conn.until_closed())[-2:] == [
                    ("message", "backup is done"),
                    ("close", "done"),
                ]
    await settle()
    assert [run.closed for run in feed.runs] == [1]


@pytest.mark.parametrize("what", ["active again", "left", "lingers for ever"])
async def test_it_is_not_ended_when_it_is(jobs: Jobs, what: str) -> None:
    jobs.jobs["a"] = Job("backup")
    feed = Feed("1 %")
    manager = served(jobs, feed, linger=None if what == "lingers for ever" else 5)
    async with connect(manager, ONE) as first:
        await first.next_event()
        jobs.jobs["a"].state = "done"
        async with connect(manager, ONE) as second:
            await second.next_event()
        if what == "active again":
            jobs.jobs["a"].state = "running"
        if what == "left":
            await first.disconnect()
        await anyio.sleep(50)
        if what == "left":
            assert not feed.open
            assert manager.connection_registry.get_stats()["total"] == 0
        else:
            assert not first.complete
            assert feed.open == 1


async def test_looking_at_an_id_early_does_not_stop_its_publisher(jobs: Jobs) -> None:
    """Else anyone could mute a topic for minutes by asking for its id before it exists."""
    manager = manager_of("progress", **jobs.options())
    assert said((await request(manager, ONE)).received) == [("close", "done")]
    jobs.jobs["a"] = Job("backup")
    await manager.publish("progress", "a", "1 %")
    async with connect(manager, ONE) as conn:
        assert said(await conn.events(1)) == [("message", "1 %")]


async def test_finish_without_data_keeps_the_form_that_an_inactive_entity_has_shown(
    jobs: Jobs,
) -> None:
    jobs.jobs["a"] = Job("backup", "done")
    manager = served(jobs, Feed())
    first = await request(manager, ONE)
    await manager.finish("progress", "a")
    assert said((await request(manager, ONE)).received) == said(first.received)


async def test_finish_with_data_replaces_it(jobs: Jobs) -> None:
    manager = manager_of("progress", **jobs.options())
    await request(manager, ONE)
    await manager.finish("progress", "a", "100 %")
    assert said((await request(manager, ONE)).received) == [("message", "100 %"), ("close", "done")]
    with pytest.raises(TopicEnded):
        await manager.publish("progress", "a", "more")


async def test_an_entity_that_becomes_active_while_its_final_form_is_made_is_not_ended() -> None:
    """Another viewer has found it active meanwhile, and its source runs."""
    asked, go = anyio.Event(), anyio.Event()

    async def transform(data: Any, *, final: bool) -> Any:
        if final:
            asked.set()
            await go.wait()
            return "done"
        return data

    jobs, feed = Jobs(), Feed("1 %")
    jobs.jobs["a"] = Job("backup", "queued")
    manager = manager_of(feed.endpoint(transform_fn=transform), **jobs.options())
    async with connect(manager, ONE) as early:
        await asked.wait()
        jobs.jobs["a"].state = "running"
        async with connect(manager, ONE) as late:
            assert said(await late.events(1)) == [("message", "1 %")]
            go.set()
            await settle()
            feed.run.put("2 %")
            assert said(await late.events(1)) == [("message", "2 %")]
            assert said(await early.events(2)) == [("message", "1 %"), ("message", "2 %")]
