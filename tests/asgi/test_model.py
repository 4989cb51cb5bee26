"""Publish, join, leave, come back, fall behind, trim, finish, in any order: against a model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from multistream_asgi import Cursor, Limits, StreamConfig, StreamEndpoint, TopicEnded
from tests.asgi.driver import Connection, connect
from tests.asgi.feed import manager_of
from tests.asgi.model import Published, Record
from tests.asgi.virtual_time import settle

STREAMS = {
    "log": StreamConfig(mode="log", history=3),
    "chat": StreamConfig(mode="log", history=1),
    "bar": StreamConfig(mode="state"),
}
TOPICS = [("log", "a"), ("chat", "a"), ("bar", "a"), ("log", "b")]
# Every topic alone, and some sets of them; a set is many entities' streams on one connection.
VIEWS: list[tuple[list[str], list[str]]] = [
    (["log", "chat", "bar"], ["a"]),
    (["log"], ["a", "b"]),
    *(([stream], [entity]) for stream, entity in TOPICS),
]

TOPIC = st.sampled_from(TOPICS)
WHO = st.integers(0, 2)
VIEW = st.integers(0, len(VIEWS) - 1)
STEPS = st.one_of(
    st.tuples(st.just("publish"), TOPIC, st.integers(1, 6)),
    st.tuples(st.just("publish"), TOPIC, st.integers(1, 2)),
    st.tuples(st.just("publish"), TOPIC, st.just(1)),
    st.tuples(st.just("join"), WHO, VIEW),
    st.tuples(st.just("leave"), WHO, st.none()),
    st.tuples(st.just("return"), WHO, st.sampled_from(["own", "own", "own", "bad", "old", "next"])),
    st.tuples(st.just("away"), WHO, st.lists(st.tuples(VIEW, st.integers(0, 5)), max_size=3)),
    st.tuples(st.just("stall"), WHO, st.none()),
    st.tuples(st.just("resume"), WHO, st.none()),
    st.tuples(st.just("finish"), TOPIC, st.booleans()),
)


class World:
    """A manager, the model, and some viewers, each a person with one browser tab."""

    def __init__(self, max_send_bytes: int | None) -> None:
        endpoints = [StreamEndpoint(s, f"_{s}", config=config) for s, config in STREAMS.items()]
        self.manager = manager_of(*endpoints, limits=Limits(max_send_bytes=max_send_bytes))
        self.topics = {
            f"{stream}:{entity}": Published(
                f"{stream}:{entity}",
                state=STREAMS[stream].mode == "state",
                history=STREAMS[stream].history,
            )
            for stream, entity in TOPICS
        }
        self.viewers: dict[int, Record] = {}
        self.views: dict[int, int] = {}
        self.open = contextlib.AsyncExitStack()
        self.published = 0
        self.epoch = ""

    async def run(self, steps: list[tuple[str, Any, Any]]) -> None:
        async with self.open:
            for kind, subject, detail in steps:
                step: Callable[..., Any] = getattr(self, f"do_{kind}")
                await step(subject, detail)
                await settle()
                for viewer in self.viewers.values():
                    if viewer.conn is not None:
                        viewer.check()
            for who in list(self.viewers):
                await self.do_resume(who, None)
                await settle()
                if self.viewers[who].conn is not None:
                    self.viewers[who].check()

    async def do_publish(self, topic: tuple[str, str], count: int) -> None:
        """Without a pause: with more than the log holds, even a viewer that keeps up may lag."""
        published = self.topics[":".join(topic)]
        for _ in range(count):
            self.published += 1
            data = f"{self.published}\n of {published.name}"
            if published.end_seq is not None:
                with pytest.raises(TopicEnded):
                    await self.manager.publish(*topic, data)
                return
            cursor = await self.manager.publish(*topic, data)
            published.events.append((cursor.seq, data))
            self.epoch = cursor.epoch

    async def do_finish(self, topic: tuple[str, str], with_data: bool) -> None:
        published = self.topics[":".join(topic)]
        if published.end_seq is not None:
            return
        self.published += 1
        data = f"{self.published} is final" if with_data else None
        await self.manager.finish(*topic, data)
        latest = await self.manager.latest(*topic)
        if data is not None:
            assert latest is not None
            published.events.append((latest[1].seq, data))
        published.end_seq = latest[1].seq if latest else -1

    async def do_join(self, who: int, view: int) -> None:
        await self.do_leave(who, None)
        streams, entities = VIEWS[view]
        self.views[who] = view
        many = len(streams) * len(entities) > 1
        names = [f"{stream}:{entity}" for entity in entities for stream in streams]
        self.viewers[who] = Record([self.topics[name] for name in names], many=many)
        await self.begin(who, None, None)

    async def do_leave(self, who: int, _: None) -> None:
        viewer = self.viewers.get(who)
        if viewer is not None and viewer.conn is not None:
            await viewer.conn.disconnect()
            viewer.read()
            viewer.conn = None

    async def do_away(self, who: int, meanwhile: list[tuple[int, int]]) -> None:
        """Leave, and come back after some of the own topics went on, or ended."""
        await self.do_leave(who, None)
        streams, entities = VIEWS[self.views.get(who, 0)]
        for which, count in meanwhile:
            topic = (streams[which % len(streams)], entities[which % len(entities)])
            if count or which % 3:
                await self.do_publish(topic, count + 1)
            else:
                await self.do_finish(topic, bool(which % 2))
        await self.do_return(who, "own")

    async def do_return(self, who: int, what: str) -> None:
        """Come back with the own cursor, or one that cannot be honoured."""
        await self.do_leave(who, None)
        viewer = self.viewers.get(who)
        if viewer is None:
            return
        if what == "own" and viewer.last_event_id:
            cursor = Cursor.parse(viewer.last_event_id)
            await self.begin(who, cursor, str(cursor))
        elif what == "bad":
            await self.begin(who, None, "no cursor", reset="unknown")
        elif what == "old":
            await self.begin(who, None, "other.1", reset="epoch")
        elif what == "next" and self.epoch:
            await self.begin(who, None, f"{self.epoch}.{10**9}", reset="unknown")

    async def begin(
        self, who: int, cursor: Cursor | None, after: str | None, *, reset: str | None = None
    ) -> None:
        viewer, (streams, entities) = self.viewers[who], VIEWS[self.views[who]]
        if viewer.many:
            url = self.manager.url(entities, streams)
        else:
            url = self.manager.url(entities[0], streams[0])
        headers = {} if after is None else {"last-event-id": after}
        conn: Connection = connect(self.manager, url, headers=headers)
        await self.open.enter_async_context(conn)
        await settle()
        if cursor is not None and viewer.seen_everything(cursor) and not viewer.gaps(cursor):
            assert conn.status == 204
            note("204")
            return
        assert conn.status == 200
        gaps = set() if cursor is None else viewer.gaps(cursor)
        expected = viewer.snapshot(cursor)
        viewer.begin(conn, cursor=cursor)
        got = viewer.read()
        resets = [event for event in got if event.type == "reset"]
        assert len(resets) == bool(gaps or reset)
        if gaps:
            note("gap")
        if reset:
            assert f'"reason": "{reset}"' in resets[0].data
        data = [e for e in got if e.type not in ("reset", "end", "close")]
        assert [e.data for e in data] == [text for _, _, text in expected]

    async def do_stall(self, who: int, _: None) -> None:
        viewer = self.viewers.get(who)
        if viewer is not None and viewer.conn is not None:
            viewer.conn.stall()
            viewer.stalled = True

    async def do_resume(self, who: int, _: None) -> None:
        viewer = self.viewers.get(who)
        if viewer is not None and viewer.conn is not None:
            viewer.conn.resume()
            viewer.stalled = False


@settings(max_examples=200)
@given(st.lists(STEPS, min_size=5, max_size=50), st.sampled_from([None, 60, 200]))
async def test_every_viewer_s_record_is_what_was_published(
    steps: list[tuple[str, Any, Any]], max_send_bytes: int | None
) -> None:
    await World(max_send_bytes).run(steps)
