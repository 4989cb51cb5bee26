"""A thousand viewers come and go while a source runs: one run of it, and nothing left behind."""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator

import anyio
import pytest

from multistream_asgi import MemoryBroker, MultiStreamManager, StreamEndpoint
from multistream_asgi.hub import LiveTopic
from multistream_asgi.log import Entry, TopicLog
from multistream_asgi.subscribe import Subscription
from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle, task_count

VIEWERS = 1000
LINGER = 2.0
FINAL_TTL = 20.0
KINDS = ["topics of the hub", "topics of the broker", "closing sources", "viewers", "registry",
         "tasks", "objects"]  # fmt: skip


class Counter:
    """A source that counts, ten times a second, and how often it was opened and closed."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    async def source(self, entity_id: str) -> AsyncIterator[int]:
        self.opened += 1
        try:
            n = 0
            while True:
                yield n
                n += 1
                await anyio.sleep(0.1)
        finally:
            self.closed += 1


def own_objects() -> list[object]:
    gc.collect()
    kept = (LiveTopic, TopicLog, Entry, Subscription)
    return [thing for thing in gc.get_objects() if isinstance(thing, kept)]


class Remains:
    """What there is of each thing that ought to go when its viewers have gone."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self._tasks = task_count()
        self._earlier = own_objects()  # of other tests; held, so that no id is used again

    async def check(self, manager: MultiStreamManager) -> None:
        await settle()
        hub = manager._lifetime._hub
        assert hub is not None
        earlier = set(map(id, self._earlier))
        assert {
            "topics of the hub": len(hub.topics),
            "topics of the broker": self.broker.topics,
            "closing sources": len(hub.closing),
            "viewers": len(hub.viewers),
            "registry": len(manager.connection_registry.get_connections()),
            "tasks": task_count() - self._tasks,
            "objects": sum(id(thing) not in earlier for thing in own_objects()),
        } == dict.fromkeys(KINDS, 0)


async def test_one_run_and_nothing_left_behind() -> None:
    rng = random.Random(7)
    remains = Remains()
    ticks, log = Counter(), Counter()
    manager = manager_of(
        StreamEndpoint("ticks", "_ticks", ticks.source),
        StreamEndpoint("log", "_log", log.source),
        "chat",
        broker=remains.broker,
        linger=LINGER,
        final_ttl=FINAL_TTL,
    )
    urls = ["/stream_ticks?id=a", "/stream?id=a", "/stream?id=a&stream=ticks", "/stream_log?id=a"]

    async def view() -> None:
        await anyio.sleep(rng.uniform(0, 10))
        last_event_id = ""
        seen: list[int] = []
        url, returns, stalls = rng.choice(urls), rng.randrange(3), rng.random() < 0.1
        for _ in range(returns + 1):
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            async with connect(manager, url, headers=headers) as conn:
                await anyio.sleep(rng.uniform(0, 2))
                if stalls:
                    conn.stall()
                    await anyio.sleep(rng.uniform(0, 2))
                if rng.random() < 0.5:
                    conn.hang_up()
            last_event_id = conn.last_event_id or last_event_id
            kind = "message" if "_" in url else "ticks:a"
            seen += [int(event.data) for event in conn.received if event.type == kind]
            assert not [event for event in conn.received if event.type == "reset"]
            await anyio.sleep(rng.uniform(0, 0.5))
        assert seen == list(range(len(seen))) or seen == list(range(seen[0], seen[-1] + 1))

    async with anyio.create_task_group() as tasks:
        for _ in range(VIEWERS):
            tasks.start_soon(view)
        for n in range(100):
            await manager.publish("chat", "a", n)
            await anyio.sleep(0.05)
    assert (ticks.opened, log.opened) == (1, 1)
    assert (ticks.closed, log.closed) == (0, 0)
    await anyio.sleep(LINGER + 0.1)
    assert (ticks.closed, log.closed) == (1, 1)
    await anyio.sleep(FINAL_TTL + 1)
    await remains.check(manager)


@pytest.mark.parametrize("url", ["/stream_progress?id={}", "/stream?id={}&id=x{}"])
async def test_hundreds_of_entities_leave_nothing_behind(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Ended ones, failed ones, unknown ones, watched ones; each costs nothing in the end."""
    caplog.set_level("CRITICAL", "multistream_asgi")  # a captured traceback keeps what it names
    feed = Feed()
    remains = Remains()
    manager = manager_of(
        feed.endpoint(),
        "log",
        broker=remains.broker,
        linger=LINGER,
        final_ttl=FINAL_TTL,
        get_entity=lambda entity_id: entity_id if "7" not in entity_id else None,
    )

    async def view(n: int) -> None:
        async with connect(manager, url.format(n, n)) as conn:
            await anyio.sleep(0.1)
            if n % 3 == 0:
                await manager.finish("log", str(n), "end")
            elif n % 3 == 1:
                await manager.publish("log", str(n), "still there")
            await anyio.sleep(n % 5)
            await conn.disconnect()

    async with anyio.create_task_group() as tasks:
        for n in range(300):
            tasks.start_soon(view, n)
        await anyio.sleep(0.2)
        for n, run in enumerate(feed.runs):
            if n % 4 == 0:
                run.end()
            elif n % 4 == 1:
                run.fail(RuntimeError("as planned"))
    await anyio.sleep(LINGER + FINAL_TTL + 2)
    await settle()
    assert feed.open == 0
    assert {run.closed for run in feed.runs} == {1}
    await remains.check(manager)


async def test_requests_that_end_early_leave_nothing_behind() -> None:
    """Refused, HEAD, cancelled by the server while the entity is looked up or the headers sent."""
    remains = Remains()
    asked = anyio.Event()

    async def get_entity(entity_id: str) -> str:
        if entity_id == "slow":
            asked.set()
            await anyio.sleep_forever()
        return entity_id

    feed = Feed("x")
    manager = manager_of(feed.endpoint(), broker=remains.broker, linger=0, get_entity=get_entity)
    for method in ("GET", "HEAD", "POST"):
        for url in ("/stream?id=", "/stream_progress?id=a", "/nowhere"):
            async with connect(manager, url, method=method):
                await settle()
    for url in ("/stream?id=a&id=slow", "/stream?id=a"):
        conn = connect(manager, url, stalled=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager, conn.scope, conn._receive, conn._send)
            await settle()
            tasks.cancel_scope.cancel()
    assert asked.is_set()
    await anyio.sleep(2)
    assert feed.open == 0
    await remains.check(manager)
