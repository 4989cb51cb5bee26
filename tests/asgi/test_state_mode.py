"""`mode="state"`: only the newest counts, and the final event always does."""

from __future__ import annotations

from tests.asgi.driver import connect
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle
from tests.event_stream import Parsed

ONE = "/stream_progress?id=a"


def data(events: list[Parsed]) -> list[str]:
    return [event.data for event in events]


async def test_a_newcomer_gets_the_newest_only() -> None:
    manager = manager_of("progress", mode="state")
    for n in range(5):
        await manager.publish("progress", "a", n)
    async with connect(manager, ONE) as conn:
        await settle()
        assert data(conn.received) == ["4"]


async def test_a_viewer_that_keeps_up_gets_everything() -> None:
    manager = manager_of("progress", mode="state")
    async with connect(manager, ONE) as conn:
        for n in range(5):
            await settle()
            await manager.publish("progress", "a", n)
        assert data(await conn.events(5)) == list("01234")


async def test_a_slow_viewer_skips_to_the_newest_without_a_reset() -> None:
    manager = manager_of("progress", mode="state")
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        for n in range(50):
            await manager.publish("progress", "a", n)
        conn.resume()
        await settle()
        assert data(conn.received) == ["49"]


async def test_a_cursor_behind_trimmed_events_is_no_gap() -> None:
    manager = manager_of("progress", mode="state")
    first = await manager.publish("progress", "a", 0)
    for n in range(1, 9):
        await manager.publish("progress", "a", n)
    async with connect(manager, ONE, headers={"Last-Event-ID": str(first)}) as conn:
        await settle()
        assert [(event.type, event.data) for event in conn.received] == [("message", "8")]


async def test_a_cursor_at_the_newest_gets_nothing_again() -> None:
    manager = manager_of("progress", mode="state")
    cursor = await manager.publish("progress", "a", 0)
    async with connect(manager, ONE, headers={"Last-Event-ID": str(cursor)}) as conn:
        await settle()
        assert conn.received == []


async def test_another_epoch_is_told_in_state_mode_too() -> None:
    manager = manager_of("progress", mode="state")
    await manager.publish("progress", "a", 0)
    async with connect(manager, ONE, headers={"Last-Event-ID": "other.1"}) as conn:
        assert [event.type for event in await conn.events(2)] == ["reset", "message"]


async def test_the_final_event_is_never_skipped() -> None:
    manager = manager_of("progress", mode="state")
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        for n in range(50):
            await manager.publish("progress", "a", n)
        await manager.finish("progress", "a", "final")
        conn.resume()
        assert data(await conn.until_closed()) == ["final", "done"]


async def test_an_end_without_data_leaves_the_newest() -> None:
    manager = manager_of("progress", mode="state")
    async with connect(manager, ONE) as conn:
        await settle()
        conn.stall()
        for n in range(50):
            await manager.publish("progress", "a", n)
        await manager.finish("progress", "a")
        conn.resume()
        assert data(await conn.until_closed()) == ["49", "done"]
    async with connect(manager, ONE) as late:
        assert data(await late.until_closed()) == ["49", "done"]


async def test_each_stream_has_its_own_mode_on_one_connection() -> None:
    from multistream_asgi import StreamConfig

    bar, log = Feed(), Feed()
    manager = manager_of(
        bar.endpoint("bar", config=StreamConfig(mode="state")),
        log.endpoint("log", config=StreamConfig(mode="log")),
    )
    async with connect(manager, "/stream?id=a") as conn:
        await settle()
        conn.stall()
        for n in range(4):
            bar.run.put(n)
            log.run.put(n)
        await settle()
        conn.resume()
        await settle()
        assert [e.data for e in conn.received if e.type == "log:a"] == list("0123")
        bars = [e.data for e in conn.received if e.type == "bar:a"]
        assert bars[-1] == "3"
        assert len(bars) < 4
