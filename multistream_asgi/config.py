"""What can be set, validated when built: streams, their configuration, and every bound."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from .events import Topic, check_text
from .types import DataSource, TransformFn

__all__ = ["Limits", "StreamConfig", "StreamEndpoint"]


def _check_number(value: object, name: str, *, kind: type = float, zero: bool = False) -> None:
    wanted = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "0 or more" if zero else "above 0"
        raise ValueError(f"{name} must be {wanted} {least}, not {value}")


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How one stream behaves. Times are seconds as floats unless the name says otherwise.

    A connection with one topic takes its own stream's settings; a connection with many takes the
    manager's `default_config` for what concerns the connection: heartbeat, timeout, messages,
    retry and rate.
    """

    heartbeat_interval: float | None = 15.0
    """A comment is sent when nothing else was for this long; None sends none."""
    timeout: float | None = None
    """A connection is ended after this long, and its client comes back with its cursor."""
    send_initial_message: bool = True
    initial_message: str = "Connected"
    """The comment in the first bytes of a stream."""
    send_close_message: bool = True
    close_message: str = "Connection closed"
    """The comment before `event: close`."""
    debug: bool = False
    """Log, at INFO, when a source starts and when it is closed."""
    mode: Literal["log", "state"] = field(default="log", kw_only=True)
    """`log`: every event counts. `state`: only the newest does, and a slow viewer skips to it."""
    history: int = field(default=256, kw_only=True)
    """How many events a topic keeps in `log` mode."""
    linger: float | None = field(default=5.0, kw_only=True)
    """How long a source runs on after its last viewer left; None: to its end."""
    final_ttl: float = field(default=300.0, kw_only=True)
    """How long an ended topic, or one that is only published to, is kept when nobody watches."""
    retry_ms: int = field(default=2000, kw_only=True)
    """What clients are told to wait before they reconnect, in milliseconds."""
    max_rate: float | None = field(default=None, kw_only=True)
    """The most writes per second to one viewer; what waits goes out in the next one."""
    shared: bool = field(default=True, kw_only=True)
    """False gives every viewer a run of the source of its own."""
    restarts: int = field(default=0, kw_only=True)
    """How often a failed source is run again before its topic fails."""

    def __post_init__(self) -> None:
        for name in ("heartbeat_interval", "timeout", "max_rate"):
            if getattr(self, name) is not None:
                _check_number(getattr(self, name), name)
        if self.linger is not None:
            _check_number(self.linger, "linger", zero=True)
        _check_number(self.final_ttl, "final_ttl", zero=True)
        _check_number(self.history, "history", kind=int)
        _check_number(self.retry_ms, "retry_ms", kind=int)
        _check_number(self.restarts, "restarts", kind=int, zero=True)
        if self.mode not in ("log", "state"):
            raise ValueError(f"mode must be 'log' or 'state', not {self.mode!r}")
        for name in ("initial_message", "close_message"):
            if any(c in check_text(getattr(self, name), name) for c in "\r\n\0"):
                raise ValueError(f"{name} must be one line")


@dataclass(frozen=True, slots=True)
class StreamEndpoint:
    """One registered stream: where it lies, what produces its data, how a datum is rendered.

    `data_source(entity_id)` may be an async or sync generator function, an async or plain
    function that returns an (async) iterable or a callable that returns one, or None for a stream
    that is only published to. Sync code runs in a thread of its own.

    `transform_fn(data, entity_id=..., final=...)`, sync or async, runs once per event and is
    passed only the keywords it accepts; a sync one runs on the event loop and should be quick.
    What it returns is sent; None means nothing to send.

    `dom_id(entity_id)` names the page element that dialects with targets write to; without it
    that is `<entity>-<stream>`, made safe for CSS.
    """

    name: str
    path_suffix: str
    data_source: DataSource | None = None
    transform_fn: TransformFn | None = None
    config: StreamConfig | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    dom_id: Callable[[str], str] | None = field(default=None, kw_only=True)
    accepts: frozenset[str] = field(init=False, repr=False, compare=False)
    """The keywords of ours that `transform_fn` accepts."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "name", Topic(self.name, "x").stream)
        except (ValueError, TypeError) as error:
            raise type(error)(str(error).replace("stream", "name", 1)) from None
        suffix = check_text(self.path_suffix, "path_suffix")
        if not suffix.strip("/"):
            raise ValueError("path_suffix must not be empty")
        if any(c in "?#%" or c.isspace() or not c.isprintable() for c in suffix):
            raise ValueError(f"path_suffix must be plain path text, not {suffix!r}")
        for name in ("data_source", "transform_fn", "dom_id"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be callable or None, not {type(value).__name__}")
        if self.config is not None and not isinstance(self.config, StreamConfig):
            raise TypeError(
                f"config must be a StreamConfig or None, not {type(self.config).__name__}"
            )
        object.__setattr__(self, "accepts", _accepted(self.transform_fn))


def _accepted(fn: Callable[..., Any] | None) -> frozenset[str]:
    ours = frozenset({"entity_id", "final"})
    try:
        parameters = list(inspect.signature(fn).parameters.values()) if fn is not None else []
    except (ValueError, TypeError):  # some builtins have no signature
        return frozenset()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return ours
    # The first parameter takes the datum, whatever its name.
    return ours & {
        p.name
        for position, p in enumerate(parameters)
        if p.kind is p.KEYWORD_ONLY or (p.kind is p.POSITIONAL_OR_KEYWORD and position > 0)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound, in one place. None turns a bound off. Times are seconds as floats."""

    max_viewers: int | None = 10_000
    """Open connections in this process; one more is told to come back later."""
    max_topics: int | None = 100_000
    """Topics kept in this process; ended ones that nobody watches make room first."""
    max_topics_per_viewer: int | None = 1_000
    max_id_chars: int | None = 256
    """Characters in an entity id."""
    max_query_bytes: int | None = 65_536
    max_event_bytes: int | None = 1_048_576
    """UTF-8 bytes of one event's data; more is a `ValueError` at the publisher."""
    max_log_bytes: int | None = 4_194_304
    """UTF-8 bytes of data one topic keeps, beside `StreamConfig.history`."""
    max_send_bytes: int | None = 1_048_576
    """Bytes joined into one write; it always carries at least one whole event."""
    send_timeout: float | None = 30.0
    """A viewer that does not take a write for this long is dropped."""
    source_close_timeout: float | None = 5.0
    """How long a source may take to close before it is left behind with a warning."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None:
                _check_number(value, f.name, kind=int if f.name.startswith("max_") else float)
