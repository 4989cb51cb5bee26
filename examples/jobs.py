"""Jobs and their state: at most a few at a time, the others in a queue.

Nothing here knows of the web. A `Job` tells `changes`; what is done in it is in `work.py`.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

import anyio
from anyio.abc import TaskGroup

__all__ = ["Job", "JobFailed", "Jobs", "Progress", "Status"]

AT_A_TIME = 3
KEPT = 100
TAIL = 7
LONGEST_LINE = 200
PAUSE = 0.15
"""Seconds between two changes told of one kind: nobody reads faster."""

logger = logging.getLogger("job_dashboard")


class JobFailed(Exception):
    """The work failed for a reason to show; its text is the reason."""


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is done of what there is to do; a total is None as long as it is not known."""

    done: int = 0
    total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    seconds: float = 0.0

    @property
    def fraction(self) -> float | None:
        """The part that is done, 0 to 1, or None while nobody can know."""
        if self.bytes_total:
            return min(1.0, self.bytes_done / self.bytes_total)
        return None if self.total is None else self.done / max(1, self.total)

    @property
    def rate(self) -> float:
        """Bytes per second, since the start."""
        return self.bytes_done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What is left at that rate, or None while it is not known."""
        if self.bytes_total is None or not self.rate:
            return None
        return max(0, self.bytes_total - self.bytes_done) / self.rate


class Job:
    """One piece of work and how far it is. Only the event loop's tasks may call it."""

    def __init__(self, kind: str, target: str, work: Work) -> None:
        # By chance, so that no job of another run of this program has the same id.
        self.id = secrets.token_hex(4)
        self.kind = kind
        self.target = printable(target)
        self.status = Status.QUEUED
        self.result = ""
        self.progress = Progress()
        self._lines: deque[str] = deque(maxlen=TAIL)
        self._work = work
        self._scope = anyio.CancelScope()
        self._changed = anyio.Event()

    @property
    def active(self) -> bool:
        """Whether anything can still change."""
        return self.status in (Status.QUEUED, Status.RUNNING)

    @property
    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self._lines)

    def report(self, progress: Progress, lines: Iterable[str] = ()) -> None:
        """Take over how far the work is, and what it has to say."""
        self.progress = progress
        self._lines.extend(printable(line) for line in lines)
        self._tell()

    async def changes(self, *names: str) -> AsyncGenerator[Job, None]:
        """This job, now and whenever one of these attributes has changed, until it has ended.

        Who reads slowly, or comes late, gets the newest state and misses the ones between.
        """
        seen = None
        while True:
            changed, active = self._changed, self.active
            now = [getattr(self, name) for name in names]
            if now != seen:
                seen = now
                yield self
                if active:
                    await anyio.sleep(PAUSE)
            if not active:
                return
            await changed.wait()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._scope.cancel()

    async def run(self, slots: anyio.Semaphore) -> None:
        """Wait for a slot, do the work, and end, whatever happens."""
        try:
            with self._scope:
                async with slots:
                    self._set(Status.RUNNING)
                    self._set(Status.DONE, await self._work(self))
            if self._scope.cancelled_caught:
                self._set(Status.CANCELLED)
        except JobFailed as failure:
            self._set(Status.FAILED, str(failure))
        except OSError as error:
            name = "" if error.filename is None else f": {error.filename}"
            self._set(Status.FAILED, f"{error.strerror}{name}")
        except Exception:
            logger.exception("%s %s failed", self.kind, self.target)
            self._set(Status.FAILED, "an error in the program, see its log")

    def _set(self, status: Status, result: str = "") -> None:
        self.status, self.result = status, printable(result)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


Work = Callable[[Job], Awaitable[str]]
"""Does the work, reports to its job, and returns the result to show."""


class Jobs:
    """Every job of this program, newest first; beyond `KEPT` the oldest ended ones go."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._slots = anyio.Semaphore(AT_A_TIME)
        self._tasks: TaskGroup | None = None

    def __iter__(self) -> Iterator[Job]:
        return iter(reversed(self._jobs.values()))

    def __getitem__(self, job_id: str) -> Job:
        return self._jobs[job_id]

    def get(self, job_id: str) -> Job | None:
        """The job of that id, if this program knows it."""
        return self._jobs.get(job_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Jobs can be started within this context; those that still run at its end are stopped."""
        async with anyio.create_task_group() as self._tasks:
            yield
            self._tasks.cancel_scope.cancel()

    def start(self, kind: str, target: str, work: Work) -> Job:
        """Begin a job, or queue it."""
        if self._tasks is None:
            raise RuntimeError("jobs can be started within `running()` only")
        if sum(job.active for job in self) >= KEPT:
            work = _refused
        job = Job(kind, target, work)
        self._jobs[job.id] = job
        ended = [job.id for job in self._jobs.values() if not job.active]
        for job_id in ended[: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[job_id]
        self._tasks.start_soon(job.run, self._slots)
        return job

    def remove(self, job: Job) -> None:
        """Forget a job that has ended."""
        if not job.active:
            self._jobs.pop(job.id, None)


async def _refused(job: Job) -> str:
    raise JobFailed(f"{KEPT} jobs wait already")


def printable(line: str) -> str:
    """A line that can be shown: bounded, and without what no page can carry."""
    # What follows the last carriage return is what a terminal would show.
    line = line.rstrip("\r\n").rpartition("\r")[2].expandtabs(4)
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"
