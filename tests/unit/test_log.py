"""A topic's log: bounded, in order, encoded once."""

from __future__ import annotations

from typing import Any

import pytest

from multistream_asgi import Event, StreamConfig, Topic
from multistream_asgi.frames import frame
from multistream_asgi.log import History, TopicLog

TOPIC = Topic("log", "a")


def event(seq: int, data: str | None = "x", ends: Any = None) -> Event:
    return Event(TOPIC, seq, data, None, ends)


def log_of(*events: Event, max_bytes: int | None = None, **config: Any) -> TopicLog:
    log = TopicLog(TOPIC, StreamConfig(**config), "ep", "#a", max_bytes)
    for one in events:
        log.append(one)
    return log


def seqs(log: TopicLog, after: int = 0) -> list[int]:
    return [entry.seq for entry in log.since(after)]


def test_what_is_after_a_position_comes_in_order() -> None:
    log = log_of(event(3), event(7), event(8))
    assert seqs(log) == [3, 7, 8]
    assert seqs(log, 3) == [7, 8]
    assert seqs(log, 7) == [8]
    assert seqs(log, 8) == []
    assert seqs(log, 99) == []


def test_the_oldest_make_room_and_the_floor_rises() -> None:
    log = log_of(*(event(n) for n in range(1, 6)), history=2)
    assert seqs(log) == [4, 5]
    assert log.floor == 3
    assert log.missed(2)
    assert not log.missed(3)


def test_a_bound_in_bytes_leaves_at_least_one() -> None:
    log = log_of(event(1, "aaa"), event(2, "ü"), event(3, "b"), max_bytes=4)
    assert seqs(log) == [2, 3]
    assert seqs(log_of(event(1, "a" * 10), max_bytes=4)) == [1]
    assert seqs(log_of(event(1, "a"), event(2, "a" * 10), max_bytes=4)) == [2]


def test_in_state_mode_only_the_newest_is_kept_and_nothing_is_missed() -> None:
    log = log_of(event(1), event(2), event(3), mode="state")
    assert seqs(log) == [3]
    assert not log.missed(0)


def test_an_end_without_data_takes_no_events_place() -> None:
    log = log_of(event(1), event(2, None, "done"), mode="state")
    assert seqs(log) == [1]
    assert (log.ended, log.end_seq, log.head) == ("done", 2, 2)


def test_a_final_event_is_an_event_and_the_end() -> None:
    log = log_of(event(1), event(2, "last", "done"))
    assert seqs(log) == [1, 2]
    assert (log.ended, log.end_seq) == ("done", 2)


def test_a_history_is_taken_over_with_its_floor() -> None:
    log = log_of(history=2)
    log.load(History([event(5), event(6), event(7)], floor=4))
    assert seqs(log) == [6, 7]
    assert log.floor == 5
    empty = log_of()
    empty.load(History(floor=9))
    assert (empty.floor, empty.head) == (9, 9)


def test_a_floor_never_falls() -> None:
    log = log_of(event(1), event(2), history=2)
    log.floor = 9
    log.append(event(10))
    assert log.floor == 9


def test_an_event_is_encoded_once_per_form(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*args: Any, **options: Any) -> bytes:
        calls.append(args)
        return frame(*args, **options)

    monkeypatch.setattr("multistream_asgi.log.frame", counted)
    log = log_of(event(1))
    (entry,) = log.since(0)
    for _ in range(3):
        assert log.frame(entry, ("events", False)) == b"id: ep.1\ndata: x\n\n"
        assert log.frame(entry, ("events", True)) == b"id: ep.1\nevent: log:a\ndata: x\n\n"
    assert len(calls) == 2
