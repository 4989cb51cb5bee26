"""Topics + cursor -> one ordered, bounded subscription."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from operator import itemgetter

import anyio

from .config import StreamConfig, StreamEndpoint
from .connections import SSEConnection
from .entities import Entities
from .events import Cursor, Topic
from .frames import close, end, failed, reset, retry, shutdown
from .hub import Hub, LiveTopic
from .log import Entry, TopicLog
from .match import Match
from .types import ResetReason
from .viewers import Full
from .waker import make_waker

__all__ = ["Subscription", "subscribe"]

_Waiting = tuple[int, int, TopicLog, Entry | None]


class Subscription:
    """What one viewer reads: a position in the logs of its topics.

    Nothing waits here. `take` collects what lies in the logs above `seq`, in one order over all
    topics, so a slow viewer costs no memory; when a log was trimmed past it, it is told so.
    """

    __slots__ = (
        "_dirty", "_farewell", "_floors", "_form", "_goodbye", "_hub", "_max_bytes", "_notices",
        "_waker", "beat", "config", "connection", "done", "ends_at", "gave_up", "last", "lives",
        "on_stuck", "period", "sending", "seq",
    )  # fmt: skip

    def __init__(self, hub: Hub, match: Match, config: StreamConfig) -> None:
        self.config = config
        self.connection: SSEConnection | None = None
        self.lives: list[LiveTopic] = []
        self.seq = 0
        self.done = False
        self._hub = hub
        self._form = (match.dialect, match.many)
        self._floors: dict[TopicLog, int] = {}
        self._dirty: dict[TopicLog, None] = {}
        self._notices: list[bytes] = []
        self._waker = make_waker()
        self._max_bytes = hub.limits.max_send_bytes
        self._goodbye: int | None = None
        self._farewell: anyio.Event | None = None
        # Time, as the hub's ticks see it
        self.beat = False
        self.sending = False
        self.gave_up = False
        self.on_stuck = _nothing
        self.last = hub.viewers.now
        self.ends_at = None if config.timeout is None else hub.clock.now() + config.timeout
        times = (config.heartbeat_interval, config.timeout, hub.limits.send_timeout)
        self.period = min(1.0, max(0.01, min((t / 4 for t in times if t is not None), default=1.0)))

    # What the hub calls

    def wake(self, log: TopicLog) -> None:
        self._dirty[log] = None
        self._waker.wake()

    def tick(self, now: float) -> None:
        timeout, interval = self._hub.limits.send_timeout, self.config.heartbeat_interval
        if self.sending:
            # `last` is as old as the tick before it.
            if timeout is not None and now - self.last >= timeout + self.period:
                self.give_up()
        elif self.done:
            return
        elif self.ends_at is not None and now >= self.ends_at:
            self._notices.append(retry(self._hub.retry_ms()))
            self.done = True
            self._waker.wake()
        elif interval is not None and now - self.last >= interval:
            self.beat = True
            self._waker.wake()

    def say_goodbye(self, retry_ms: int) -> None:
        self._goodbye = retry_ms
        if self._farewell is not None:
            self._farewell.set()
        self._waker.wake()

    def give_up(self) -> None:
        self.gave_up = True
        self.on_stuck()

    # What the sender calls

    def mark_sending(self) -> None:
        """Note that a write begins; the hub's ticks see whether it is ever taken."""
        self.last = self._hub.viewers.now
        self.sending = True
        self.beat = False

    async def wait(self) -> None:
        """Return when there may be something to take, or it is time for a heartbeat."""
        await self._waker.wait()

    async def rest(self, seconds: float) -> None:
        """Return when `seconds` have passed, or there is a farewell to send."""
        if self._goodbye is None:
            self._farewell = anyio.Event()
            with anyio.move_on_after(seconds):
                await self._farewell.wait()

    def take(self) -> bytes:
        """Every frame that waits, joined, up to `max_send_bytes`; empty when none does.

        Moves the position past them. Sets `done` once the last frame of this stream is taken.
        """
        if len(self._dirty) == 1 and not self._notices and self._goodbye is None:
            frame = self._next()
            if frame is not None:
                return frame
        out, self._notices = self._notices, []
        if self._dirty:
            waiting = self._waiting(out)
            size = sum(map(len, out))
            for seq, _, log, entry in waiting:  # no further than what is sent is looked at
                if size and self._max_bytes is not None and size >= self._max_bytes:
                    return b"".join(out)
                # Who comes back may have a cursor beyond the end of one of the topics.
                self.seq = max(self.seq, seq)
                data = self._ended(log) if entry is None else log.frame(entry, self._form)
                if entry is not None and self.connection is not None:
                    self.connection.message_count += 1
                out.append(data)
                size += len(data)
            self._dirty.clear()
        if not self.done:
            if not self._floors:
                out.append(self._close())
            elif self._goodbye is not None:
                out.append(shutdown(self._goodbye))
                self.done = True
        return b"".join(out)

    def _next(self) -> bytes | None:
        """The frame of the one event that waits in the one log, or None where it is not so simple.

        This is the way of nearly every event: its viewer has read all but the newest.
        """
        (log,) = self._dirty
        entry = log.only(self.seq)
        floor = self._floors.get(log)
        if entry is None or floor is None or log.floor > max(floor, self.seq):
            return None
        self._dirty.clear()
        self.seq = entry.seq
        if self.connection is not None:
            self.connection.message_count += 1
        return log.frame(entry, self._form)

    def _waiting(self, out: list[bytes]) -> Iterable[_Waiting]:
        waiting: list[Iterable[_Waiting]] = []
        lagging: list[Topic] = []
        for log in self._dirty:
            floor = self._floors.get(log)
            if floor is None:
                continue  # its end has been taken
            if log.missed(max(self.seq, floor)):
                lagging.append(log.topic)
                self._floors[log] = log.floor
            waiting.append(_of(log, self.seq))
        if lagging:
            out.append(reset("lag", lagging))
        return waiting[0] if len(waiting) == 1 else merge(*waiting, key=itemgetter(0, 1))

    def _ended(self, log: TopicLog) -> bytes:
        del self._floors[log]
        cursor = Cursor(log.epoch, self.seq)
        out = failed(cursor) if log.ended == "failed" else b""
        return out + end(log.topic, cursor) if self._form[1] else out

    def _close(self) -> bytes:
        self.done = True
        config = self.config
        message = config.close_message if config.send_close_message else None
        return close(Cursor(self._hub.broker.epoch, self.seq), message)

    # Start and end

    def start(self, log: TopicLog) -> None:
        """Read a topic that was joined; what it lacks by now is not told as a lag later."""
        self._floors[log] = log.floor
        self._dirty[log] = None

    def tell_reset(self, reason: ResetReason, topics: list[Topic]) -> None:
        """Let the first frames say that the cursor cannot be honoured for `topics`."""
        if topics:
            self._notices.append(reset(reason, topics))

    def has_seen_everything(self) -> bool:
        """Whether every topic has ended and nothing of them is left to tell."""
        return not self._notices and all(
            log.ended is not None
            and log.newest <= self.seq
            and (log.ended == "inactive" or self.seq >= log.end_seq)
            for log in self._floors
        )

    def leave(self) -> None:
        """Leave every topic. Called once, whatever ended the stream."""
        for live in self.lives:
            self._hub.leave(live, self)
        self._hub.viewers.leave(self)


