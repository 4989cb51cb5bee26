"""The memory broker keeps what a broker promises."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from multistream_asgi import Event, MemoryBroker, Topic, TopicEnded
from multistream_asgi.brokers.base import Keep

A, B = Topic("log", "a"), Topic("log", "b")


class Sink:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def deliver(self, event: Event) -> None:
        self.events.append(event)


async def opened(**options: Any) -> tuple[MemoryBroker, Sink]:
    broker, sink = MemoryBroker(**options), Sink()
    await broker.open(sink)
    return broker, sink


async def append(
    broker: MemoryBroker,
    topic: Topic,
    data: str | None = "x",
    ends: Any = None,
    *,
    events: int = 10,
    bytes: int | None = None,
    seconds: float = 100.0,
) -> int:
    keep = Keep(events, bytes, seconds)
    return await broker.append(topic, data, name=None, ends=ends, keep=keep)


async def gone(broker: MemoryBroker) -> None:
    with anyio.fail_after(10):
        while broker.topics:
            await checkpoint()


async def test_one_sequence_rises_over_all_topics() -> None:
    broker, _ = await opened()
    assert [await append(broker, topic) for topic in (A, B, A)] == [1, 2, 3]
    assert broker.head == 3
    await broker.close()


async def test_history_and_live_have_no_seam() -> None:
    broker, sink = await opened()
    await append(broker, A, "1")
    await append(broker, B, "2")
    history = await broker.attach(A)
    await append(broker, A, "3")
    await append(broker, B, "4")
    assert [event.data for event in history.events] == ["1"]
    assert [event.data for event in sink.events] == ["3"]
    broker.detach(A)
    await append(broker, A, "5")
    assert [event.data for event in sink.events] == ["3"]
    assert [event.data for event in (await broker.attach(A)).events] == ["1", "3", "5"]
    await broker.close()


async def test_what_is_trimmed_lies_at_or_below_the_floor() -> None:
    broker, _ = await opened()
    for data in "abcd":
        await append(broker, A, data, events=2)
    history = await broker.attach(A)
    assert [event.data for event in history.events] == ["c", "d"]
    assert history.floor == 2
    await append(broker, B, "é" * 3, bytes=6)
    await append(broker, B, "x", bytes=6)
    assert [event.data for event in (await broker.attach(B)).events] == ["x"]
    await broker.close()


@pytest.mark.parametrize("data", [None, "last"])
async def test_an_ended_topic_takes_no_more_and_is_remembered(data: str | None) -> None:
    broker, _ = await opened()
    await append(broker, A, "1")
    await append(broker, A, data, "done")
    with pytest.raises(TopicEnded, match="log:a"):
        await append(broker, A)
    assert broker.head == 2
    history = await broker.attach(A)
    assert [(e.data, e.ends) for e in history.events] == [("1", None), (data, "done")]
    await broker.close()


async def test_a_topic_nobody_is_attached_to_is_dropped_in_time() -> None:
    broker, _ = await opened()
    await append(broker, A, seconds=0.01)
    await append(broker, B, None, "done", seconds=0.01)
    await gone(broker)
    assert not list((await broker.attach(A)).events)
    await broker.close()


async def test_an_attached_topic_is_not_dropped() -> None:
    broker, _ = await opened()
    await broker.attach(A)
    await append(broker, A, seconds=0.0)
    await append(broker, B, seconds=0.02)
    with anyio.fail_after(10):
        while broker.topics == 2:
            await checkpoint()
    assert [event.data for event in (await broker.attach(A)).events] == ["x"]
    broker.detach(A)
    await gone(broker)
    await broker.close()


async def test_a_topic_never_written_to_costs_nothing_when_it_is_left() -> None:
    broker, _ = await opened()
    await broker.attach(A)
    assert broker.topics == 1
    broker.detach(A)
    broker.detach(A)
    assert broker.topics == 0
    await broker.close()


async def test_after_a_topic_was_dropped_its_readers_cannot_be_sure() -> None:
    """The floor of whatever begins anew lies at the newest event that was dropped."""
    broker, _ = await opened()
    await append(broker, B)
    await append(broker, A)
    await append(broker, B)
    broker.detach(A, forget=True)
    assert broker.topics == 1
    history = await broker.attach(A)
    assert (list(history.events), history.floor) == ([], 2)
    await broker.close()


async def test_ended_topics_make_room_the_oldest_first() -> None:
    broker, _ = await opened(max_topics=3)
    topics = [Topic("log", str(n)) for n in range(5)]
    await append(broker, topics[0])
    await append(broker, topics[1], None, "done")
    await append(broker, topics[2], None, "done")
    await append(broker, topics[3])
    assert broker.topics == 3
    await broker.attach(topics[2])
    await append(broker, topics[4])
    assert broker.topics == 3, "of the idle ones the oldest went, as none had ended"
    assert (await broker.latest(topics[0]))[0] is None
    with pytest.raises(TopicEnded):
        await append(broker, topics[2])
    await broker.attach(topics[3])
    await broker.attach(topics[4])
    await append(broker, topics[1])
    assert broker.topics == 4, "none that somebody is attached to is dropped"
    await broker.close()


async def test_the_newest_data_and_the_head_come_at_once() -> None:
    broker, _ = await opened()
    assert await broker.latest(A) == (None, 0)
    await append(broker, A, "1")
    await append(broker, A, None, "done")
    await append(broker, B, "2")
    event, head = await broker.latest(A)
    assert event is not None
    assert (event.data, head) == ("1", 3)
    await broker.close()


async def test_every_opening_is_an_epoch_of_its_own() -> None:
    broker, sink = await opened()
    await append(broker, A)
    epoch = broker.epoch
    with pytest.raises(RuntimeError, match="one manager"):
        await broker.open(Sink())
    await broker.close()
    await broker.open(sink)
    assert broker.epoch != epoch
    assert broker.topics == 0
    await broker.close()
    await broker.close()


async def test_no_call_lets_another_task_run() -> None:
    broker, _ = await opened()
    ran = False

    async def other() -> None:
        nonlocal ran
        ran = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await broker.attach(A)
        await append(broker, A)
        await broker.latest(A)
        broker.detach(A, forget=True)
        assert not ran
        await checkpoint()
    assert ran
    await broker.close()
