"""The load generator: `python -m tests.benchmarks.load`. Many viewers that only count events.

Raw sockets and epoll, so that it costs a fraction of what a server does. Its commands (see
`child`), each answered with how things stand:

    connect PORT PATH COUNT   open COUNT more viewers and wait for each one's headers
    count EVENTS SECONDS      read until every viewer has got EVENTS in all, at most for SECONDS
    close                     close all of them, and begin anew
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from .events import MARKER

_BATCH = 200  # connections opened before the server's answers are awaited
_CONNECT_SECONDS = 20.0
_TAIL = len(MARKER) - 1
_PAUSE = 0.002
# Between looks at the sockets. Were the generator asleep in `epoll` instead, each write that finds
# it asleep would wake it, and on loopback the server pays for that: the slower the server, the
# more often, so the comparison would be of how well a server keeps the generator awake.


class Viewer:
    """One connection, and how many events came over it."""

    __slots__ = ("answered", "events", "socket", "tail")

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _CONNECT_SECONDS)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self.socket.setblocking(False)
        self.answered = False
        self.events = 0
        self.tail = b""


class Viewers:
    """All connections, read by one loop."""

    def __init__(self) -> None:
        self._viewers: dict[int, Viewer] = {}
        self._epoll = select.epoll()
        self._answered = 0
        self._closed = 0
        self._bytes = 0
        self._wanted = 0
        self._lacking = 0  # viewers with fewer events than `_wanted`

    def connect(self, port: int, path: str, count: int) -> None:
        """Open `count` viewers, in batches that no server's backlog is too short for."""
        until = time.monotonic() + _CONNECT_SECONDS
        for opened in range(0, count, _BATCH):
            for _ in range(min(count - opened, _BATCH)):
                viewer = Viewer(port, path)
                fd = viewer.socket.fileno()
                self._viewers[fd] = viewer
                self._epoll.register(fd, select.EPOLLIN)
            while self._answered < len(self._viewers) and self._read_some(until):
                pass

    def count(self, events: int, seconds: float) -> None:
        """Read until every viewer has got `events`, or `seconds` have passed."""
        until = time.monotonic() + seconds
        self._wanted = events
        self._lacking = sum(viewer.events < events for viewer in self._viewers.values())
        while self._lacking and self._read_some(until):
            pass

    def _read_some(self, until: float) -> bool:
        """Count what has come; False when time is over or all connections are closed."""
        left = until - time.monotonic()
        if left <= 0 or self._closed == len(self._viewers):
            return False
        time.sleep(min(left, _PAUSE))
        for fd, _ in self._epoll.poll(0):
            viewer = self._viewers[fd]
            try:
                chunk = viewer.socket.recv(65536)
            except ConnectionError:
                chunk = b""
            if chunk:
                self._take(viewer, chunk)
            else:
                self._epoll.unregister(fd)
                self._closed += 1
        return True

    def _take(self, viewer: Viewer, chunk: bytes) -> None:
        if not viewer.answered and chunk.startswith(b"HTTP/1.1 200 "):
            viewer.answered = True
            self._answered += 1
        self._bytes += len(chunk)
        seen = viewer.tail + chunk
        viewer.tail = seen[-_TAIL:]  # too short to hold a marker that was counted
        before = viewer.events
        viewer.events += seen.count(MARKER)
        if before < self._wanted <= viewer.events:
            self._lacking -= 1

    def close(self) -> None:
        """Close every connection."""
        for viewer in self._viewers.values():
            viewer.socket.close()
        self._epoll.close()

    def state(self) -> dict[str, int]:
        """How things stand; `lost` and `surplus` against what was wanted for every viewer."""
        events = [viewer.events for viewer in self._viewers.values()]
        return {
            "answered": self._answered,
            "closed": self._closed,
            "bytes": self._bytes,
            "events": sum(events),
            "lost": sum(max(0, self._wanted - got) for got in events),
            "surplus": sum(max(0, got - self._wanted) for got in events),
        }


def main() -> None:
    """Obey until stdin is closed."""
    viewers = Viewers()
    for line in sys.stdin:
        match line.split():
            case ["connect", port, path, count]:
                viewers.connect(int(port), path, int(count))
            case ["count", events, seconds]:
                viewers.count(int(events), float(seconds))
            case _:
                viewers.close()
                viewers = Viewers()
        print(json.dumps(viewers.state()), flush=True)


if __name__ == "__main__":
    main()
