"""The events of a benchmark: how a server writes them, and by what a client counts them."""

from __future__ import annotations

__all__ = ["LEAST_BYTES", "MARKER", "data"]

MARKER = b"data: event "
"""Stands once in every event's frame and in nothing else that a server sends."""

LEAST_BYTES = 16


def data(number: int, size: int) -> str:
    """An event's data: `size` bytes of ASCII, on one line."""
    return f"event {number:08d} ".ljust(size, "x")
