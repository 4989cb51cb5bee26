"""The ASGI app: one request's way, `match -> authorize -> subscribe -> frames -> send`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Self, TypeVar

from starlette.responses import PlainTextResponse, Response

from .authorize import authorize
from .brokers.base import Broker
from .brokers.memory import MemoryBroker
from .config import Limits, StreamConfig, StreamEndpoint
from .connections import ConnectionRegistry
from .entities import Entities
from .errors import Refused, TopicEnded
from .events import Cursor, Topic, check_text, text_of
from .hub import Hub
from .lifetime import DRAIN_SPREAD, DRAIN_TIMEOUT, Lifetime
from .match import Match, Routes
from .send import send_busy, send_headers, send_stream
from .subscribe import subscribe
from .types import (
    ASGIApp,
    Authorize,
    DataSource,
    Dialect,
    GetEntity,
    IsActive,
    Receive,
    Scope,
    Send,
)
from .viewers import Full

__all__ = ["MultiStreamManager", "MultiStreamMiddleware"]

logger = logging.getLogger("multistream_asgi")

_NO_STORE = {"cache-control": "no-store"}  # a 204, a 404 and a 405 are cached by default


class MultiStreamManager:
    """Serves the registered streams of many entities over Server-Sent Events.

    It is an ASGI app: mount it, wrap another app with it (`wrap`, `MultiStreamMiddleware`), or
    serve it alone. It serves one event loop at a time and needs no lifespan.

    `get_entity(id)` and `is_active(entity)` are asked when a viewer comes; the topics of an entity
    that is not there or not active end with `transform_fn(entity, final=True)`.
    `authorize(scope, topic)` is asked before every topic: what is not true is a 403, and it may
    raise `Refused`. Each of them may be async.
    """

    def __init__(
        self,
        base_path: str = "/stream",
        connection_registry: ConnectionRegistry | None = None,
        default_config: StreamConfig | None = None,
        debug: bool = False,
        *,
        get_entity: GetEntity | None = None,
        is_active: IsActive | None = None,
        authorize: Authorize | None = None,
        limits: Limits | None = None,
        broker: Broker | str | None = None,
    ) -> None:
        if authorize is not None and not callable(authorize):
            raise TypeError(f"authorize must be callable or None, not {type(authorize).__name__}")
        self._routes = Routes(base_path)
        self.connection_registry = _a(
            ConnectionRegistry, connection_registry, "connection_registry", debug
        )
        self.default_config = _a(StreamConfig, default_config, "default_config")
        self.limits = _a(Limits, limits, "limits")
        self.debug = debug
        self._entities = Entities(get_entity, is_active)
        self._authorize = authorize
        self._broker = _broker(broker, self.limits)
        self._lifetime = Lifetime(self._hub)

    @property
    def base_path(self) -> str:
        """The path that every stream's address begins with."""
        return self._routes.base_path

    @property
    def endpoints(self) -> dict[str, StreamEndpoint]:
        """The registered streams by name."""
        return self._routes.endpoints

    # Registering

    def register_endpoint(self, endpoint: StreamEndpoint) -> Self:
        """Register a stream; it is served at once, also while the app runs.

        A name or suffix that is taken is a `ValueError`.
        """
        if not isinstance(endpoint, StreamEndpoint):
            raise TypeError(f"endpoint must be a StreamEndpoint, not {type(endpoint).__name__}")
        self._routes.add(endpoint)
        return self

    def stream(
        self, name: str, path_suffix: str | None = None, **options: Any
    ) -> Callable[[DataSource], DataSource]:
        """Register the decorated function as the source of a stream.

        `path_suffix` defaults to `_` + `name`; `options` are those of `StreamEndpoint`.
        """
        if not isinstance(name, str):
            raise TypeError('name must be a str: @manager.stream("progress")')

        def register(source: DataSource) -> DataSource:
            suffix = "_" + check_text(name, "name") if path_suffix is None else path_suffix
            self.register_endpoint(StreamEndpoint(name, suffix, source, **options))
            return source

        return register

    def url(
        self,
        ids: str | Iterable[str],
        streams: str | Iterable[str] | None = None,
        *,
        after: Cursor | str | None = None,
        dialect: Dialect | None = None,
        root_path: str = "",
    ) -> str:
        """The percent-encoded address of a connection.

        With one id and one stream, both given as a `str`, it is that topic's own address; with
        lists, or without `streams`, it is one connection for all of them.
        """
        return self._routes.url(
            ids,
            streams,
            after=None if after is None else str(after),
            dialect=dialect,
            root_path=root_path,
        )

    # Publishing

    async def publish(self, stream: str, entity_id: str, data: Any) -> Cursor:
        """Publish `data` to a topic and return the cursor just past it.

        Returns once the broker has stored the event, not once anyone has read it. Events published
        one after another are seen in that order by every viewer. Where `transform_fn` makes None
        of `data`, nothing is stored and the cursor is the present one.

        Raises `TopicEnded` when the topic has had its final event, `ValueError` for a stream that
        is not registered or not shared, and `ValueError`/`TypeError` for data that cannot be sent.
        """
        endpoint, topic = self._topic(stream, entity_id)
        hub = await self._lifetime.open()
        seq = await hub.publish(endpoint, topic, data, reopen=True)
        return Cursor(hub.broker.epoch, hub.broker.head if seq is None else seq)

    async def finish(self, stream: str, entity_id: str, data: Any = None) -> None:
        """Publish the final event, if there is `data`, and end the topic.

        Its viewers get it, then `end` or `close`; its source is closed. A topic that has ended
        stays so: without `data` that is no error, with it `TopicEnded` is raised.
        """
        endpoint, topic = self._topic(stream, entity_id)
        hub = await self._lifetime.open()
        try:
            await hub.publish(endpoint, topic, data, ends="done", reopen=data is not None)
        except TopicEnded:
            if data is not None:
                raise

    async def latest(self, stream: str, entity_id: str) -> tuple[str, Cursor] | None:
        """The topic's newest data, as it is sent, and the cursor from which to go on, or None.

        Both are taken at once: a connection with that cursor gets every event that came later.
        """
        _, topic = self._topic(stream, entity_id)
        hub = await self._lifetime.open()
        event, seq = await hub.broker.latest(topic)
        if event is None or event.data is None:
            return None
        return event.data, Cursor(hub.broker.epoch, seq)

    def _topic(self, stream: str, entity_id: str) -> tuple[StreamEndpoint, Topic]:
        endpoint = self.endpoints.get(stream)
        if endpoint is None:
            raise ValueError(f"stream: no stream {stream!r} is registered")
        if not (endpoint.config or self.default_config).shared:
            raise ValueError(f"stream: {stream!r} is not shared, so nobody would see it")
        topic = Topic(stream, entity_id)
        most = self.limits.max_id_chars
        if most is not None and len(entity_id) > most:
            raise ValueError(f"entity_id has {len(entity_id)} characters; max_id_chars is {most}")
        return endpoint, topic

    # Serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.handle(None, scope, receive, send)

    async def handle(self, app: ASGIApp | None, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what is ours; leave the rest to `app`, or answer 404 where there is none."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifetime.handle(app, scope, receive, send)
        elif kind == "websocket" and (app is None or self._routes.find(scope) is not False):
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
        elif kind != "http":
            if app is not None:
                await app(scope, receive, send)
        else:
            await self._handle_http(app, scope, receive, send)

    async def _handle_http(
        self, app: ASGIApp | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        found = self._routes.find(scope)
        if found is not False:
            await self.answer(found, self._entities, scope, receive, send)
        elif app is not None:
            await app(scope, receive, send)
        else:
            await _refuse(Refused(404, "not found"), scope, receive, send)

    async def answer(
        self,
        found: StreamEndpoint | bool,
        entities: Entities,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer a request to one stream, or with True to many, to its end."""
        try:
            match = self._routes.match(found, scope, self.limits)
            await self._serve(match, entities, scope, receive, send)
        except Refused as refused:
            await _refuse(refused, scope, receive, send)

    async def _serve(
        self, match: Match, entities: Entities, scope: Scope, receive: Receive, send: Send
    ) -> None:
        hub = await self._lifetime.open()
        with self._lifetime.serving(hub):
            await self._serve_at(hub, match, entities, scope, receive, send)

    async def _serve_at(
        self,
        hub: Hub,
        match: Match,
        entities: Entities,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        head = scope["method"] == "HEAD"
        try:
            await authorize(self._authorize, scope, match.topics)
            if head:
                return await send_headers(send)
            config = self._connection_config(match)
            subscription = await subscribe(hub, match, self.endpoints, config, entities)
        except Refused:
            raise
        except Full:
            return await send_busy(send, hub.retry_ms())
        except Exception:
            logger.exception("a request for %s failed before its stream began", scope["path"])
            return await (send_headers(send) if head else send_busy(send, hub.retry_ms()))
        kind = "many" if match.many else str(match.topics[0])
        connection = None
        try:
            connection = self.connection_registry.add(kind, match.topics)
            if (
                match.after is not None
                and match.dialect == "events"
                and subscription.has_seen_everything()
            ):
                return await Response(None, 204, _NO_STORE)(scope, receive, send)
            subscription.connection = connection
            await send_stream(receive, send, subscription, config)
        finally:
            if connection is not None:
                self.connection_registry.remove(connection.connection_id)
            subscription.leave()
            if subscription.gave_up:
                logger.info("dropped a viewer of %s that took no write", kind)
        if hub.draining:
            await hub.sources_closed()

    def _connection_config(self, match: Match) -> StreamConfig:
        if match.many:
            return self.default_config
        return self.endpoints[match.topics[0].stream].config or self.default_config

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """An app that serves our paths and leaves the rest, lifespan included, to `app`."""
        return MultiStreamMiddleware(app, self)

    # Lifetime

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """For `Starlette(lifespan=manager.lifespan)`: open, and at the end drain and close."""
        await self._lifetime.open()
        try:
            yield
        finally:
            await self._lifetime.stop()

    async def drain(
        self, *, timeout: float | None = DRAIN_TIMEOUT, spread: float = DRAIN_SPREAD
    ) -> None:
        """End every stream and close every source; who comes later is told to come back.

        Each viewer gets what waits for it, `event: shutdown` and a reconnection time up to
        `spread` seconds above its usual one. Returns when all have gone, or after `timeout`
        seconds. May be called twice.
        """
        await self._lifetime.drain(timeout, spread)

    def _hub(self) -> Hub:
        return Hub(self._broker, self.limits, self.default_config, self._entities, self.render)

    render = staticmethod(text_of)


async def _refuse(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {**_NO_STORE, **refused.headers}
    await PlainTextResponse(f"{refused.reason}\n", refused.status, headers)(scope, receive, send)


class MultiStreamMiddleware:
    """`Middleware(MultiStreamMiddleware, manager=manager)`: the manager in front of an app."""

    def __init__(self, app: ASGIApp, manager: MultiStreamManager) -> None:
        self.app = app
        self.manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.manager.handle(self.app, scope, receive, send)


T = TypeVar("T")


def _a(kind: type[T], value: T | None, name: str, *args: Any) -> T:
    if value is None:
        return kind(*args)
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__} or None, not {type(value).__name__}")
    return value


def _broker(value: Broker | str | None, limits: Limits) -> Broker:
    if value is None or value == "memory://":
        return MemoryBroker(max_topics=limits.max_topics)
    if isinstance(value, Broker):
        return value
    if isinstance(value, str):
        raise ValueError(f"broker: no such kind of broker: {value!r}")
    raise TypeError(f"broker must be a Broker, a str or None, not {type(value).__name__}")
