"""Wherever the manager stands: alone, mounted, in front of another app, behind middleware."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from multistream_asgi import MultiStreamManager, MultiStreamMiddleware
from multistream_asgi.types import ASGIApp, Message
from tests.asgi.driver import connect, request
from tests.asgi.feed import Feed, manager_of
from tests.asgi.virtual_time import settle


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"home {request.method}")


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


def site(**options: Any) -> Starlette:
    routes = [
        Route("/", home, methods=["GET", "POST"]),
        Route("/streaming", home),
        WebSocketRoute("/ws", echo),
    ]
    return Starlette(routes=routes, **options)


def alone(base: str) -> tuple[MultiStreamManager, ASGIApp]:
    manager = manager_of(Feed("x").endpoint(), base_path=base)
    return manager, manager


def wrapped(base: str) -> tuple[MultiStreamManager, ASGIApp]:
    manager = manager_of(Feed("x").endpoint(), base_path=base)
    return manager, manager.wrap(site())


def middleware(base: str) -> tuple[MultiStreamManager, ASGIApp]:
    manager = manager_of(Feed("x").endpoint(), base_path=base)
    return manager, site(middleware=[Middleware(MultiStreamMiddleware, manager=manager)])


def fastapi_middleware(base: str) -> tuple[MultiStreamManager, ASGIApp]:
    manager = manager_of(Feed("x").endpoint(), base_path=base)
    app = FastAPI()
    app.add_middleware(MultiStreamMiddleware, manager=manager)
    return manager, app


def starlette_mount(base: str) -> tuple[MultiStreamManager, ASGIApp]:
    manager = manager_of(Feed("x").endpoint(), base_path=base)
    return manager, Starlette(routes=[Mount(base.rstrip("/"), manager)])


def fastapi_mount(base: str) -> tuple[MultiStreamManager, ASGIApp]:
    manager = manager_of(Feed("x").endpoint(), base_path=base)
    app = FastAPI()
    app.mount(base.rstrip("/"), manager)
    return manager, app


def nested_mount(base: str) -> tuple[MultiStreamManager, ASGIApp]:
    """The manager knows its whole path though two routers have eaten of it."""
    manager = manager_of(Feed("x").endpoint(), base_path="/api" + base)
    inner = Starlette(routes=[Mount(base.rstrip("/"), manager)])
    return manager, Starlette(routes=[Mount("/api", inner)])


Make = Callable[[str], tuple[MultiStreamManager, ASGIApp]]
WAYS: list[tuple[Make, str]] = [
    *((make, "/stream") for make in (alone, wrapped, middleware, fastapi_middleware)),
    *((make, "/stream/") for make in (alone, wrapped, middleware, fastapi_middleware)),
    *((make, "/stream/") for make in (starlette_mount, fastapi_mount, nested_mount)),
]


@pytest.mark.parametrize(("make", "base"), WAYS, ids=lambda v: v if v is str else None)
@pytest.mark.parametrize("many", [False, True])
async def test_what_url_gives_is_served(make: Make, base: str, many: bool) -> None:
    manager, app = make(base)
    url = manager.url(["a/b é"]) if many else manager.url("a/b é", "progress")
    async with connect(app, url) as conn:
        event = await conn.next_event()
        assert (event.type, event.data) == (
            "progress:a%2Fb%20%C3%A9" if many else "message",
            "x",
        )
        assert conn.chunks[0].startswith(b": Connected\n\n")


@pytest.mark.parametrize(("make", "base"), WAYS)
async def test_the_server_s_own_root_path_is_stripped(make: Make, base: str) -> None:
    """`uvicorn --root-path /site`: the path is below it, and `url` is told of it."""
    manager, app = make(base)
    url = manager.url("a", "progress", root_path="/site")
    async with connect(app, url, root_path="/site") as conn:
        assert (await conn.next_event()).data == "x"


@pytest.mark.parametrize("make", [wrapped, middleware])
@pytest.mark.parametrize("path", ["/", "/streaming"])
async def test_anything_else_is_the_app_s(make: Make, path: str) -> None:
    conn = await request(make("/stream")[1], path)
    assert (conn.status, conn.body) == (200, b"home GET")


@pytest.mark.parametrize("make", [wrapped, middleware])
async def test_other_methods_of_other_paths_are_the_app_s(make: Make) -> None:
    assert (await request(make("/stream")[1], "/", method="POST")).body == b"home POST"
    assert (await request(make("/stream")[1], "/stream_progress", method="POST")).status == 405


@pytest.mark.parametrize("make", [wrapped, middleware])
@pytest.mark.parametrize(
    ("path", "kinds"),
    [("/ws", ["websocket.accept", "websocket.close"]), ("/stream", ["websocket.close"])],
)
async def test_websockets_of_other_paths_are_the_app_s(
    make: Make, path: str, kinds: list[str]
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "query_string": b"", "headers": []}
    await make("/stream")[1](scope, receive, send)
    assert [message["type"] for message in sent] == kinds


async def test_scopes_we_do_not_know_are_the_app_s() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any: ...

    await manager_of("progress").wrap(app)({"type": "mystery"}, nothing, nothing)
    await manager_of("progress")({"type": "mystery"}, nothing, nothing)
    assert seen == ["mystery"]


async def test_two_managers_in_front_of_one_app() -> None:
    one = manager_of(Feed("1").endpoint(), base_path="/one")
    two = manager_of(Feed("2").endpoint(), base_path="/two")
    app = one.wrap(two.wrap(site()))
    for path, data in [("/one_progress", "1"), ("/two_progress", "2")]:
        async with connect(app, f"{path}?id=a") as conn:
            assert (await conn.next_event()).data == data
    assert (await request(app, "/")).body == b"home GET"


async def pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


@pytest.mark.parametrize(
    "outer",
    [
        Middleware(GZipMiddleware, minimum_size=1),
        Middleware(BaseHTTPMiddleware, dispatch=pass_on),
    ],
    ids=["gzip", "base"],
)
async def test_starlette_s_middleware_lets_the_first_bytes_and_each_event_through(
    outer: Middleware,
) -> None:
    feed = Feed()
    manager = manager_of(feed.endpoint(), base_path="/stream/")
    app = Starlette(routes=[Mount("/stream", manager)], middleware=[outer])
    headers = {"accept-encoding": "gzip"}
    async with connect(app, "/stream/_progress?id=a", headers=headers) as conn:
        await settle()
        assert conn.comments == [" Connected"]
        assert "content-encoding" not in conn.headers
        feed.run.put("x")
        assert (await conn.next_event()).data == "x"
    await settle()
    assert not manager.connection_registry.get_connections()
