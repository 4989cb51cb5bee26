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

    Anything but True is a 403, what a check forgot to return and a response it returned as well;
    it may raise `Refused` for another status. Any other exception passes through, and nothing is
    served.
    """
    if check is None:
        return
    for topic in topics:
        answer = check(scope, topic)
        if (await answer if inspect.isawaitable(answer) else answer) is not True:
            raise Refused(403, "not allowed")
