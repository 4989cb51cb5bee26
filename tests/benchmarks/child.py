"""A process that the benchmark starts, asks and ends; what it costs is read from outside (Linux).

It takes commands as lines on stdin and answers each with one JSON object on a line of stdout. It
ends by itself when its stdin is closed, so none outlives the benchmark, whatever ends that.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Child", "check_open_files"]

_ROOT = Path(__file__).parents[2]


class Child:
    """A running `command`; a context manager that ends it."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        # In a session of its own, so that Ctrl-C reaches the benchmark alone.
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self, within: float = 5.0) -> None:
        """End the process: kindly, and after `within` seconds by force."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def tell(self, *words: object) -> None:
        """Give a command; its answer is read later."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `answer` tells that it has ended
            self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())

    def answer(self, within: float) -> Any:
        """The next answer. `RuntimeError` when it ends instead, or takes `within` seconds."""
        stdout = self._process.stdout
        assert stdout is not None
        if not select.select([stdout], [], [], within)[0]:
            raise RuntimeError(f"{self.name} gave no answer within {within:.0f} s")
        # An answer is written at once and shorter than a pipe's buffer: it is there whole.
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended; what it wrote stands above")
        return json.loads(line)

    def ask(self, *words: object, within: float = 10.0) -> Any:
        """`tell`, then `answer`."""
        self.tell(*words)
        return self.answer(within)

    def cpu_seconds(self) -> float:
        """The process's CPU time so far, in user and system mode and over all its threads."""
        # What clock_getcpuclockid(3) gives for a process: /proc/PID/stat with the resolution of a
        # nanosecond instead of a hundredth of a second.
        return time.clock_gettime(~self._process.pid << 3 | 2)

    def rss_kb(self) -> float:
        """The memory of the process that is resident, in KB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def check_open_files(viewers: int) -> None:
    """Raise `ValueError` where a process may not open that many connections."""
    needed = viewers + 64
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        raise ValueError(
            f"{viewers} viewers need {needed} open files per process, and {soft} are allowed:"
            f" run `ulimit -n {needed}` first"
        )
