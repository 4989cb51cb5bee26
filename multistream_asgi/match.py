"""Scope -> the topics, cursor and dialect a request asks for. Pure; nothing here awaits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import parse_qsl, quote, urlencode

from .config import Limits, StreamEndpoint
from .errors import Refused
from .events import Topic, check_text
from .types import Dialect, Scope

__all__ = ["Match", "Routes"]

_DIALECTS: tuple[Dialect, ...] = get_args(Dialect)


@dataclass(frozen=True, slots=True)
class Match:
    """What a request asks for. `after` is the cursor's text as sent; it may be anything."""

    topics: tuple[Topic, ...]
    many: bool
    after: str | None
    dialect: Dialect


class Routes:
    """The registered streams under one base path."""

    def __init__(self, base_path: str) -> None:
        check_text(base_path, "base_path")
        if base_path and not base_path.startswith("/"):
            raise ValueError(f"base_path must start with a slash, not {base_path!r}")
        if any(c in "?#%" or c.isspace() or not c.isprintable() for c in base_path):
            raise ValueError(f"base_path must be plain path text, not {base_path!r}")
        self.base_path = base_path
        self._base = base_path.rstrip("/")
        self.endpoints: dict[str, StreamEndpoint] = {}
        self._by_rest: dict[str, StreamEndpoint] = {}

    def add(self, endpoint: StreamEndpoint) -> None:
        """Register a stream. A duplicate name or suffix is a `ValueError`."""
        if endpoint.name in self.endpoints:
            raise ValueError(f"name: a stream {endpoint.name!r} is registered already")
        suffix = endpoint.path_suffix.rstrip("/")
        forms = {suffix, "/" + suffix.lstrip("/")}
        for form in forms:
            if form in self._by_rest:
                raise ValueError(
                    f"path_suffix: {endpoint.path_suffix!r} is that of {self._by_rest[form].name!r}"
                )
        self.endpoints[endpoint.name] = endpoint
        self._by_rest.update(dict.fromkeys(forms, endpoint))

    def path_of(self, endpoint: StreamEndpoint) -> str:
        """Where a stream lies: base path and suffix, put together as they are."""
        base, suffix = self.base_path, endpoint.path_suffix
        return (
            base[:-1] + suffix if base.endswith("/") and suffix.startswith("/") else base + suffix
        )

    def find(self, scope: Scope) -> StreamEndpoint | bool:
        """The stream whose path this is, True for the base path itself, False for neither.

        The full path and the path below `root_path` are both tried, so that a manager works
        mounted and wrapped alike.
        """
        path: str = scope["path"]
        root: str = scope.get("root_path", "").rstrip("/")
        found = self._find(path)
        if found is False and root and path.startswith(root):
            # A mount adds its own path to the server's root path, so that may end at any slash.
            cut = len(root)
            while found is False and cut > 0:
                found = self._find(path[cut:])
                cut = root.rfind("/", 0, cut)
        return found

    def _find(self, path: str) -> StreamEndpoint | bool:
        if not path.startswith(self._base):
            return False
        rest = path[len(self._base) :].removesuffix("/")
        return True if not rest else self._by_rest.get(rest, False)

    def match(self, found: StreamEndpoint | bool, scope: Scope, limits: Limits) -> Match:
        """What a request to one stream, or with True to many, asks for.

        Raises `Refused` for a method, an id, a stream name or a dialect that cannot be served. A
        cursor is never refused here.
        """
        if scope["method"] not in ("GET", "HEAD"):
            raise Refused(405, "only GET and HEAD", headers={"allow": "GET, HEAD"})
        query = _query(scope, limits)
        headers = _headers(scope)
        ids = query.get("id", [])
        if not ids:
            raise Refused(400, "id is missing")
        if isinstance(found, StreamEndpoint):
            if len(ids) > 1:
                raise Refused(400, "this path takes one id")
            streams = [found.name]
        else:
            streams = query.get("stream") or list(self.endpoints)
            if not streams or not self.endpoints.keys() >= set(streams):
                raise Refused(404, "no such stream")
        after = headers.get(b"last-event-id", b"").decode("latin-1") or query.get("after", [""])[-1]
        return Match(
            topics=_topics(ids, streams, limits),
            many=found is True,
            after=after or None,
            dialect=_dialect(query.get("dialect"), headers),
        )

    def url(
        self,
        ids: str | Iterable[str],
        streams: str | Iterable[str] | None,
        *,
        after: str | None,
        dialect: Dialect | None,
        root_path: str,
    ) -> str:
        """The address that `match` reads back; see `MultiStreamManager.url`."""
        wanted = [] if streams is None else [streams] if isinstance(streams, str) else list(streams)
        for name in wanted:
            if name not in self.endpoints:
                raise ValueError(f"streams: no stream {name!r} is registered")
        if streams is not None and not wanted:
            raise ValueError("streams must not be empty; None asks for all")
        if not isinstance(ids, Iterable):
            raise TypeError(f"ids must be a str or several, not {type(ids).__name__}")
        single = isinstance(ids, str) and isinstance(streams, str)
        entity_ids = [ids] if isinstance(ids, str) else list(ids)
        if not entity_ids:
            raise ValueError("ids must not be empty")
        query = [("id", Topic("x", entity_id).entity_id) for entity_id in entity_ids]
        path = self.base_path or "/"
        if single:
            path = self.path_of(self.endpoints[wanted[0]])
        else:
            query += [("stream", self.endpoints[name].name) for name in wanted]
        if after is not None:
            query.append(("after", after))
        if dialect is not None:
            if dialect not in _DIALECTS:
                raise ValueError(f"dialect must be one of {_DIALECTS}, not {dialect!r}")
            query.append(("dialect", dialect))
        return (
            f"{quote(root_path + path, safe='/~:@!$&()*+,;=')}?{urlencode(query, quote_via=quote)}"
        )


def _query(scope: Scope, limits: Limits) -> Mapping[str, list[str]]:
    raw: bytes = scope.get("query_string", b"")
    if limits.max_query_bytes is not None and len(raw) > limits.max_query_bytes:
        raise Refused(400, "the query is too long")
    query: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(raw.decode(), keep_blank_values=True, errors="strict"):
            query.setdefault(name, []).append(value)
    except ValueError:  # UnicodeDecodeError is one
        raise Refused(400, "the query is malformed") from None
    return query


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in scope.get("headers", ())}


def _topics(ids: list[str], streams: list[str], limits: Limits) -> tuple[Topic, ...]:
    ids, streams = list(dict.fromkeys(ids)), list(dict.fromkeys(streams))
    if limits.max_topics_per_viewer is not None and (
        len(ids) * len(streams) > limits.max_topics_per_viewer
    ):
        raise Refused(400, "too many topics for one connection")
    for entity_id in ids:
        if limits.max_id_chars is not None and len(entity_id) > limits.max_id_chars:
            raise Refused(400, "id is too long")
    try:
        return tuple(Topic(stream, entity_id) for entity_id in ids for stream in streams)
    except ValueError:
        raise Refused(400, "id is malformed") from None


def _dialect(asked: list[str] | None, headers: Mapping[bytes, Any]) -> Dialect:
    if asked:
        for dialect in _DIALECTS:
            if asked[-1] == dialect:
                return dialect
        raise Refused(400, "no such dialect")
    if headers.get(b"hx-request") == b"true":
        return "htmx4"
    if headers.get(b"datastar-request") == b"true":
        return "datastar"
    return "events"
