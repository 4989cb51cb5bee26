"""The ASGI apps that are compared: one module each, with `make()`, imported only where it runs.

An app fans every event out to all its viewers. What is equal for all of them lies in `..serve`.
"""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from starlette.types import ASGIApp

__all__ = ["APPS", "App", "make"]

APPS = {
    "bare": "bare",
    "multistream_asgi": "multistream",
    "sse-starlette": "queues",
}
"""The module of each app, by the name that options and tables show."""


class App(Protocol):
    """A server's app, with one topic."""

    @property
    def asgi(self) -> ASGIApp:
        """What uvicorn serves; with nothing around it, for every await through it costs time."""

    @property
    def path(self) -> str:
        """Where a viewer connects."""

    @property
    def viewers(self) -> int:
        """How many viewers an event would now go to."""

    async def publish(self, data: str) -> None:
        """Publish one event, as a task of the server's own would."""


def make(name: str) -> App:
    """The app of that name; no other app's library is imported."""
    module = importlib.import_module(f".{APPS[name]}", __package__)
    return cast(App, module.make())
