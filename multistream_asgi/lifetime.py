"""From the first use in an event loop to the shutdown of its streams."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

import anyio
from anyio.lowlevel import EventLoopToken, current_token

from .hub import Hub
from .shutdown import watch
from .tasks import is_running, spawn
from .types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["DRAIN_SPREAD", "DRAIN_TIMEOUT", "Lifetime"]

DRAIN_TIMEOUT = 1.0
"""Seconds that a shutdown gives viewers and sources when nobody says otherwise."""

DRAIN_SPREAD = 2.0
"""Seconds over which their clients are told to come back."""


class Lifetime:
    """The hub of the running event loop. It is made at the first use; lifespan is not needed."""

    def __init__(self, make: Callable[[], Hub]) -> None:
        self._make = make
        self._hub: Hub | None = None
        self._token: EventLoopToken | None = None
        self._opening = anyio.Lock()
        self._serving: Counter[Hub] = Counter()
        self._unwatch: dict[Hub, Callable[[], None]] = {}

    async def open(self) -> Hub:
        """The hub of this event loop. Raises `RuntimeError` while another loop's still runs."""
        token = current_token()
        if self._token != token:
            if self._hub is not None and self._token is not None and is_running(self._token):
                raise RuntimeError("a manager serves one event loop, and this is another one")
            self._token, self._hub = token, None
            self._opening = anyio.Lock()
        if self._hub is None:
            async with self._opening:
                if self._hub is None:
                    hub = self._make()
                    await hub.broker.open(hub)
                    self._hub = hub
        return self._hub

    async def stop(self) -> None:
        """End a lifespan: drain, and leave no task behind. What comes later begins anew."""
        hub = self._hub
        if hub is not None:
            await hub.drain(DRAIN_TIMEOUT, DRAIN_SPREAD)
            await hub.close()
            self._hub = None

    async def drain(self, timeout: float | None, spread: float) -> None:
        """Drain the hub, where there is one."""
        if self._hub is not None:
            await self._hub.drain(timeout, spread)

    @contextlib.contextmanager
    def serving(self, hub: Hub) -> Iterator[None]:
        """While any request is served, let a shutdown begin with a drain.

        Not longer: an event loop that finds its signal handler replaced when it ends leaves ours
        behind.
        """
        if not self._serving[hub]:
            self._unwatch[hub] = watch(
                lambda: spawn("multistream_asgi drain", hub.drain, DRAIN_TIMEOUT, DRAIN_SPREAD)
            )
        self._serving[hub] += 1
        try:
            yield
        finally:
            self._serving[hub] -= 1
            if not self._serving[hub]:
                del self._serving[hub]
                self._unwatch.pop(hub)()

    async def handle(self, app: ASGIApp | None, scope: Scope, receive: Receive, send: Send) -> None:
        """The lifespan protocol: `app`'s, where there is one, with a drain before its shutdown."""

        async def receive_and_act() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.open()
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
            return message

        if app is not None:
            return await app(scope, receive_and_act, send)
        await receive_and_act()
        await send({"type": "lifespan.startup.complete"})
        await receive_and_act()
        await send({"type": "lifespan.shutdown.complete"})
