"""`get_entity` and `is_active`: who is there, who is done, who comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from multistream_asgi import MultiStreamManager, TopicEnded
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle
from tests.event_stream import Parsed

ONE = "/stream_progress?id=a"


@dataclass
class Job:
    name: str
    state: str = "running"


class Jobs:
    """The user's own store, asked in a sync or an async way."""

    def __init__(self, *, asynchronous: bool = False) -> None:
        self.jobs: dict[str, Job] = {}
        self.asked: list[str] = []
        self.asynchronous = asynchronous

    def options(self) -> dict[str, Any]:
        if not self.asynchronous:
            return {"get_entity": self.get, "is_active": self.active}

        async def get(entity_id: str) -> Job | None:
            await anyio.lowlevel.checkpoint()
            return self.get(entity_id)

        async def active(job: Job) -> bool:
            await anyio.lowlevel.checkpoint()
            return self.active(job)

        return {"get_entity": get, "is_active": active}

    def get(self, entity_id: str) -> Job | None:
        self.asked.append(entity_id)
        return self.jobs.get(entity_id)

    def active(self, job: Job) -> bool:
        return job.state == "running"


def show(data: Any, *, final: bool = False) -> Any:
    if final:
        return "gone" if data is None else f"{data.name} is {data.state}"
    return data


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def jobs(request: pytest.FixtureRequest) -> Jobs:
    return Jobs(asynchronous=request.param)


def served(jobs: Jobs, feed: Feed, **options: Any) -> MultiStreamManager:
    return manager_of(feed.endpoint(transform_fn=show), **jobs.options(), **options)


def said(events: list[Parsed]) -> list[tuple[str, str]]:
    return [(event.type, event.data) for event in events]


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
