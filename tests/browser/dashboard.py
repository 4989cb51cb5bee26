"""The example in a process of its own, and what a browser shows of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Locator, Page, Request, expect

EXAMPLE = Path(__file__).parents[2] / "examples" / "job_dashboard.py"
RETRY_MS = 100
PATIENCE = 20.0


class Server:
    """A running dashboard, with `stop` and `start` at the same address."""

    def __init__(self, htmx_dir: Path, directory: Path) -> None:
        self._environment = {
            **os.environ,
            "HTMX_DIR": str(htmx_dir),
            "RETRY_MS": str(RETRY_MS),
            "TMPDIR": str(directory),
        }
        self.directory = directory
        self.port = 0
        self.url = ""
        self.log = ""
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, EXAMPLE, "--port", str(self.port)],
            env=self._environment,
            cwd=self.directory,
            stderr=subprocess.PIPE,
            text=True,
        )
        started = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(started,))
        self._reader.start()
        assert started.wait(PATIENCE) and self._process.poll() is None, self.log

    def _read(self, started: threading.Event) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log += line
            if found := re.search(r"running on (http://\S+:(\d+))", line):
                self.url, self.port = found[1], int(found[2])
                started.set()
        started.set()

    def clear(self) -> None:
        """Cancel and remove every job; a server that was stopped and left so is started."""
        if self._process.poll() is not None:
            return self.start()
        deadline = time.monotonic() + PATIENCE
        with httpx.Client(base_url=self.url) as client:
            while buttons := re.findall(r'hx-post="(/jobs/\w+/\w+)"', client.get("/").text):
                assert time.monotonic() < deadline, buttons
                for button in buttons:
                    client.post(button)

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()


class Dashboard:
    """A page of the dashboard, and every request it has made."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.open: set[Request] = set()
        self.errors: list[str] = []
        page.on("request", self._request)
        page.on("requestfinished", self._ended)
        page.on("requestfailed", self._ended)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)

    def _request(self, request: Request) -> None:
        self.requests.append(request)
        if request.resource_type == "eventsource":
            self.open.add(request)

    def _ended(self, request: Request) -> None:
        self.open.discard(request)

    @property
    def rows(self) -> Locator:
        return self.page.locator("tbody tr")

    def start(
        self,
        kind: str,
        target: str | Path,
        megabytes_per_second: float | None = None,
        *,
        rows: int | None = None,
    ) -> Row:
        """Start a job as a person does; its row comes first, before `rows` that stay."""
        if rows is None:
            rows = self.rows.count()
        self.page.get_by_role("combobox", name="Job").select_option(kind)
        name = "Command" if kind == "command" else "Directory"
        self.page.get_by_role("textbox", name=name).fill(str(target))
        if kind != "command":
            rate = "" if megabytes_per_second is None else f"{megabytes_per_second:.6f}"
            self.page.get_by_role("spinbutton", name="MB/s").fill(rate)
        self.page.get_by_role("button", name="Start", exact=True).click()
        expect(self.rows).to_have_count(rows + 1)
        return self.row(0)

    def row(self, number: int) -> Row:
        """A row, which stays the same job's wherever it moves."""
        cell_id = self.rows.nth(number).locator("td.status").get_attribute("id")
        assert cell_id is not None
        return Row(self.page, cell_id.removesuffix("-status"))

    def until_open(self, streams: int) -> None:
        """Return when so many event streams are open."""
        deadline = time.monotonic() + PATIENCE
        while len(self.open) != streams:
            assert time.monotonic() < deadline, f"{len(self.open)} streams are open"
            self.page.wait_for_timeout(10)

    def is_quiet(self) -> bool:
        """Whether ten times the reconnection time pass without a request."""
        before = len(self.requests)
        self.page.wait_for_timeout(10 * RETRY_MS)
        return len(self.requests) == before


class Row:
    """One job's row."""

    def __init__(self, page: Page, job_id: str) -> None:
        self.page = page
        self.job_id = job_id
        self.progress = page.locator(f"[id='{job_id}-progress']")
        self.status = page.locator(f"[id='{job_id}-status']")
        self.log = page.locator(f"[id='{job_id}-log']")
        self.badge = self.status.locator(".badge")
        self.result = self.status.locator(".result")
        self.bar = self.progress.get_by_role("progressbar")

    def press(self, button: str) -> None:
        self.status.get_by_role("button", name=button).click()

    def percent(self) -> int:
        return int(self.bar.get_attribute("aria-valuenow") or 0)

    def moves(self, *cells: Locator) -> None:
        """Return when each cell has changed."""
        for cell in cells:
            before = cell.inner_text()
            expect(cell).not_to_have_text(before, use_inner_text=True)


@contextmanager
def opened(browser: Browser, url: str, *, scripts: bool = True) -> Iterator[Dashboard]:
    """A dashboard in a browser context of its own."""
    context = browser.new_context(
        java_script_enabled=scripts, viewport={"width": 1280, "height": 900}
    )
    try:
        dashboard = Dashboard(context.new_page(), url)
        yield dashboard
        assert not dashboard.errors
    finally:
        context.close()
