"""One connection for many topics: names, one order over all, one cursor for all."""

from __future__ import annotations

import pytest

from multistream_asgi import Cursor
from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle
from tests.event_stream import Parsed


def seqs(events: list[Parsed]) -> list[int]:
    return [Cursor.parse(event.last_event_id).seq for event in events]


async def test_each_event_is_named_after_its_topic() -> None:
    manager = manager_of("progress", "log")
    async with connect(manager, "/stream?id=a&id=b") as conn:
        await settle()
        for stream, entity in [("log", "b"), ("progress", "a"), ("log", "a"), ("progress", "b")]:
            await manager.publish(stream, entity, f"{stream} of {entity}")
        events = await conn.events(4)
        assert [(event.type, event.data) for event in events] == [
            ("log:b", "log of b"),
            ("progress:a", "progress of a"),
            ("log:a", "log of a"),
            ("progress:b", "progress of b"),
        ]
        assert seqs(events) == sorted(set(seqs(events)))


async def test_the_entity_in_a_name_is_percent_encoded() -> None:
    manager = manager_of("progress")
    entity = "a b:ü,/\n😀".replace("\n", "")
    async with connect(manager, manager.url([entity])) as conn:
        await manager.publish("progress", entity, "x")
        event = await conn.next_event()
        assert event.type == "progress:a%20b%3A%C3%BC%2C%2F%F0%9F%98%80"


async def test_only_the_named_streams_are_served() -> None:
    feeds = {name: Feed(name) for name in ("progress", "log", "status")}
    manager = manager_of(*(feed.endpoint(name) for name, feed in feeds.items()))
    async with connect(manager, "/stream?id=a&stream=log&stream=status") as conn:
        await settle()
        assert {event.type for event in conn.received} == {"log:a", "status:a"}
        assert not feeds["progress"].runs


async def test_every_stream_is_the_default_those_registered_later_too() -> None:
    manager = manager_of(Feed(1).endpoint("progress"))
    async with connect(manager, "/stream?id=a") as conn:
        await conn.next_event()
    manager.register_endpoint(Feed(2).endpoint("log"))
    async with connect(manager, "/stream?id=a") as conn:
        assert {event.type for event in await conn.events(2)} == {"progress:a", "log:a"}


async def test_one_topic_at_the_base_path_is_named_all_the_same() -> None:
    async with connect(manager_of(Feed("x").endpoint()), "/stream?id=a&stream=progress") as conn:
        assert (await conn.next_event()).type == "progress:a"


async def test_what_is_named_twice_is_served_once() -> None:
    feed = Feed("x")
    url = "/stream?id=a&id=a&stream=progress&stream=progress"
    async with connect(manager_of(feed.endpoint()), url) as conn:
        await settle()
        assert len(conn.received) == len(feed.runs) == 1


async def test_the_history_of_all_topics_comes_in_one_order() -> None:
    manager = manager_of("progress", "log")
    published = []
    for n in range(20):
        stream, entity = ("progress", "log")[n % 2], "abc"[n % 3]
        await manager.publish(stream, entity, n)
        published.append((f"{stream}:{entity}", str(n)))
    async with connect(manager, "/stream?id=c&id=b&id=a") as conn:
        events = await conn.events(20)
        assert [(event.type, event.data) for event in events] == published
        assert seqs(events) == sorted(set(seqs(events)))


async def test_a_topic_that_ends_says_so_and_the_others_go_on() -> None:
    manager = manager_of("progress", "log")
    async with connect(manager, "/stream?id=a") as conn:
        await settle()
        await manager.finish("progress", "a", "100 %")
        final, end = await conn.events(2)
        assert (final.type, final.data) == ("progress:a", "100 %")
        assert (end.type, end.data) == ("end", "progress:a")
        assert end.last_event_id == final.last_event_id
        await manager.publish("log", "a", "still here")
        assert (await conn.next_event()).data == "still here"


async def test_the_stream_closes_once_all_topics_have_ended() -> None:
    manager = manager_of("progress", "log")
    async with connect(manager, "/stream?id=a") as conn:
        await settle()
        await manager.finish("log", "a")
        await settle()
        assert not conn.complete
        await manager.finish("progress", "a", "done")
        assert [(event.type, event.data) for event in await conn.until_closed()] == [
            ("end", "log:a"),
            ("progress:a", "done"),
            ("end", "progress:a"),
            ("close", "done"),
        ]


async def test_what_lies_before_an_end_comes_before_it() -> None:
    """Also when the end of one topic and events of another wait together."""
    manager = manager_of("progress", "log")
    async with connect(manager, "/stream?id=a") as conn:
        await settle()
        conn.stall()
        await manager.publish("log", "a", 1)
        await manager.publish("progress", "a", 2)
        await manager.finish("progress", "a", 3)
        await manager.publish("log", "a", 4)
        await manager.finish("log", "a")
        conn.resume()
        assert [(event.type, event.data) for event in await conn.until_closed()] == [
            ("log:a", "1"),
            ("progress:a", "2"),
            ("progress:a", "3"),
            ("end", "progress:a"),
            ("log:a", "4"),
            ("end", "log:a"),
            ("close", "done"),
        ]


DIALECTS = {
    "events": ("progress:a", "<b>7</b>"),
    "htmx4": (
        "message",
        '<hx-partial hx-target="#a-progress" hx-swap="innerHTML"><b>7</b></hx-partial>',
    ),
    "datastar": (
        "datastar-patch-elements",
        "selector #a-progress\nmode inner\nelements <b>7</b>",
    ),
}


@pytest.mark.parametrize("by_header", [False, True])
@pytest.mark.parametrize(("dialect", "expected"), DIALECTS.items(), ids=DIALECTS)
async def test_dialects(dialect: str, expected: tuple[str, str], by_header: bool) -> None:
    """The query chooses, else the header by which a client shows itself."""
    header = {"htmx4": {"HX-Request": "true"}, "datastar": {"Datastar-Request": "true"}}
    headers = header.get(dialect, {}) if by_header else {"HX-Request": "true"}
    url = "/stream?id=a" if by_header else f"/stream?id=a&dialect={dialect}"
    async with connect(manager_of(Feed("<b>7</b>").endpoint()), url, headers=headers) as conn:
        event = await conn.next_event()
        assert (event.type, event.data) == expected


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("events", ("message", "<b>7</b>")),
        ("htmx4", ("message", "<b>7</b>")),
        ("datastar", DIALECTS["datastar"]),
    ],
)
async def test_dialects_of_one_topic(dialect: str, expected: tuple[str, str]) -> None:
    """htmx4 sends the data itself, and datastar still names its target."""
    url = f"/stream_progress?id=a&dialect={dialect}"
    async with connect(manager_of(Feed("<b>7</b>").endpoint()), url) as conn:
        event = await conn.next_event()
        assert (event.type, event.data) == expected


async def test_an_endpoint_may_name_the_element() -> None:
    endpoint = Feed("x").endpoint(dom_id=lambda entity_id: f"cell.{entity_id}")
    async with connect(manager_of(endpoint), "/stream_progress?id=1&dialect=datastar") as conn:
        assert (await conn.next_event()).data.startswith("selector #cell\\.1\n")
