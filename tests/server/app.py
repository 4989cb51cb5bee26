"""The apps that the server tests serve, each in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from multistream_asgi import Limits, MultiStreamManager, StreamConfig

manager = MultiStreamManager(
    default_config=StreamConfig(heartbeat_interval=0.2, linger=0.2, history=10_000, retry_ms=100),
    limits=Limits(send_timeout=1.0),
)
closed: list[str] = []


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")  # in one piece, for two threads may say something at once
    sys.stderr.flush()


@manager.stream("ticks")
async def ticks(entity_id: str) -> AsyncIterator[int]:
    try:
        n = 0
        while True:
            yield n
            n += 1
            await asyncio.sleep(0.02)
    finally:
        await asyncio.sleep(0.05)  # a cleanup that awaits must be let finish
        closed.append(entity_id)
        say(f"closed ticks:{entity_id};")


@manager.stream("blocking")
def blocking(entity_id: str) -> Iterator[int]:
    try:
        n = 0
        while True:
            yield n
            n += 1
            time.sleep(0.02)
    finally:
        say(f"closed blocking:{entity_id};")


@manager.stream("stuck")
def stuck(entity_id: str) -> Iterator[str]:
    yield "once"
    time.sleep(3600)


@manager.stream("big", config=StreamConfig(linger=0.2, history=8))
async def big(entity_id: str) -> AsyncIterator[str]:
    while True:
        yield "x" * 200_000
        await asyncio.sleep(0.01)


@manager.stream("short")
async def short(entity_id: str) -> AsyncIterator[int]:
    for n in range(3):
        yield n


async def state(request: Request) -> JSONResponse:
    hub = manager._lifetime._hub
    return JSONResponse(
        {
            "topics": 0 if hub is None else len(hub.topics),
            "viewers": manager.connection_registry.get_stats()["total"],
            "closed": closed,
        }
    )


alone = manager
site = Starlette(routes=[Route("/state", state)])
wrapped = manager.wrap(site)
mounted = Starlette(routes=[Route("/state", state), Mount("/live", manager)])
