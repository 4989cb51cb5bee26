"""The contract between a hub and what stores and carries its events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from ..events import Event, Topic
from ..log import History
from ..types import Ends

__all__ = ["Broker", "Keep", "Sink"]


@dataclass(frozen=True, slots=True)
class Keep:
    """How much of a topic is kept, and how many seconds when nobody is attached to it."""

    events: int
    bytes: int | None
    seconds: float


class Sink(Protocol):
    """Where a broker delivers the events of the attached topics: the hub of the process."""

    def deliver(self, event: Event) -> None:
        """Take the next event of an attached topic. Quick, and never raises."""


class Broker(ABC):
    """Stores the events of topics, in one rising sequence over all of them.

    One broker object serves one event loop at a time. Guarantees every broker gives:

    - `append` gives each event a seq above every earlier one of this epoch.
    - Between `attach` and `detach` the sink is delivered each of a topic's events exactly once,
      in order of seq over all attached topics, starting with the first event that is not in the
      `History` that `attach` returned: there is no seam between the two.
    - An event may be gone from a history only at or below its `floor`.
    - `epoch` changes whenever a seq given before might mean another event now.
    """

    @property
    @abstractmethod
    def epoch(self) -> str:
        """The name of the present sequence: letters, digits, `_`, `~` and `-`."""

    @property
    @abstractmethod
    def head(self) -> int:
        """The highest seq this process knows to be given out."""

    @abstractmethod
    async def open(self, sink: Sink) -> None:
        """Get ready to serve `sink`. What was stored before stays where the broker is durable."""

    @abstractmethod
    async def append(
        self, topic: Topic, data: str | None, *, name: str | None, ends: Ends | None, keep: Keep
    ) -> int:
        """Store an event and return its seq.

        Returns once it is stored, not once anyone has read it. Raises `TopicEnded` when the topic
        has had its last event. Cancelled, it may have stored the event or not.
        """

    @abstractmethod
    async def attach(self, topic: Topic) -> History:
        """Begin delivering a topic; return what is stored of it.

        A broker whose answer takes time holds back what comes meanwhile until the caller has the
        history, so the caller must take it over before it awaits anything else.
        """

    @abstractmethod
    def detach(self, topic: Topic, *, forget: bool = False) -> None:
        """Stop delivering a topic, and with `forget` drop what is stored of it.

        Returns at once; a later `attach` of the same topic sees the effect.
        """

    @abstractmethod
    async def latest(self, topic: Topic) -> tuple[Event | None, int]:
        """The newest event with data, or None, and the head of the sequence, taken at once."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections, files and timers. May be called twice."""
