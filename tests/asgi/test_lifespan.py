"""Lifespan: alone, in front of an app, as a lifespan of Starlette, and not at all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from multistream_asgi.types import ASGIApp, Message
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle, task_count

ONE = "/stream_progress?id=a"


class Lifespan:
    """A server's side of the lifespan protocol."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.sent: list[str] = []
        self._startup, self._shutdown, self._ended = anyio.Event(), anyio.Event(), anyio.Event()
        self._asked = iter(["startup", "shutdown"])

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        with anyio.fail_after(5):
            await self._startup.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._shutdown.set()
        with anyio.move_on_after(5) as scope:
            await self._ended.wait()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)
        assert not scope.cancelled_caught, "the app's lifespan does not end"

    async def _run(self) -> None:
        await self.app({"type": "lifespan", "state": {}}, self._receive, self._send)
        self._ended.set()

    async def _receive(self) -> Message:
        step = next(self._asked)
        if step == "shutdown":
            await self._shutdown.wait()
        return {"type": f"lifespan.{step}"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message["type"])
        self._startup.set()


DONE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_alone_it_answers_and_serves() -> None:
    manager = manager_of(Feed("x").endpoint())
    async with Lifespan(manager) as lifespan, connect(manager, ONE) as conn:
        assert (await conn.next_event()).data == "x"
    assert lifespan.sent == DONE


async def test_shutdown_ends_the_streams_that_are_open() -> None:
    """Servers ask for it only after the streams have ended; who does not is served well too."""
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    async with connect(manager, ONE) as conn:
        async with Lifespan(manager):
            await conn.next_event()
        assert [event.type for event in await conn.until_closed()] == ["shutdown"]
    assert feed.run.closed == 1


async def test_the_lifespan_of_a_wrapped_app_is_its_own() -> None:
    steps: list[str] = []

    @contextlib.asynccontextmanager
    async def own(app: Any) -> AsyncIterator[dict[str, int]]:
        steps.append("up")
        yield {"answer": 42}
        steps.append("down")

    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    app = manager.wrap(Starlette(lifespan=own))
    async with connect(app, ONE) as conn:
        async with Lifespan(app) as lifespan:
            await conn.next_event()
            assert steps == ["up"]
        await conn.until_closed()
    assert (steps, lifespan.sent) == (["up", "down"], DONE)
    assert feed.run.closed == 1


async def test_an_app_that_knows_no_lifespan_may_say_so() -> None:
    """As Django does; the server sees the same exception as without us."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("Django can only handle ASGI/HTTP connections, not lifespan.")

    async def nothing(*_: Any) -> Any: ...

    manager = manager_of(Feed("x").endpoint())
    with pytest.raises(ValueError, match="Django"):
        await manager.wrap(app)({"type": "lifespan"}, nothing, nothing)
    async with connect(manager.wrap(app), ONE) as conn:
        assert (await conn.next_event()).data == "x"


async def test_as_the_lifespan_of_the_app_it_is_mounted_in() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint(), base_path="/stream/")
    app = Starlette(routes=[Mount("/stream", manager)], lifespan=manager.lifespan)
    async with connect(app, "/stream/_progress?id=a") as conn:
        async with Lifespan(app) as lifespan:
            await conn.next_event()
        await conn.until_closed()
    assert lifespan.sent == DONE
    assert feed.run.closed == 1


async def test_none_is_needed() -> None:
    async with connect(manager_of(Feed("x").endpoint()), ONE) as conn:
        assert (await conn.next_event()).data == "x"


async def test_a_second_lifespan_serves_again() -> None:
    feed = Feed("x")
    manager = manager_of(feed.endpoint())
    for _ in range(2):
        async with Lifespan(manager), connect(manager, ONE) as conn:
            assert (await conn.next_event()).data == "x"
            await conn.disconnect()
    assert len(feed.runs) == 2


async def test_who_takes_nothing_when_a_lifespan_ends_is_let_go() -> None:
    manager = manager_of(Feed("x").endpoint())
    async with connect(manager, ONE) as conn:
        async with Lifespan(manager):
            await conn.next_event()
            conn.stall()
            await manager.publish("progress", "a", "y")
            await settle()
        await settle()
        assert conn.returned


async def test_nothing_runs_on_after_a_lifespan() -> None:
    before = task_count()
    manager = manager_of(Feed("x").endpoint(), "log", linger=None)
    async with Lifespan(manager):
        await manager.publish("log", "a", "kept for minutes")
        async with connect(manager, "/stream?id=a") as conn:
            await conn.events(2)
    await settle()
    assert task_count() == before


async def test_a_later_event_loop_is_served_too() -> None:
    """As under a test client that makes a loop per test; each begins anew."""
    feed = Feed("x")
    manager = manager_of(feed.endpoint())

    async def use() -> None:
        async with connect(manager, ONE) as conn:
            assert (await conn.next_event()).data == "x"

    await anyio.to_thread.run_sync(lambda: anyio.run(use))
    await anyio.to_thread.run_sync(lambda: anyio.run(use, backend="trio"))
    await use()
    assert len(feed.runs) == 3


async def test_two_event_loops_at_once_are_refused() -> None:
    manager = manager_of(Feed("x").endpoint())
    async with connect(manager, ONE) as conn:
        await conn.next_event()

        async def use() -> None:
            with pytest.raises(RuntimeError, match="one event loop"):
                await request(manager, ONE)
            with pytest.raises(RuntimeError, match="one event loop"):
                await manager.publish("progress", "a", 1)

        await anyio.to_thread.run_sync(lambda: anyio.run(use))
