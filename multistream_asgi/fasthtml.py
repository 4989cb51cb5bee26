"""Markup and mounting for FastHTML and htmx 2; no stream logic.

    from multistream_asgi.fasthtml import MultiStreamManager, StreamEndpoint

Here text is text: a `str`, `bytes` or JSON that a source yields or `transform_fn` returns is
escaped, as FastHTML does with text, unless it is marked safe (`Safe`, `NotStr`, anything with
`__html__`). Elements, and lists of them, are written as their markup.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Self

from fastcore.basics import NotStr
from fastcore.xml import FT, to_xml
from fasthtml.common import Div, Span
from fasthtml.xtend import Fragment
from starlette.requests import Request
from starlette.responses import Response

from .app import MultiStreamManager as _Manager
from .config import StreamConfig, StreamEndpoint
from .connections import ConnectionRegistry
from .entities import Entities
from .events import Cursor, Topic, is_server_sent_event, text_of
from .frames import dom_id
from .types import GetEntity, IsActive, Receive, Scope, Send

__all__ = [
    "ConnectionRegistry",
    "MultiStreamManager",
    "OOBStreamBuilder",
    "StreamConfig",
    "StreamEndpoint",
    "create_multi_stream_row",
]

Handler = Callable[[Request], Awaitable[Response]]
Wrapper = Callable[..., Any]


class MultiStreamManager(_Manager):
    """`multistream_asgi.MultiStreamManager` with elements, handlers and routes for FastHTML.

    Wrap the app with it (`manager.wrap(app)`), or let `setup_routes` add routes to the app, behind
    whose middleware and beforeware the streams then lie.
    """

    _routed: tuple[tuple[Any, Entities], ...] = ()

    # Elements

    def create_element(
        self,
        entity_id: object,
        stream_name: str,
        element_id: str | None = None,
        wrapper: Wrapper | None = None,
        **attrs: Any,
    ) -> Any:
        """An element with a connection of its own, which shows one topic.

        A browser has six connections per origin over HTTP/1.1: for more than a few elements use
        `create_connection` and `create_cell`. `attrs` are added, and win. An unknown stream is a
        `ValueError`.
        """
        endpoint = self._endpoint(stream_name)
        given = {
            "hx_ext": "sse",
            "sse_connect": self.url(str(entity_id), endpoint.name),
            "sse_swap": "message",
            "sse_close": "close",
        }
        if element_id:
            given["id"] = element_id
        return (wrapper or Span)(**{**given, **attrs})

    def create_connection(
        self,
        entity_ids: Iterable[object],
        *children: Any,
        streams: str | Iterable[str] | None = None,
        after: Cursor | str | None = None,
        root_path: str = "",
        wrapper: Wrapper | None = None,
        **attrs: Any,
    ) -> Any:
        """An element with ONE connection for all the `streams` (default: every one) of entities.

        The cells among its `children`, however deep, show their topics out of it. It opens no
        connection where there is no entity.
        """
        ids = [str(entity_id) for entity_id in entity_ids]
        given = {}
        if ids:
            names = [streams] if isinstance(streams, str) else streams
            given = {
                "hx_ext": "sse",
                "sse_connect": self.url(ids, names, after=after, root_path=root_path),
                "sse_close": "close",
            }
        return (wrapper or Div)(*children, **{**given, **attrs})

    def create_cell(
        self,
        entity_id: object,
        stream_name: str,
        *content: Any,
        wrapper: Wrapper | None = None,
        active: bool = True,
        **attrs: Any,
    ) -> Any:
        """An element that shows one topic of the connection it lies in, `content` until then.

        Its id is the topic's, `<entity>-<stream>`, unless `attrs` say otherwise. With
        `active=False` it is the same element for an entity that has ended, and stays as it is.
        """
        given = {"id": self.dom_id(entity_id, stream_name)}
        if active:
            given["sse_swap"] = str(Topic(stream_name, str(entity_id)))
        return (wrapper or Span)(*content, **{**given, **attrs})

    def _endpoint(self, stream_name: str) -> StreamEndpoint:
        endpoint = self.endpoints.get(stream_name)
        if endpoint is None:
            raise ValueError(f"Unknown stream: {stream_name}")
        return endpoint

    def dom_id(self, entity_id: object, stream_name: str) -> str:
        """The id of the element that shows a topic. An unknown stream is a `ValueError`."""
        endpoint = self._endpoint(stream_name)
        topic = Topic(endpoint.name, str(entity_id))
        return endpoint.dom_id(topic.entity_id) if endpoint.dom_id else dom_id(topic)

    # Routes

    def create_handler(
        self,
        stream_name: str,
        get_entity_fn: GetEntity | None = None,
        is_active_fn: IsActive | None = None,
    ) -> Handler:
        """A route handler that serves one stream, under whatever path it is registered.

        Without the functions, the manager's own are asked.
        """
        endpoint = self._endpoint(stream_name)
        return self._handler(endpoint, self._entities_of(get_entity_fn, is_active_fn))

    def setup_routes(
        self,
        app: Any,
        get_entity_fn: GetEntity | None = None,
        is_active_fn: IsActive | None = None,
    ) -> None:
        """Add a route per stream, and one for many topics, to a FastHTML or Starlette app.

        A stream registered later gets its route then.
        """
        entities = self._entities_of(get_entity_fn, is_active_fn)
        self._routed = (*self._routed, (app, entities))
        self._add_route(app, self.base_path or "/", self._handler(True, entities))
        for endpoint in self.endpoints.values():
            self._route(app, endpoint, entities)

    def register_endpoint(self, endpoint: StreamEndpoint) -> Self:
        super().register_endpoint(endpoint)
        for app, entities in self._routed:
            self._route(app, endpoint, entities)
        return self

    def _entities_of(self, get_entity: GetEntity | None, is_active: IsActive | None) -> Entities:
        return self._entities if get_entity is None else Entities(get_entity, is_active)

    def _route(self, app: Any, endpoint: StreamEndpoint, entities: Entities) -> None:
        self._add_route(app, self._routes.path_of(endpoint), self._handler(endpoint, entities))

    @staticmethod
    def _add_route(app: Any, path: str, handler: Handler) -> None:
        app.route(path, methods=["GET", "HEAD"])(handler)

    def _handler(self, found: StreamEndpoint | bool, entities: Entities) -> Handler:
        async def handler(request: Request) -> Response:
            return _Stream(self, found, entities)

        return handler

    @staticmethod
    def render(data: Any) -> tuple[str, str | None]:
        """The markup of a datum, text escaped, and the event name it asks for."""
        if is_server_sent_event(data):
            text = "" if data.data is None else MultiStreamManager.render(data.data)[0]
            return text, text_of(data)[1]
        if isinstance(data, list | tuple) and all(
            isinstance(item, str | NotStr) or hasattr(item, "__html__") for item in data
        ):
            return str(to_xml(tuple(data), indent=False)), None
        if isinstance(data, NotStr):
            return text_of(str(data))
        if hasattr(data, "__ft__"):
            return str(to_xml(data, indent=False)), None
        text, name = text_of(data)
        return (text if hasattr(data, "__html__") else escape(text, quote=False)), name


class _Stream(Response):
    """A response that lets the manager answer."""

    def __init__(
        self, manager: MultiStreamManager, found: StreamEndpoint | bool, entities: Entities
    ) -> None:
        super().__init__()
        self._manager, self._found, self._entities = manager, found, entities

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._manager.answer(self._found, self._entities, scope, receive, send)


def create_multi_stream_row(
    manager: MultiStreamManager,
    entity_id: object,
    streams: Sequence[Mapping[str, Any]],
    row_builder: Callable[[Any, dict[str, Any]], Any],
    active: bool = True,
    *,
    one_connection: bool = False,
) -> Any:
    """A row with an element per stream, built by `row_builder(entity_id, elements)`.

    Each of `streams` has a `name`, and may have `cell_id`, `initial_content`, `wrapper` and
    `active`. Inactive streams become plain elements with the same id and content. With
    `one_connection` the elements are cells of the `create_connection` the row lies in; without,
    each opens a connection of its own.
    """
    elements = {}
    for stream in streams:
        name, live = stream["name"], active and stream.get("active", True)
        content = stream.get("initial_content")
        children = () if content is None else tuple(content if _many(content) else [content])
        wrapper = stream.get("wrapper")
        own = {"id": stream["cell_id"]} if stream.get("cell_id") else {}
        cell = manager.create_cell(
            entity_id, name, *children, wrapper=wrapper, active=live and one_connection, **own
        )
        if live and not one_connection:
            element = manager.create_element(
                entity_id, name, own.get("id") or manager.dom_id(entity_id, name), wrapper
            )
            cell = element(*children) if children else element
        elements[name] = cell
    return row_builder(entity_id, elements)


def _many(content: Any) -> bool:
    return isinstance(content, list | tuple)


class OOBStreamBuilder:
    """Collects elements that htmx swaps into other places of the page than the event's own."""

    def __init__(self) -> None:
        self.elements: list[Any] = []

    def add_element(
        self,
        element: Any,
        target_id: str | None = None,
        swap_mode: str = "innerHTML",
        wrap: bool = True,
    ) -> Self:
        """Add an element, for the page element `target_id` where one is named.

        It is wrapped in a `Div` that carries the swap, except for `outerHTML` or with
        `wrap=False`: then the element itself carries it, which must be one with attributes.
        """
        if target_id is None:
            self.elements.append(element)
        elif wrap and swap_mode != "outerHTML":
            self.elements.append(Div(element, id=target_id, hx_swap_oob=swap_mode))
        elif isinstance(element, FT):
            attrs = {**element.attrs, "id": target_id, "hx-swap-oob": swap_mode}
            self.elements.append(FT(element.tag, element.children, attrs, element.void_))
        else:
            raise TypeError(f"element must be an FT to carry a swap, not {type(element).__name__}")
        return self

    def add_elements(self, elements: Iterable[Any]) -> Self:
        """Add several: each an element, or a tuple of `add_element`'s arguments."""
        for item in elements:
            if isinstance(item, tuple):
                self.add_element(*item)
            else:
                self.add_element(item)
        return self

    def build(self) -> Any:
        """All elements side by side, as one element without a tag of its own."""
        return Fragment(*self.elements)

    def clear(self) -> Self:
        """Forget all elements."""
        self.elements = []
        return self
