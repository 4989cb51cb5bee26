"""uvicorn in a process of its own, and clients that read its streams."""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.event_stream import EventStreamParser, Parsed

PATIENCE = 10.0


def until(condition: Callable[[], Any], what: str) -> None:
    """Return when `condition()` is true; fail when it is not within a generous time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.01)


class Server:
    """A running uvicorn and what it has logged."""

    def __init__(self, app: str, *options: str) -> None:
        command = [sys.executable, "-m", "uvicorn", f"tests.server.app:{app}", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # so that workers can be ended with their parent
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = ""
        until(self._started, "uvicorn's address in its log")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def _started(self) -> bool:
        log = "".join(self.log)
        assert self.process.poll() is None, log
        found = re.search(r"running on (http://\S+)", log)
        if found is None:
            return False
        self.url = found[1]
        try:
            self.connect().close()
        except ConnectionRefusedError:  # the address is logged before the workers listen
            return False
        return True

    def connect(self) -> socket.socket:
        """A plain connection to the server."""
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), PATIENCE)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send a signal; return how many seconds it took the process to be gone."""
        before = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        took = time.monotonic() - before
        self._reader.join(PATIENCE)
        return took

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def serving(app: str, *options: str) -> Iterator[Server]:
    server = Server(app, *options)
    try:
        yield server
    finally:
        server.end()


class Client:
    """One open stream, read in a thread of its own and parsed strictly."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._http = http.client.HTTPConnection(parts.netloc, timeout=PATIENCE)
        self._http.request("GET", f"{parts.path}?{parts.query}", headers=headers or {})
        assert self._http.sock is not None
        self.socket = self._http.sock  # http.client lets go of it when the answer ends
        self.response = self._http.getresponse()
        self.parser = EventStreamParser(strict=True)
        self.events: queue.SimpleQueue[Parsed | None] = queue.SimpleQueue()
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            while chunk := self.response.read1(65536):
                for event in self.parser.feed(chunk):
                    self.events.put(event)
            self.parser.close()
        except (OSError, http.client.HTTPException) as error:
            self.error = error
        finally:
            self.events.put(None)

    def next(self) -> Parsed:
        """The next event; the end of the stream is a failure."""
        event = self.events.get(timeout=PATIENCE)
        assert event is not None, f"the stream has ended: {self.error}"
        return event

    def rest(self) -> list[Parsed]:
        """Every event until the stream ends."""
        return list(iter(lambda: self.events.get(timeout=PATIENCE), None))

    def close(self) -> None:
        """Leave, as a browser does that closes its connection."""
        with contextlib.suppress(OSError):  # the server has closed it already
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self.response.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
