"""A topic's recent events, in order, bounded; viewers are positions in it, not queues beside it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from .config import StreamConfig
from .events import Cursor, Event, Topic, utf8_size
from .frames import frame
from .types import Dialect, Ends

__all__ = ["Entry", "History", "TopicLog"]


class History:
    """What a broker holds of a topic: its events, and the seq up to which some may be missing."""

    __slots__ = ("events", "floor")

    def __init__(self, events: Iterable[Event] = (), floor: int = 0) -> None:
        self.events = events
        self.floor = floor


class Entry:
    """An event and its frames, each encoded when it is first asked for."""

    __slots__ = ("event", "frames", "seq")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.seq = event.seq
        self.frames: dict[tuple[Dialect, bool], bytes] = {}


def _seq(entry: Entry) -> int:
    return entry.seq


class TopicLog:
    """The events of one topic that this process holds while somebody watches or a source runs.

    `floor` is the seq up to which events may be missing, `head` that of the newest event, the one
    that ended the topic included. In `state` mode only the newest datum is kept.
    """

    __slots__ = ("_bytes", "config", "end_seq", "ended", "entries", "epoch", "floor", "head",
                 "max_bytes", "target", "topic")  # fmt: skip

    def __init__(
        self,
        topic: Topic,
        config: StreamConfig,
        epoch: str,
        target: str = "",
        max_bytes: int | None = None,
    ) -> None:
        self.topic = topic
        self.config = config
        self.epoch = epoch
        self.target = target
        self.max_bytes = max_bytes
        self.entries: deque[Entry] = deque()
        self.floor = 0
        self.head = 0
        self.ended: Ends | None = None
        self.end_seq = 0
        self._bytes = 0

    def load(self, history: History) -> None:
        """Take over what the broker holds; called once, before any `append`."""
        self.floor = self.head = history.floor
        for event in history.events:
            self.append(event)

    def append(self, event: Event) -> None:
        """Add an event with a seq above every earlier one; the oldest make room for it."""
        self.head = event.seq
        if event.data is not None:
            self.entries.append(Entry(event))
            self._bytes += utf8_size(event.data)
            self._trim()
        if event.ends is not None:
            self.ended = event.ends
            self.end_seq = event.seq

    def _trim(self) -> None:
        entries = self.entries
        most = 1 if self.config.mode == "state" else self.config.history
        while len(entries) > most or (
            self.max_bytes is not None and self._bytes > self.max_bytes and len(entries) > 1
        ):
            oldest = entries.popleft()
            self.floor = max(self.floor, oldest.seq)
            self._bytes -= utf8_size(oldest.event.data or "")

    @property
    def newest(self) -> int:
        """The seq of the newest datum, 0 where there is none."""
        return self.entries[-1].seq if self.entries else 0

    def missed(self, seq: int) -> bool:
        """Whether a viewer that has read up to `seq` has lost events that count."""
        return self.floor > seq and self.config.mode == "log"

    def only(self, seq: int) -> Entry | None:
        """The one entry above `seq`; None when there are none or more, or the topic has ended."""
        entries = self.entries
        if not entries or self.ended is not None or entries[-1].seq <= seq:
            return None
        return entries[-1] if len(entries) == 1 or entries[-2].seq <= seq else None

    def since(self, seq: int) -> Iterator[Entry]:
        """The entries above `seq`, oldest first; read at once, before the log changes."""
        return islice(self.entries, bisect_right(self.entries, seq, key=_seq), None)

    def frame(self, entry: Entry, form: tuple[Dialect, bool]) -> bytes:
        """The entry's bytes in a dialect, for one topic or many; encoded once per form."""
        encoded = entry.frames.get(form)
        if encoded is None:
            dialect, many = form
            cursor = Cursor(self.epoch, entry.seq)
            encoded = frame(entry.event, cursor, dialect, many=many, target=self.target)
            entry.frames[form] = encoded
        return encoded
