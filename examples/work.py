"""What jobs do: checksum every file below a directory, zip it, run a command.

Files are read in worker threads and commands run as subprocesses: the event loop stays free.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import shlex
import signal
import stat
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
from anyio import from_thread, to_thread
from anyio.abc import Process

from jobs import LONGEST_LINE, Job, JobFailed, Progress, Work

__all__ = ["checksum", "command", "zip_up"]

CHUNK = 1 << 17
REPORT_EVERY = 0.05
PATIENCE = 1.0
"""Seconds a cancelled command has to end by itself."""


class Meter:
    """Counts in a worker thread, and reports to the job in its event loop now and then."""

    def __init__(self, job: Job, bytes_per_second: float | None) -> None:
        self.progress = Progress()
        self._job = job
        self._most = bytes_per_second
        self._lines: list[str] = []
        self._started = self._reported = time.monotonic()

    def count(self, *, files: int = 0, size: int = 0, line: str = "") -> None:
        """Note what has been done; raises where the job is cancelled."""
        from_thread.check_cancelled()
        progress = self.progress
        self.progress = replace(
            progress, done=progress.done + files, bytes_done=progress.bytes_done + size
        )
        if line:
            self._lines.append(line)
        if time.monotonic() - self._reported >= REPORT_EVERY:
            self.report()
        if self._most is not None:
            self._wait_until(self._started + self.progress.bytes_done / self._most)

    def begin(self, files: list[tuple[Path, int]]) -> None:
        """Know the totals; the time counts from now on."""
        size = sum(size for _, size in files)
        self.progress = Progress(total=len(files), bytes_total=size)
        self._started = time.monotonic()
        self.report()

    def report(self) -> None:
        """Tell the job. `count` does so too, but not each time."""
        self._reported = time.monotonic()
        self.progress = replace(self.progress, seconds=self._reported - self._started)
        from_thread.run_sync(self._job.report, self.progress, self._lines)
        self._lines = []

    def _wait_until(self, when: float) -> None:
        while (left := when - time.monotonic()) > 0:
            time.sleep(min(left, REPORT_EVERY))
            from_thread.check_cancelled()


def _in_thread(
    work: Callable[[str, Meter], str], directory: str, bytes_per_second: float | None
) -> Work:
    async def run(job: Job) -> str:
        return await to_thread.run_sync(work, directory, Meter(job, bytes_per_second))

    return run


def checksum(directory: str, bytes_per_second: float | None = None) -> Work:
    """The SHA-256 of every file below a directory, and of the list of them."""
    return _in_thread(_checksum, directory, bytes_per_second)


def _checksum(directory: str, meter: Meter) -> str:
    files = _files(directory, meter)
    whole = hashlib.sha256()
    for path, _ in files:
        digest = hashlib.sha256()
        for chunk in _chunks(path):
            digest.update(chunk)
            meter.count(size=len(chunk))
        name = os.path.relpath(path, directory)
        # The format of `sha256sum`, so that anyone can check the result.
        whole.update(f"{digest.hexdigest()}  {name}\n".encode(errors="surrogateescape"))
        meter.count(files=1, line=f"{digest.hexdigest()[:12]}  {name}")
    meter.count(line="sha256 of this list:")
    meter.count(line=whole.hexdigest())
    meter.report()
    return f"{_files_of(meter)}, sha256 {whole.hexdigest()[:12]}…"


def zip_up(directory: str, bytes_per_second: float | None = None) -> Work:
    """A zip archive of a directory, in a temporary file that is gone when the job is."""
    return _in_thread(_zip_up, directory, bytes_per_second)


def _zip_up(directory: str, meter: Meter) -> str:
    files = _files(directory, meter)
    with tempfile.TemporaryFile() as archive:
        with zipfile.ZipFile(archive, "w") as into:
            for path, size in files:
                name = os.path.relpath(path, directory)
                # A name on disk is any bytes; one in an archive has to be text.
                named = name.encode(errors="replace").decode()
                entry = zipfile.ZipInfo.from_file(path, named, strict_timestamps=False)
                entry.compress_type = zipfile.ZIP_DEFLATED
                with into.open(entry, "w") as target:
                    for chunk in _chunks(path):
                        target.write(chunk)
                        meter.count(size=len(chunk))
                part = f"{entry.compress_size / size:4.0%}" if size else "   -"
                meter.count(files=1, line=f"{part}  {name}")
        meter.report()
        return f"{_files_of(meter)}, archive of {archive.tell() / 1e6:,.1f} MB"


def _files(directory: str, meter: Meter) -> list[tuple[Path, int]]:
    """The regular files below a directory, in order, with their sizes; on its file system only."""
    top = Path(directory).expanduser()
    if not top.is_dir():
        raise JobFailed(f"no such directory: {directory}")
    device = top.stat().st_dev
    found = []
    for folder, folders, names in os.walk(top, onerror=_fail):
        folders[:] = sorted(name for name in folders if Path(folder, name).lstat().st_dev == device)
        for name in sorted(names):
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append((path, status.st_size))
                meter.count(files=1)
    meter.begin(found)
    return found


def _fail(error: OSError) -> None:
    raise error


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _files_of(meter: Meter) -> str:
    done = meter.progress.done
    return "1 file" if done == 1 else f"{done:,} files"


def command(line: str) -> Work:
    """A command, without a shell, and its output; cancelled, it is ended with its children."""

    async def run(job: Job) -> str:
        try:
            arguments = shlex.split(line)
        except ValueError as error:
            raise JobFailed(f"cannot be read: {error}") from None
        if not arguments:
            raise JobFailed("no command")
        try:
            process = await anyio.open_process(
                arguments,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a process group: its children can be ended with it
            )
        except OSError as error:  # uvloop's does not name the file
            raise JobFailed(f"{error.strerror}: {arguments[0]}") from None
        try:
            await _read(process, job)
            code = await process.wait()
        except BaseException:
            await _end(process)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await process.aclose()
        if code < 0:
            raise JobFailed(f"ended by {signal.Signals(-code).name}")
        if code > 0:
            raise JobFailed(f"exit code {code}")
        return "exit code 0"

    return run


async def _read(process: Process, job: Job) -> None:
    assert process.stdout is not None
    started = time.monotonic()
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    partial, lines, size = "", 0, 0
    async for chunk in process.stdout:
        *whole, partial = (partial + decode(chunk)).split("\n")
        partial = partial[-LONGEST_LINE:]
        lines, size = lines + len(whole), size + len(chunk)
        seconds = time.monotonic() - started
        job.report(Progress(done=lines, bytes_done=size, seconds=seconds), whole)
    rest = [partial] if partial else []
    job.report(Progress(lines + len(rest), None, size, None, time.monotonic() - started), rest)


async def _end(process: Process) -> None:
    """End a command with all its children, also where it has left only them behind."""
    with anyio.CancelScope(shield=True):
        _signal(process, signal.SIGTERM)
        with anyio.move_on_after(PATIENCE):
            await process.wait()
        _signal(process, signal.SIGKILL)


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
