"""Events kept in this process, and gone with it."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque

from anyio.lowlevel import EventLoopToken, current_token

from ..errors import TopicEnded
from ..events import Event, Topic, utf8_size
from ..log import History
from ..tasks import Clock, Timer
from ..types import Ends
from .base import Broker, Keep, Sink

__all__ = ["MemoryBroker"]


class _Stored:
    """What is kept of one topic."""

    __slots__ = ("attached", "bytes", "end", "events", "expires_at", "floor", "keep", "timer")

    def __init__(self, floor: int) -> None:
        self.events: deque[Event] = deque()
        self.bytes = 0
        self.floor = floor
        self.end: Event | None = None
        self.attached = False
        self.keep: Keep | None = None
        self.expires_at = 0.0
        self.timer: Timer | None = None


class MemoryBroker(Broker):
    """`memory://`: one event loop of one process, nothing survives it.

    Guarantees: everything in `Broker`. Every call is done when it returns, without a switch to
    another task. The epoch is new with every `open`, so a cursor from before a restart is always
    noticed. A topic that nobody is attached to is dropped `Keep.seconds` after its end, or after
    its last event or `detach`. Beyond `max_topics` those make room at once, the ended first.
    """

    def __init__(self, *, max_topics: int | None = None) -> None:
        self._epoch = secrets.token_urlsafe(6)
        self._head = 0
        self._lost = 0  # the highest seq among the topics dropped whole
        self._topics: dict[Topic, _Stored] = {}
        # Those that nobody is attached to, in the order in which they make room.
        self._ended: OrderedDict[Topic, None] = OrderedDict()
        self._idle: OrderedDict[Topic, None] = OrderedDict()
        self._max_topics = max_topics
        self._sink: Sink | None = None
        self._token: EventLoopToken | None = None
        self._clock = Clock("multistream_asgi memory broker")

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def head(self) -> int:
        return self._head

    @property
    def topics(self) -> int:
        """How many topics are stored."""
        return len(self._topics)

    async def open(self, sink: Sink) -> None:
        token = current_token()
        if self._sink is not None and self._token == token:
            raise RuntimeError("a broker serves one manager")
        self._sink, self._token = sink, token
        self._clock = Clock("multistream_asgi memory broker")
        self._epoch = secrets.token_urlsafe(6)
        self._topics.clear()
        self._ended.clear()
        self._idle.clear()

    async def append(
        self, topic: Topic, data: str | None, *, name: str | None, ends: Ends | None, keep: Keep
    ) -> int:
        stored = self._topics.get(topic)
        if stored is None:
            stored = self._new(topic)
        elif stored.end is not None:
            raise TopicEnded(f"{topic} has ended")
        self._head += 1
        event = Event(topic, self._head, data, name, ends)
        if data is not None:
            stored.events.append(event)
            stored.bytes += utf8_size(data)
            while len(stored.events) > keep.events or (
                keep.bytes is not None and stored.bytes > keep.bytes and len(stored.events) > 1
            ):
                oldest = stored.events.popleft()
                stored.floor = oldest.seq
                stored.bytes -= utf8_size(oldest.data or "")
        if ends is not None:
            stored.end = event
        stored.keep = keep
        stored.expires_at = self._clock.now() + keep.seconds
        if stored.attached:
            if self._sink is not None:
                self._sink.deliver(event)
        else:
            self._expire_later(topic, stored)
        return event.seq

    async def attach(self, topic: Topic) -> History:
        stored = self._topics.get(topic)
        if stored is None:
            stored = self._new(topic)
        stored.attached = True
        self._ended.pop(topic, None)
        self._idle.pop(topic, None)
        events = list(stored.events)
        if stored.end is not None and stored.end.data is None:
            events.append(stored.end)
        return History(events, stored.floor)

    def detach(self, topic: Topic, *, forget: bool = False) -> None:
        stored = self._topics.get(topic)
        if stored is None:
            return
        stored.attached = False
        if forget or stored.keep is None:
            self._drop(topic, stored)
        else:
            if stored.end is None:
                stored.expires_at = self._clock.now() + stored.keep.seconds
            self._expire_later(topic, stored)

    async def latest(self, topic: Topic) -> tuple[Event | None, int]:
        stored = self._topics.get(topic)
        newest = stored.events[-1] if stored is not None and stored.events else None
        return newest, self._head

    async def close(self) -> None:
        self._clock.stop()
        self._sink = None

    def _new(self, topic: Topic) -> _Stored:
        if self._max_topics is not None and len(self._topics) >= self._max_topics:
            self._make_room()
        stored = self._topics[topic] = _Stored(self._lost)
        return stored

    def _make_room(self) -> None:
        for candidates in (self._ended, self._idle):
            if candidates:
                topic = next(iter(candidates))
                return self._drop(topic, self._topics[topic])

    def _drop(self, topic: Topic, stored: _Stored) -> None:
        del self._topics[topic]
        self._ended.pop(topic, None)
        self._idle.pop(topic, None)
        if stored.timer is not None:
            self._clock.cancel(stored.timer)
        newest = stored.end or (stored.events[-1] if stored.events else None)
        self._lost = max(self._lost, stored.floor if newest is None else newest.seq)

    def _expire_later(self, topic: Topic, stored: _Stored) -> None:
        if stored.end is not None:
            self._idle.pop(topic, None)
            self._ended[topic] = None
        else:
            self._idle[topic] = None
        if stored.timer is None:
            stored.timer = self._clock.at(stored.expires_at, lambda: self._expire(topic, stored))

    def _expire(self, topic: Topic, stored: _Stored) -> None:
        stored.timer = None
        if self._topics.get(topic) is not stored or stored.attached:
            return
        if stored.expires_at <= self._clock.now():
            self._drop(topic, stored)
        else:
            self._expire_later(topic, stored)
