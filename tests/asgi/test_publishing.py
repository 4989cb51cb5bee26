"""`publish`, `finish` and `latest`, from outside a source."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any

import anyio
import pytest

from multistream_asgi import Limits
from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


async def test_publish_returns_the_cursor_that_viewers_see() -> None:
    manager = manager_of("progress")
    async with connect(manager, ONE) as conn:
        cursors = [await manager.publish("progress", "a", n) for n in range(3)]
        assert [e.last_event_id for e in await conn.events(3)] == [str(c) for c in cursors]


async def test_what_a_transform_makes_none_of_is_not_sent() -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint(transform_fn=lambda n: n if n % 2 else None))
    async with connect(manager, ONE) as conn:
        cursors = [await manager.publish("progress", "a", n) for n in range(4)]
        await settle()
        assert [event.data for event in conn.received] == ["1", "3"]
        assert cursors[1] == cursors[2]
    async with connect(manager, ONE, headers={"Last-Event-ID": str(cursors[2])}) as conn:
        await settle()
        assert [event.data for event in conn.received] == ["3"]


async def test_a_transform_runs_once_per_event_whoever_watches() -> None:
    calls: list[Any] = []

    async def transform(data: Any, *, entity_id: str) -> str:
        calls.append((data, entity_id))
        return f"<{data}>"

    feed = Feed()
    manager = manager_of(feed.endpoint(transform_fn=transform))
    async with connect(manager, ONE) as one, connect(manager, "/stream?id=a") as two:
        await settle()
        feed.run.put(1)
        await manager.publish("progress", "a", 2)
        assert {event.data for event in await one.events(2)} == {"<1>", "<2>"}
        await two.events(2)
    async with connect(manager, ONE) as late:
        await late.events(2)
    assert sorted(calls) == [(1, "a"), (2, "a")]


async def test_published_and_produced_events_share_one_topic() -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as conn:
        await settle()
        feed.run.put("from the source")
        assert await conn.data(1) == ["from the source"]
        await manager.publish("progress", "a", "from outside")
        assert await conn.data(1) == ["from outside"]


async def test_latest() -> None:
    manager = manager_of("progress")
    assert await manager.latest("progress", "a") is None
    await manager.publish("progress", "a", {"percent": 1})
    cursor = await manager.publish("progress", "a", {"percent": 2})
    assert await manager.latest("progress", "a") == ('{"percent":2}', cursor)
    await manager.finish("progress", "a")
    latest = await manager.latest("progress", "a")
    assert latest is not None
    assert latest[0] == '{"percent":2}'


async def test_latest_s_cursor_is_the_head_so_that_nothing_read_comes_again() -> None:
    manager = manager_of("progress", "log")
    await manager.publish("progress", "a", 1)
    head = await manager.publish("log", "a", "x")
    assert await manager.latest("progress", "a") == ("1", head)


async def test_what_is_published_while_nobody_watches_is_kept_for_final_ttl() -> None:
    manager = manager_of("progress", final_ttl=10)
    await manager.publish("progress", "a", 1)
    await anyio.sleep(9)
    assert await manager.latest("progress", "a") is not None
    await anyio.sleep(2)
    assert await manager.latest("progress", "a") is None


async def test_a_quiet_topic_that_was_watched_survives_a_reload() -> None:
    """`final_ttl` is how long it is kept when nobody watches; somebody did until just now."""
    manager = manager_of("chat", final_ttl=10)
    async with connect(manager, "/stream_chat?id=a") as conn:
        await manager.publish("chat", "a", "hello")
        await conn.next_event()
        await anyio.sleep(30)
    await anyio.sleep(1)
    headers = {"Last-Event-ID": conn.last_event_id}
    async with connect(manager, "/stream_chat?id=a", headers=headers) as again:
        await manager.publish("chat", "a", "bye")
        assert await again.data(1) == ["bye"]
    async with connect(manager, "/stream_chat?id=a") as newcomer:
        assert await newcomer.data(2) == ["hello", "bye"]


BAD: dict[str, tuple[type[Exception], str, tuple[Any, ...]]] = {
    "an unknown stream": (ValueError, "stream", ("nosuch", "a", 1)),
    "no entity": (ValueError, "entity_id", ("progress", "", 1)),
    "an entity that is no string": (TypeError, "entity_id", ("progress", 7, 1)),
    "a newline in an entity": (ValueError, "entity_id", ("progress", "a\nb", 1)),
    "a surrogate in an entity": (ValueError, "entity_id", ("progress", "\ud800", 1)),
    "an over-long entity": (ValueError, "entity_id", ("progress", "x" * 257, 1)),
    "too long data": (ValueError, "data", ("progress", "a", "é" * 51)),
    "NaN": (ValueError, "data", ("progress", "a", [1, float("nan")])),
    "bytes that are not UTF-8": (ValueError, "data", ("progress", "a", b"\xff")),
    "no JSON": (TypeError, "data", ("progress", "a", {"x": object()})),
}


@pytest.mark.parametrize(("kind", "match", "arguments"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("method", ["publish", "finish"])
async def test_bad_input_is_refused_at_the_call(
    method: str, kind: type[Exception], match: str, arguments: tuple[Any, ...]
) -> None:
    manager = manager_of("progress", limits=Limits(max_event_bytes=100))
    async with connect(manager, ONE) as conn:
        await settle()
        with pytest.raises(kind, match=match):
            await getattr(manager, method)(*arguments)
        await manager.publish("progress", "a", "fine")
        assert await conn.data(1) == ["fine"]


class Color(str, Enum):  # noqa: UP042 - what a StrEnum does not show
    RED = "red"


class Shade(StrEnum):
    DARK = "dark"


@pytest.mark.parametrize("member", [Color.RED, Shade.DARK])
async def test_a_string_that_is_an_enum_member_is_written_as_its_value(
    member: Color | Shade,
) -> None:
    """Since Python 3.11 an f-string writes `Color.RED` for a member of a `str, Enum`."""
    manager = manager_of("progress", "red", "dark")
    async with connect(manager, f"/stream?id={member.value}&stream={member.value}") as conn:
        await manager.publish(member, member, member)
        event = await conn.next_event()
        assert (event.type, event.data) == (f"{member.value}:{member.value}", member.value)
        latest = await manager.latest(member, member)
        assert latest is not None
        assert type(latest[0]) is str
