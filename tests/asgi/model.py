"""What viewers must see, told in the simplest way: all that was published, and their records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from multistream_asgi import Cursor
from tests.asgi.driver import Connection
from tests.event_stream import Parsed

__all__ = ["Published", "Record"]


@dataclass
class Published:
    """All of one topic: the seq and data of each event, and which of them may still be had."""

    name: str
    state: bool
    history: int
    events: list[tuple[int, str]] = field(default_factory=list)
    end_seq: int | None = None

    @property
    def first_kept(self) -> int:
        """The index of the oldest event that the log holds."""
        return max(0, len(self.events) - (1 if self.state else self.history))

    @property
    def kept(self) -> list[tuple[int, str, str]]:
        return [(seq, self.name, data) for seq, data in self.events[self.first_kept :]]

    def up_to(self, seq: int) -> int:
        """How many events lie at or below `seq`."""
        return sum(s <= seq for s, _ in self.events)

    def lost_since(self, index: int) -> bool:
        """Whether a reader who has the events below `index` can no longer get all the others."""
        return not self.state and index < self.first_kept


class Record:
    """One viewer's record, over all its connections; each event is judged as it is read."""

    def __init__(self, topics: Iterable[Published], *, many: bool) -> None:
        self.topics = {topic.name: topic for topic in topics}
        self.many = many
        self.conn: Connection | None = None
        self.stalled = False
        self.last_event_id = ""
        # Of each topic: the index of the event that must come next. A topic that is not in it may
        # go on anywhere: its viewer is new to it, or was told so by a reset.
        self.next: dict[str, int] = {}
        self._read = 0
        self._seq = 0
        self._ended: set[str] = set()
        self._base: dict[str, int] = {}

    def begin(self, conn: Connection, *, cursor: Cursor | None) -> None:
        """A connection has begun, at a cursor that can be honoured, or as a newcomer's."""
        self.conn, self.stalled, self._read, self._seq = conn, False, 0, 0
        self._ended = set()
        if cursor is None:
            self.next = {}
            self._base = {name: topic.first_kept for name, topic in self.topics.items()}
            return
        self._seq = cursor.seq
        for name, topic in self.topics.items():
            up_to = topic.up_to(cursor.seq)
            if not topic.state:
                assert self.next.get(name, up_to) == up_to, "the cursor is ahead of what was read"
            self.next[name] = up_to

    def seen_everything(self, cursor: Cursor) -> bool:
        return all(
            topic.end_seq is not None and topic.up_to(cursor.seq) == len(topic.events)
            for topic in self.topics.values()
        )

    def snapshot(self, cursor: Cursor | None) -> list[tuple[int, str, str]]:
        """Exactly what a viewer that begins now has to get at once."""
        found: list[tuple[int, str, str]] = []
        for topic in self.topics.values():
            new = cursor is None or topic.lost_since(topic.up_to(cursor.seq))
            found += [e for e in topic.kept if new or cursor is None or e[0] > cursor.seq]
        return sorted(found)

    def gaps(self, cursor: Cursor) -> set[str]:
        return {n for n, t in self.topics.items() if t.lost_since(t.up_to(cursor.seq))}

    # Judging what comes

    def read(self) -> list[Parsed]:
        """Judge what has come since the last time, and return it."""
        assert self.conn is not None
        events = self.conn.received[self._read :]
        for event in events:
            self._judge(event, first=self._read == 0)
            self._read += 1
        self.last_event_id = self.conn.last_event_id or self.last_event_id
        return events

    def _judge(self, event: Parsed, *, first: bool) -> None:
        assert "close" not in self._ended, "something after close"
        if event.type == "reset":
            self._judge_reset(json.loads(event.data), first=first)
        elif event.type == "end":
            assert self.many
            assert event.data not in self._ended, "ended twice"
            assert self.topics[event.data].end_seq is not None
            self._ended.add(event.data)
        elif event.type == "close":
            assert event.data == "done"
            assert all(topic.end_seq is not None for topic in self.topics.values())
            assert not self.many or self._ended == set(self.topics)
            self._ended.add("close")
        else:
            self._judge_datum(event)

    def _judge_reset(self, reset: dict[str, Any], *, first: bool) -> None:
        assert reset["topics"], "a reset of nothing"
        for name in reset["topics"]:
            topic = self.topics[name]
            if reset["reason"] in ("gap", "lag"):
                assert first or reset["reason"] == "lag"
                at = self.next.get(name, self._base.get(name, 0))
                assert topic.lost_since(at), f"nothing of {name} was lost"
            else:
                assert first
            self.next.pop(name, None)
            self._base[name] = topic.first_kept

    def _judge_datum(self, event: Parsed) -> None:
        name = event.type if self.many else next(iter(self.topics))
        assert self.many or event.type == "message"
        assert name not in self._ended, "something after its end"
        topic = self.topics[name]
        seq = Cursor.parse(event.last_event_id).seq
        assert seq > self._seq, "out of order, or twice"
        self._seq = seq
        index = topic.events.index((seq, event.data))
        if not topic.state:
            assert self.next.get(name, index) == index, f"{name}: a loss that no reset told of"
        self.next[name] = index + 1

    def check(self) -> None:
        """Nothing that could be sent is held back. Called when nothing can happen any more."""
        assert self.conn is not None
        self.read()
        if self.stalled:
            return
        for name, topic in self.topics.items():
            assert self.next.get(name, 0) == len(topic.events), f"{name}: something is missing"
        ended = {name for name, topic in self.topics.items() if topic.end_seq is not None}
        assert self._ended - {"close"} == (ended if self.many else set())
        assert ("close" in self._ended) == self.conn.complete == (len(ended) == len(self.topics))
