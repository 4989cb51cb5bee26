"""Status, headers, then whatever waits, until the stream or its client ends."""

from __future__ import annotations

import contextlib

import anyio
from anyio.lowlevel import checkpoint

from .config import StreamConfig
from .frames import HEARTBEAT, comment, retry
from .subscribe import Subscription
from .types import Receive, Send

__all__ = ["send_busy", "send_headers", "send_stream"]

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


async def send_stream(
    receive: Receive, send: Send, subscription: Subscription, config: StreamConfig
) -> None:
    """Write a subscription to its client until either ends.

    Returns when the stream has ended, when the client has gone, or when it took no write for
    `Limits.send_timeout`; then nothing more is written, for that would wait as well.
    """
    async with anyio.create_task_group() as tasks:
        subscription.on_stuck = tasks.cancel_scope.cancel
        tasks.start_soon(_until_done, send, subscription, config, tasks.cancel_scope)
        while (await receive())["type"] != "http.disconnect":
            await checkpoint()  # a `receive` that replays a body never waits
        tasks.cancel_scope.cancel()


async def _until_done(
    send: Send, subscription: Subscription, config: StreamConfig, scope: anyio.CancelScope
) -> None:
    # An OSError is how a server may tell that the client has gone (ASGI 2.4).
    with contextlib.suppress(OSError):
        await _write(send, subscription, config)
    scope.cancel()


async def _write(send: Send, subscription: Subscription, config: StreamConfig) -> None:
    subscription.mark_sending()  # a server may wait for its client here already
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    # Middlewares hold the headers back until the first bytes, so some go out at once.
    chunk = _first(config) + subscription.take()
    pause = None if config.max_rate is None else 1 / config.max_rate
    while True:
        if chunk:
            subscription.mark_sending()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            subscription.sending = False
        if subscription.done:
            break
        if chunk and pause is not None:
            await subscription.rest(pause)
        chunk = subscription.take()
        if not chunk and not subscription.done:
            await subscription.wait()
            chunk = subscription.take()
            if not chunk and subscription.beat:
                chunk = HEARTBEAT
    subscription.mark_sending()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _first(config: StreamConfig) -> bytes:
    first = retry(config.retry_ms)
    return comment(config.initial_message) + first if config.send_initial_message else first


async def send_busy(send: Send, retry_ms: int) -> None:
    """A stream that ends at once: a status other than 200 would stop a browser for good."""
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    await send({"type": "http.response.body", "body": retry(retry_ms), "more_body": False})


async def send_headers(send: Send) -> None:
    """What HEAD is answered with: the headers of a stream, and no body."""
    await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
