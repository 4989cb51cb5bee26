"""The topics, logs and viewers of one event loop: fan-out and lifetimes."""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from math import inf
from typing import Any

import anyio

from .brokers.base import Broker, Keep
from .config import Limits, StreamConfig, StreamEndpoint
from .entities import Entities
from .errors import TopicEnded
from .events import Event, Topic, utf8_size
from .frames import dom_id, selector
from .log import TopicLog
from .sources import RunningSource, transform
from .tasks import Clock, Task, spawn
from .types import Ends
from .viewers import Full, Viewer, Viewers

__all__ = ["Hub", "LiveTopic"]

logger = logging.getLogger("multistream_asgi")

Render = Callable[[Any], tuple[str, str | None]]


@dataclass(frozen=True)
class _PrivateTopic(Topic):
    """A topic of one viewer (`shared=False`): written like any other, equal to none."""

    number: int = 0


class LiveTopic:
    """A topic while somebody watches it or its source runs."""

    __slots__ = (
        "broken",
        "ending",
        "endpoint",
        "idle_since",
        "log",
        "ready",
        "source",
        "timed",
        "viewers",
    )  # fmt: skip

    def __init__(self, log: TopicLog, endpoint: StreamEndpoint) -> None:
        self.log = log
        self.endpoint = endpoint
        self.viewers: dict[Viewer, None] = {}
        self.source: RunningSource | None = None
        self.ready: anyio.Event | None = None  # set while the broker is asked for the history
        self.broken = False
        self.ending = False
        self.idle_since = 0.0
        self.timed = False


