"""Type aliases shared by every layer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "ASGIApp",
    "Authorize",
    "DataSource",
    "Dialect",
    "Ends",
    "GetEntity",
    "IsActive",
    "Message",
    "Receive",
    "ResetReason",
    "Scope",
    "Send",
    "TransformFn",
]

Dialect = Literal["events", "htmx4", "datastar"]
"""How frames are written for a kind of client."""

Ends = Literal["done", "failed", "inactive"]
"""Why a topic ended: by its source or by `finish`, by a failure, or because its entity was found
inactive. An `inactive` topic starts anew when its entity becomes active again."""

ResetReason = Literal["epoch", "gap", "unknown", "lag"]

DataSource = Callable[..., Any]
TransformFn = Callable[..., Any]
GetEntity = Callable[[str], Any]
IsActive = Callable[[Any], Any]
Authorize = Callable[[MutableMapping[str, Any], Any], bool | Awaitable[bool]]
