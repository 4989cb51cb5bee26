"""A server process: `python -m tests.benchmarks.serve APP`.

It serves an app of `apps` behind uvicorn, with uvloop and httptools, on a free loopback port. Its
first line tells `{"port": ..., "path": ...}`. Its commands (see `child`):

    viewers                   -> {"viewers": how many are there now}
    publish COUNT RATE SIZE   -> {"seconds": ...}, once all have been published

A server in another language joins in by doing the same.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys

import uvicorn
import uvloop

from .apps import App, make
from .events import data

_BACKLOG = 4096


async def publish(app: App, count: int, rate: float, size: int) -> float:
    """Publish at the times that `rate` gives, late ones at once; return the seconds it took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - loop.time()))
        await app.publish(data(number, size))
    return loop.time() - start


async def serve(name: str) -> None:
    """Serve until stdin is closed."""
    app = make(name)
    listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    config = uvicorn.Config(
        app.asgi,
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        backlog=_BACKLOG,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    tasks: set[asyncio.Task[None]] = set()

    async def run(count: int, rate: float, size: int) -> None:
        answer(seconds=await publish(app, count, rate, size))

    def act() -> None:
        match sys.stdin.buffer.readline().split():
            case [b"viewers"]:
                answer(viewers=app.viewers)
            case [b"publish", count, rate, size]:
                task = asyncio.create_task(run(int(count), float(rate), int(size)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            case _:
                server.should_exit = True

    asyncio.get_running_loop().add_reader(sys.stdin, act)
    answer(port=listening.getsockname()[1], path=app.path)
    await server.serve(sockets=[listening])


def answer(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