class Hub:
    """One per event loop. Only that loop's tasks may call it."""

    def __init__(
        self,
        broker: Broker,
        limits: Limits,
        default_config: StreamConfig,
        entities: Entities,
        render: Render,
    ) -> None:
        self.broker = broker
        self.limits = limits
        self.default_config = default_config
        self.entities = entities
        self.render = render
        self.clock = Clock("multistream_asgi clock")
        self.topics: dict[Topic, LiveTopic] = {}
        self.viewers = Viewers(self.clock, limits.max_viewers)
        self.closing: dict[Topic, set[Task]] = {}
        self.draining = False
        self._closed = False
        self._drained_at = inf
        self._private = count(1)

    # Publishing

    def config_of(self, endpoint: StreamEndpoint) -> StreamConfig:
        """The endpoint's own configuration, or the manager's."""
        return endpoint.config or self.default_config

    async def publish(
        self,
        endpoint: StreamEndpoint,
        topic: Topic,
        data: Any,
        *,
        ends: Ends | None = None,
        reopen: bool = False,
    ) -> int | None:
        """Transform, render and store a datum; return its seq, or None if there was none to send.

        With `reopen` a topic that ended because its entity was found inactive begins anew: who
        asks for an entity before it is there must not mute it. Raises `TopicEnded`, and
        `ValueError`/`TypeError` for data that cannot be sent.
        """
        if data is not None:
            data = await transform(
                endpoint, data, entity_id=topic.entity_id, final=ends is not None
            )
        try:
            return await self._store(endpoint, topic, data, ends)
        except TopicEnded:
            if not reopen or not await self._reopened(topic):
                raise
        return await self._store(endpoint, topic, data, ends)

    async def _reopened(self, topic: Topic) -> bool:
        live = self.topics.get(topic)
        if live is not None:
            inactive = live.log.ended == "inactive"
            if inactive:
                self.reopen(live)
            return inactive
        events = list((await self.broker.attach(topic)).events)
        inactive = not events or events[-1].ends == "inactive"
        self._detach(topic, forget=inactive)
        return inactive

    def end_soon(self, live: LiveTopic, entities: Entities) -> None:
        """End a topic whose entity was found inactive while its source runs.

        The source may be about to say its last: it has `linger` seconds to end by itself, and is
        never cut short where that is None.
        """
        linger = self.config_of(live.endpoint).linger
        if linger is not None and not live.ending:
            live.ending = True
            ask = partial(spawn, f"end of {live.log.topic}", self._end_if_inactive, live, entities)
            self.clock.at(self.clock.now() + linger, ask)

    async def _end_if_inactive(self, live: LiveTopic, entities: Entities) -> None:
        live.ending = False
        entity, active = await entities.look_up(live.log.topic.entity_id)
        if not active:
            await self.end_inactive(live, entity)

    async def end_inactive(self, live: LiveTopic, entity: Any) -> None:
        """End a topic whose entity was found inactive, with the entity's final form."""
        endpoint, topic, source = live.endpoint, live.log.topic, live.source
        if live.log.ended is not None or self.topics.get(topic) is not live:
            return
        try:
            final = None
            if endpoint.transform_fn is not None:
                final = await transform(endpoint, entity, entity_id=topic.entity_id, final=True)
            if live.source is not source or self.topics.get(topic) is not live:
                return  # somebody found it active meanwhile, and its source has started
            await self._store(endpoint, topic, final, "inactive")
        except TopicEnded:
            pass  # somebody else found it inactive at the same time
        except Exception:
            logger.exception("the final form of %s failed", topic)
            with contextlib.suppress(TopicEnded):
                await self._store(endpoint, topic, None, "failed")

    async def _store(
        self, endpoint: StreamEndpoint, topic: Topic, data: Any, ends: Ends | None
    ) -> int | None:
        if data is None and ends is None:
            return None
        text, name = (None, None) if data is None else self.render(data)
        most = self.limits.max_event_bytes
        if text is not None and most is not None and utf8_size(text) > most:
            raise ValueError(f"data is {utf8_size(text)} bytes; max_event_bytes is {most}")
        config = self.config_of(endpoint)
        keep = Keep(
            events=1 if config.mode == "state" else config.history,
            bytes=self.limits.max_log_bytes,
            seconds=config.final_ttl,
        )
        return await self.broker.append(topic, text, name=name, ends=ends, keep=keep)

    def deliver(self, event: Event) -> None:
        """Take an event from the broker: into the log, and wake who watches."""
        live = self.topics.get(event.topic)
        if live is None:
            return
        log = live.log
        log.append(event)
        for viewer in live.viewers:
            viewer.wake(log)
        if event.ends is not None:
            self._stop_source(live)
            if not live.viewers:
                self._idle(live)

    # Viewers come and go

    async def join(self, endpoint: StreamEndpoint, topic: Topic, viewer: Viewer) -> LiveTopic:
        """Enter `viewer` into a topic, which it then must `leave`.

        Raises `Full`. Cancelled or failing, it leaves nothing behind.
        """
        if not self.config_of(endpoint).shared:
            topic = _PrivateTopic(topic.stream, topic.entity_id, next(self._private))
        live = self.topics.get(topic)
        if live is None:
            live = self._new(endpoint, topic)
            live.viewers[viewer] = None
            live.ready = anyio.Event()
            try:
                live.log.load(await self.broker.attach(topic))
            except BaseException:
                live.broken = True
                self.topics.pop(topic, None)
                raise
            finally:
                live.ready.set()
            live.ready = None
        else:
            live.viewers[viewer] = None
            if live.ready is not None:
                try:
                    await live.ready.wait()
                except BaseException:
                    self.leave(live, viewer)
                    raise
                if live.broken:
                    return await self.join(endpoint, topic, viewer)
        return live

    def _new(self, endpoint: StreamEndpoint, topic: Topic) -> LiveTopic:
        most = self.limits.max_topics
        if most is not None and len(self.topics) >= most:
            raise Full("max_topics")
        target = endpoint.dom_id(topic.entity_id) if endpoint.dom_id else dom_id(topic)
        log = TopicLog(
            topic,
            self.config_of(endpoint),
            self.broker.epoch,
            selector(target),
            self.limits.max_log_bytes,
        )
        live = self.topics[topic] = LiveTopic(log, endpoint)
        return live

    def leave(self, live: LiveTopic, viewer: Viewer) -> None:
        """Take `viewer` out. The source lingers, then everything of the topic goes."""
        live.viewers.pop(viewer, None)
        if not live.viewers and not live.broken:
            self._idle(live)

    def reopen(self, live: LiveTopic) -> None:
        """Forget a topic that ended because its entity was inactive, and now is active again."""
        if self.topics.get(live.log.topic) is live:
            del self.topics[live.log.topic]
            self._detach(live.log.topic, forget=True)

    def _detach(self, topic: Topic, *, forget: bool) -> None:
        if not self._closed:  # the broker may serve another hub by now
            self.broker.detach(topic, forget=forget)

    def _idle(self, live: LiveTopic) -> None:
        running = live.source is not None and live.log.ended is None
        private = isinstance(live.log.topic, _PrivateTopic)
        linger = self.config_of(live.endpoint).linger if running and not private else 0.0
        if linger is None:
            return
        live.idle_since = self.clock.now()
        if linger == 0:
            self._retire(live)
        elif not live.timed:
            self._retire_at(live, linger)

    def _retire_at(self, live: LiveTopic, linger: float) -> None:
        live.timed = True
        self.clock.at(live.idle_since + linger, lambda: self._linger_over(live, linger))

    def _linger_over(self, live: LiveTopic, linger: float) -> None:
        live.timed = False
        if live.viewers or self.topics.get(live.log.topic) is not live:
            return
        if live.idle_since + linger > self.clock.now():
            self._retire_at(live, linger)  # somebody came and went meanwhile
        else:
            self._retire(live)

    def _retire(self, live: LiveTopic) -> None:
        topic, source = live.log.topic, live.source
        if self.topics.get(topic) is not live:
            return
        del self.topics[topic]
        # What a source produced is forgotten with its run: the next one begins anew.
        running = source is not None and not source.ending and live.log.ended is None
        self._detach(topic, forget=running or isinstance(topic, _PrivateTopic))
        self._stop_source(live)

    # Sources

    def start_source(self, live: LiveTopic) -> None:
        """Run the topic's source, unless it runs or there is none."""
        endpoint, topic = live.endpoint, live.log.topic
        source = endpoint.data_source
        if source is None or live.source is not None or live.log.ended or self.draining:
            return
        # A cursor from before this run cannot be honoured: the run begins its events anew. One
        # that covers what was published before the run can, and nothing it covers is sent again.
        entries = live.log.entries
        live.log.floor = entries[0].seq if entries else self.broker.head + 1
        if self.config_of(endpoint).debug:
            logger.info("the source of %s starts", topic)
        live.source = RunningSource(
            source,
            endpoint,
            topic,
            publish=self.publish,
            entities=self.entities,
            restarts=self.config_of(endpoint).restarts,
            close_timeout=self.limits.source_close_timeout,
            before=self.closing.get(topic, ()),
            on_done=lambda: self._source_done(live),
        )

    def _stop_source(self, live: LiveTopic) -> None:
        source = live.source
        if source is not None:
            source.stop()
            self.closing.setdefault(live.log.topic, set()).add(source.task)

    def _source_done(self, live: LiveTopic) -> None:
        topic, source = live.log.topic, live.source
        live.source = None
        if self.config_of(live.endpoint).debug:
            logger.info("the source of %s is closed", topic)
        closing = self.closing.get(topic)
        if closing is not None and source is not None:
            closing.discard(source.task)
            if not closing:
                del self.closing[topic]
        if not live.viewers:
            self._idle(live)

    async def drain(self, timeout: float | None, spread: float) -> None:
        """Say goodbye to every viewer, close every source, and refuse who comes.

        Returns when all have gone, or when the shortest `timeout` of all calls has passed.
        `spread` is the range in seconds over which clients are told to come back.
        """
        self.draining = True
        if timeout is not None:
            self._drained_at = min(self._drained_at, self.clock.now() + timeout)
        for viewer in self.viewers.all():
            viewer.say_goodbye(self.retry_ms(spread))
        for live in list(self.topics.values()):
            self._stop_source(live)
        await self.sources_closed()
        with anyio.move_on_after(self._drained_at - self.clock.now()):
            await self.viewers.gone()
        for viewer in self.viewers.all():  # a server waits for their requests before it stops
            viewer.give_up()

    async def close(self) -> None:
        """Stop the clocks and close the broker. Called after a drain."""
        self._closed = True
        self.clock.stop()
        await self.broker.close()

    def retry_ms(self, spread: float = 0.0) -> int:
        """A reconnection time with some chance in it, so that clients do not come all at once."""
        retry = self.default_config.retry_ms
        return retry + random.randrange(int(max(spread * 1000, retry)) + 1)

    async def sources_closed(self) -> None:
        """Return when every source that was told to stop has closed, or the drain is over."""
        with anyio.move_on_after(self._drained_at - self.clock.now()):
            for task in [task for tasks in self.closing.values() for task in tasks]:
                await task.wait()
