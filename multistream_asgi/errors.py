"""The errors of this package.

    MultiStreamError
    ├── Refused       a request is not served; carries the status and a one-line reason
    └── TopicEnded    an event was published to a topic that has had its final event

A wrong argument is a `ValueError` or `TypeError` that names it, raised at the call.
"""

from __future__ import annotations

__all__ = ["MultiStreamError", "Refused", "TopicEnded"]


class MultiStreamError(Exception):
    """The base of every error that is not a wrong argument."""


class Refused(MultiStreamError):
    """A request is answered with `status` and `reason` before any stream starts.

    An `authorize` callable may raise it, for example `Refused(401, "log in first")`; `reason` is
    sent to the client as it stands, so nothing secret belongs in it.
    """

    def __init__(self, status: int, reason: str, *, headers: dict[str, str] | None = None) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"status must be an HTTP error status, not {status}")
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


class TopicEnded(MultiStreamError):
    """The topic has had its final event, and takes no more until it has been forgotten."""
