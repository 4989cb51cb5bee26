"""How a source is closed: once, before the next run begins, whatever it does about it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from multistream_asgi import StreamEndpoint
from tests.asgi.driver import connect, request
from tests.asgi.feed import manager_of
from tests.asgi.virtual_time import settle

ONE = "/stream_progress?id=a"


class Iterator:
    """No generator: its `aclose` does something each time it is called."""

    def __init__(self, *, fails: bool = False, ends: bool = False) -> None:
        self.fails, self.ends = fails, ends
        self.begun = self.closed = 0

    def __aiter__(self) -> Iterator:
        return self

    async def __anext__(self) -> str:
        self.begun += 1
        if self.begun == 1:
            return "x"
        if self.fails:
            raise RuntimeError
        if self.ends:
            raise StopAsyncIteration
        await anyio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1


@pytest.mark.parametrize("how", ["fails", "ends", "is left", "is finished", "is drained"])
async def test_aclose_is_called_once_whatever_ends_a_source(how: str) -> None:
    iterator = Iterator(fails=how == "fails", ends=how == "ends")

    async def source(entity_id: str) -> Iterator:
        return iterator

    manager = manager_of(StreamEndpoint("progress", "_progress", source), linger=0)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
        if how == "is finished":
            await manager.finish("progress", "a")
        elif how == "is drained":
            await manager.drain()
        elif how != "is left":
            await conn.until_closed()
    await settle()
    assert iterator.closed == 1


async def test_a_source_that_takes_its_cancellation_for_its_end_does_not_end_its_topic() -> None:
    """It returns instead of raising: who comes next gets a run, and not a close."""
    runs = []

    async def source(entity_id: str) -> AsyncIterator[str]:
        runs.append(entity_id)
        try:
            yield "x"
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return

    manager = manager_of(StreamEndpoint("progress", "_progress", source), linger=0)
    for _ in range(2):
        async with connect(manager, ONE) as conn:
            assert await conn.data(1) == ["x"]
            await settle()
            assert not conn.complete
        await settle()
    assert len(runs) == 2


async def test_what_a_stopped_source_still_yields_is_not_heard() -> None:
    said = anyio.Event()

    async def source(entity_id: str) -> AsyncIterator[str]:
        try:
            yield "x"
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            said.set()
            yield "one more thing"

    manager = manager_of(StreamEndpoint("progress", "_progress", source), linger=0)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await said.wait()
    await settle()
    assert await manager.latest("progress", "a") is None


async def test_a_new_run_waits_until_the_old_one_has_closed() -> None:
    """Two runs of one topic at once would both hold what the source holds."""
    closing, close = anyio.Event(), anyio.Event()
    log: list[str] = []

    async def source(entity_id: str) -> AsyncIterator[str]:
        log.append("open")
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                closing.set()
                await close.wait()
                log.append("closed")

    manager = manager_of(StreamEndpoint("progress", "_progress", source), linger=0)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await closing.wait()
    async with connect(manager, ONE) as conn:
        await settle()
        assert log == ["open"]
        close.set()
        assert (await conn.next_event()).data == "x"
        assert log == ["open", "closed", "open"]


async def test_a_source_that_does_not_close_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A newcomer gets a run all the same, after `source_close_timeout`."""

    class Stubborn:
        def __init__(self) -> None:
            self.began = 0

        def __aiter__(self) -> Stubborn:
            return self

        async def __anext__(self) -> str:
            self.began += 1
            if self.began == 1:
                return "x"
            await anyio.sleep_forever()
            raise AssertionError

        async def aclose(self) -> None:
            await anyio.sleep_forever()

    async def source(entity_id: str) -> Stubborn:
        return Stubborn()

    manager = manager_of(StreamEndpoint("progress", "_progress", source), linger=0)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    async with connect(manager, ONE) as conn:
        assert (await conn.next_event()).data == "x"
    assert "did not close within 5.0 s" in caplog.text


async def test_an_await_in_a_source_s_finally_runs_to_its_end(anyio_backend_name: str) -> None:
    """On asyncio; on trio an await under cancellation raises again, as everywhere in trio."""
    steps: list[str] = []

    async def source(entity_id: str) -> AsyncIterator[str]:
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            steps.append("closing")
            await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.05)
            steps.append("closed")

    manager = manager_of(StreamEndpoint("progress", "_progress", source), linger=0)
    async with connect(manager, ONE) as conn:
        await conn.next_event()
    await anyio.sleep(1)
    assert steps == (["closing", "closed"] if anyio_backend_name == "asyncio" else ["closing"])


async def test_a_source_may_finish_its_own_topic() -> None:
    steps: list[str] = []

    async def source(entity_id: str) -> AsyncIterator[str]:
        try:
            yield "x"
            await manager.finish("progress", entity_id, "100 %")
            await anyio.sleep(1)
            steps.append("went on")
        finally:
            steps.append("closed")

    manager = manager_of(StreamEndpoint("progress", "_progress", source))
    conn = await request(manager, ONE)
    assert [event.data for event in conn.received] == ["x", "100 %", "done"]
    await settle()
    assert steps == ["closed"]
