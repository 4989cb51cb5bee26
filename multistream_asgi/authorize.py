"""The user's check before every topic of a connection: allow, or raise `Refused`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from .errors import Refused
from .events import Topic
from .types import Authorize, Scope

__all__ = ["authorize"]


async def authorize(check: Authorize | None, scope: Scope, topics: Iterable[Topic]) -> None:
    """Ask `check(scope, topic)` for every topic.

    Anything but a true answer is a 403; `check` may raise `Refused` itself for another status. Any
    other exception passes through, and nothing is served.
    """
    if check is None:
        return
    for topic in topics:
        answer = check(scope, topic)
        if not (await answer if inspect.isawaitable(answer) else answer):
            raise Refused(403, "not allowed")