def _of(log: TopicLog, seq: int) -> Iterator[_Waiting]:
    for entry in log.since(seq):
        yield entry.seq, 0, log, entry
    if log.ended is not None:
        yield log.end_seq, 1, log, None


def _nothing() -> None:
    pass


async def subscribe(
    hub: Hub,
    match: Match,
    endpoints: Mapping[str, StreamEndpoint],
    config: StreamConfig,
    entities: Entities,
) -> Subscription:
    """Enter a viewer into all its topics, at its cursor; the caller must let it `leave`.

    Asks for each entity once; the topics of an inactive one are ended with its final form. Raises
    `Full`, and whatever `entities` raise. When this raises or is cancelled, nothing is entered.
    """
    states = {
        entity_id: await entities.look_up(entity_id)
        for entity_id in dict.fromkeys(topic.entity_id for topic in match.topics)
    }
    subscription = Subscription(hub, match, config)
    if hub.draining:
        raise Full("draining")
    hub.viewers.enter(subscription)
    try:
        for topic in match.topics:
            _, active = states[topic.entity_id]
            live = await hub.join(endpoints[topic.stream], topic, subscription)
            if active and live.log.ended == "inactive":
                hub.reopen(live)
                live = await hub.join(endpoints[topic.stream], topic, subscription)
            subscription.lives.append(live)
        for live in subscription.lives:
            entity, active = states[live.log.topic.entity_id]
            if active:
                hub.start_source(live)
            elif live.source is not None:
                hub.end_soon(live, entities)
            else:
                await hub.end_inactive(live, entity)
        _resume(hub, subscription, match.after)
    except BaseException:
        subscription.leave()
        raise
    return subscription


def _resume(hub: Hub, subscription: Subscription, after: str | None) -> None:
    reason: ResetReason | None = None
    if after is not None:
        try:
            cursor = Cursor.parse(after)
        except ValueError:
            reason = "unknown"
        else:
            if cursor.epoch != hub.broker.epoch:
                reason = "epoch"
            elif cursor.seq > hub.broker.head:
                reason = "unknown"
            else:
                subscription.seq = cursor.seq
    logs = [live.log for live in subscription.lives]
    if reason is not None:
        subscription.tell_reset(reason, [log.topic for log in logs])
    elif after is not None:
        seq = subscription.seq
        subscription.tell_reset("gap", [log.topic for log in logs if log.missed(seq)])
    for log in logs:
        subscription.start(log)
