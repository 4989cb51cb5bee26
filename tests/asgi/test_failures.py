"""A source that fails: told without a word of why, logged with its traceback."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from multistream_asgi import StreamEndpoint
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "multistream_asgi")


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The exceptions whose tracebacks were logged."""
    infos = [record.exc_info for record in caplog.records if record.exc_info]
    return [f"{type(info[1]).__name__}: {info[1]}" for info in infos]


async def test_viewers_get_failed_and_close(caplog: pytest.LogCaptureFixture) -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, "/stream_progress?id=a") as conn:
        await conn.next_event()
        feed.run.fail(RuntimeError(SECRET))
        events = await conn.until_closed()
        assert [(e.type, e.data) for e in events] == [("failed", "failed"), ("close", "done")]
    assert SECRET.encode() not in conn.body
    assert logged(caplog) == [f"RuntimeError: {SECRET}"]
    assert feed.run.closed == 1


async def test_nothing_else_is_disturbed() -> None:
    bad, good = Feed(), Feed()
    manager = manager_of(bad.endpoint("bad"), good.endpoint("good"))
    async with connect(manager, "/stream?id=a&id=b") as conn:
        await settle()
        next(run for run in bad.runs if run.entity_id == "a").fail(RuntimeError(SECRET))
        assert [(e.type, e.data) for e in await conn.events(2)] == [
            ("failed", "failed"),
            ("end", "bad:a"),
        ]
        for run in [*good.runs, next(run for run in bad.runs if run.entity_id == "b")]:
            run.put("fine")
        assert {e.type for e in await conn.events(3)} == {"good:a", "good:b", "bad:b"}


async def test_who_comes_late_is_told_that_it_failed_and_it_is_not_run_again() -> None:
    feed = Feed("x", RuntimeError(SECRET))
    manager = manager_of(feed.endpoint())
    await request(manager, "/stream_progress?id=a")
    late = await request(manager, "/stream_progress?id=a")
    assert [e.type for e in late.received] == ["message", "failed", "close"]
    assert len(feed.runs) == 1


async def test_who_missed_the_failure_is_told_and_who_saw_it_gets_204() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, "/stream_progress?id=a") as conn:
        before = (await conn.next_event()).last_event_id
        feed.run.fail(RuntimeError(SECRET))
        await conn.until_closed()
    again = await request(manager, "/stream_progress?id=a", headers={"Last-Event-ID": before})
    assert [e.type for e in again.received] == ["failed", "close"]
    seen = {"Last-Event-ID": conn.last_event_id}
    assert (await request(manager, "/stream_progress?id=a", headers=seen)).status == 204


async def raises_at_once(entity_id: str) -> AsyncIterator[str]:
    if entity_id:
        raise RuntimeError(SECRET)
    yield ""


async def no_generator(entity_id: str) -> Any:
    return 7


async def awaits_and_raises(entity_id: str) -> Any:
    raise RuntimeError(SECRET)


async def group(entity_id: str) -> AsyncIterator[str]:
    yield "x"
    raise ExceptionGroup(SECRET, [ValueError(SECRET)])


async def nan(entity_id: str) -> AsyncIterator[float]:
    yield math.nan


async def no_utf8(entity_id: str) -> AsyncIterator[str]:
    yield "\ud800"


async def no_json(entity_id: str) -> AsyncIterator[object]:
    yield object()


async def far_too_long(entity_id: str) -> AsyncIterator[str]:
    yield "x" * 2_000_000


async def bad_name(entity_id: str) -> AsyncIterator[Any]:
    from sse_starlette import ServerSentEvent

    yield ServerSentEvent(data="x", event="a\nb")


@pytest.mark.parametrize(
    "source",
    [
        raises_at_once,
        no_generator,
        awaits_and_raises,
        group,
        nan,
        no_utf8,
        no_json,
        far_too_long,
        bad_name,
    ],
)
async def test_every_kind_of_failure(source: Any, caplog: pytest.LogCaptureFixture) -> None:
    manager = manager_of(StreamEndpoint("progress", "_progress", source))
    conn = connect(manager, "/stream_progress?id=a")
    async with anyio.create_task_group(), conn:
        # An async function's result may be run in a thread, which virtual time does not see.
        while not conn.complete:
            await anyio.lowlevel.checkpoint()
    assert [e.type for e in conn.received][-2:] == ["failed", "close"]
    assert SECRET.encode() not in conn.body
    assert len(logged(caplog)) == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_transform_that_raises(is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    def transform(data: str) -> str:
        raise RuntimeError(SECRET)

    async def async_transform(data: str) -> str:
        raise RuntimeError(SECRET)

    feed = Feed("x")
    endpoint = feed.endpoint(transform_fn=async_transform if is_async else transform)
    conn = await request(manager_of(endpoint), "/stream_progress?id=a")
    assert [e.type for e in conn.received] == ["failed", "close"]
    assert logged(caplog) == [f"RuntimeError: {SECRET}"]
    assert feed.run.closed == 1


async def test_restarts(caplog: pytest.LogCaptureFixture) -> None:
    """It is run again as often as said, each failure logged, and the viewers see one stream."""
    feed = Feed("x", RuntimeError(SECRET))
    manager = manager_of(feed.endpoint(), restarts=2)
    conn = await request(manager, "/stream_progress?id=a")
    assert [e.type for e in conn.received] == ["message"] * 3 + ["failed", "close"]
    assert [run.closed for run in feed.runs] == [1, 1, 1]
    assert logged(caplog) == [f"RuntimeError: {SECRET}"] * 3


async def test_a_source_that_recovers_is_not_failed() -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint(), restarts=1)
    async with connect(manager, "/stream_progress?id=a") as conn:
        await settle()
        feed.run.fail(RuntimeError(SECRET))
        await anyio.sleep(1)
        assert len(feed.runs) == 2
        feed.run.put("back")
        feed.run.end()
        assert [e.data for e in await conn.until_closed()] == ["back", "done"]


async def test_a_viewer_that_leaves_between_two_tries_ends_them() -> None:
    feed = Feed(RuntimeError(SECRET))
    manager = manager_of(feed.endpoint(), restarts=9, linger=0)
    async with connect(manager, "/stream_progress?id=a"):
        await settle()
    runs = len(feed.runs)
    await anyio.sleep(3600)
    assert len(feed.runs) == runs
    assert not feed.open


async def test_publish_raises_at_the_publisher_and_the_stream_goes_on() -> None:
    manager = manager_of("progress")
    async with connect(manager, "/stream_progress?id=a") as conn:
        await settle()
        for data, kind in [(math.nan, ValueError), ("\ud800", ValueError), (object(), TypeError)]:
            with pytest.raises(kind, match="data"):
                await manager.publish("progress", "a", data)
        await manager.publish("progress", "a", "fine")
        assert (await conn.next_event()).data == "fine"
