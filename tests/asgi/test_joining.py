"""What waits for a viewer goes out in one send, and an event is encoded once per dialect."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import multistream_asgi.log
from multistream_asgi import Limits
from multistream_asgi.frames import frame
from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle


async def test_history_goes_out_with_the_first_bytes() -> None:
    manager = manager_of("progress", "log")
    for n in range(50):
        await manager.publish(("progress", "log")[n % 2], "a", n)
    async with connect(manager, "/stream?id=a") as conn:
        await settle()
        assert len(conn.chunks) == 1
        assert len(conn.received) == 50


async def test_what_waited_during_a_send_goes_out_in_one() -> None:
    manager = manager_of(*"abcdefghij")
    async with connect(manager, "/stream?id=x") as conn:
        await settle()
        conn.stall()
        await manager.publish("a", "x", "taken before the stall is seen")
        await settle()
        for n in range(100):
            await manager.publish("abcdefghij"[n % 10], "x", n)
        conn.resume()
        await settle()
        assert len(conn.chunks) == 3
        assert [e.data for e in conn.received[1:]] == [str(n) for n in range(100)]


async def test_events_of_one_moment_go_out_together() -> None:
    """Published without a wait between them, over several topics."""
    manager = manager_of(*"abcdefghij")
    async with connect(manager, "/stream?id=x") as conn:
        await settle()
        for stream in "abcdefghij":
            await manager.publish(stream, "x", 1)
        await settle()
        assert len(conn.chunks) == 2


async def test_a_write_is_bounded_yet_carries_at_least_one_event() -> None:
    manager = manager_of("progress", limits=Limits(max_send_bytes=1000))
    for n in range(20):
        await manager.publish("progress", "a", f"{n:03}" * 100)
    await manager.publish("progress", "a", "x" * 5000)
    await manager.finish("progress", "a", "end")
    async with connect(manager, "/stream_progress?id=a") as conn:
        events = await conn.until_closed()
        assert [e.data[:3] for e in events] == [
            *(f"{n:03}" for n in range(20)),
            "xxx",
            "end",
            "don",
        ]
        assert all(len(chunk) < 1000 + 400 or b"xxx" in chunk for chunk in conn.chunks)
        assert len(conn.chunks) > 5


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, bool, int]]:
    """How often each event was encoded, by dialect, one topic or many, and seq."""
    calls: Counter[tuple[str, bool, int]] = Counter()
    real = frame

    def counting(event: Any, cursor: Any, dialect: Any, *, many: bool, target: str = "") -> bytes:
        calls[dialect, many, event.seq] += 1
        return real(event, cursor, dialect, many=many, target=target)

    monkeypatch.setattr(multistream_asgi.log, "frame", counting)
    return calls


async def test_an_event_is_encoded_once_per_dialect_however_many_viewers(
    encoded: Counter[tuple[str, bool, int]],
) -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint())
    urls = [
        f"/stream{path}?id=a&dialect={dialect}"
        for path in ("", "_progress")
        for dialect in ("events", "htmx4", "datastar")
    ]
    async with connect(manager, urls[0]):
        await settle()
        feed.run.put(1, 2, 3)
        for url in urls * 5:
            async with connect(manager, url) as conn:
                await conn.events(3)
    assert len(encoded) == 6 * 3
    assert set(encoded.values()) == {1}


async def test_an_event_that_nobody_reads_is_not_encoded(
    encoded: Counter[tuple[str, bool, int]],
) -> None:
    manager = manager_of("progress", mode="state")
    async with connect(manager, "/stream?id=a") as conn:
        await settle()
        conn.stall()
        for n in range(100):
            await manager.publish("progress", "a", n)
        conn.resume()
        await settle()
        assert [e.data for e in conn.received] == ["99"]
    assert len(encoded) == 1


async def test_the_registry_counts_the_events_written() -> None:
    manager = manager_of("progress", "log")
    async with connect(manager, "/stream?id=a") as conn, connect(manager, "/stream_log?id=a"):
        await settle()
        for n in range(3):
            await manager.publish("log", "a", n)
            await settle()
        await manager.finish("progress", "a", "x")
        await conn.events(5)
        stats = manager.connection_registry.get_stats()
        assert (stats["total"], stats["active"]) == (2, 2)
        assert stats["by_type"] == {"many": 1, "log:a": 1}
        assert stats["message_count"] == 4 + 3
    await settle()
    assert manager.connection_registry.get_stats()["total"] == 0
