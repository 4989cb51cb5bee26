"""The example's page in Chromium: real jobs, one event stream, and what goes wrong."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.dashboard import Dashboard, Server, opened

pytestmark = pytest.mark.browser

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FILES, FILE_BYTES = 200, 2_000
SLOW = 0.02
"""Megabytes per second at which the directory takes 20 seconds."""
FOR_EVER = "sh -c 'while date +%N; do sleep 0.05; done'"
"""Ends with the server all the same: `date` fails then."""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def one_server(htmx_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    server = Server(htmx_dir, directory)
    yield server
    server.stop()
    assert "Traceback" not in server.log, server.log
    assert not list(directory.iterdir()), "it left files behind"


@pytest.fixture
def server(one_server: Server) -> Iterator[Server]:
    """A server without jobs. It is the same for all tests, for it takes a while to start."""
    yield one_server
    one_server.clear()


@pytest.fixture
def dashboard(browser: Browser, server: Server) -> Iterator[Dashboard]:
    with opened(browser, server.url) as dashboard:
        yield dashboard


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with enough in it to last a moment."""
    directory = tmp_path / "files"
    for number in range(FILES):
        path = directory / f"{number % 4}" / f"{number:03}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(FILE_BYTES))
    return directory


def test_every_cell_moves_over_one_connection(dashboard: Dashboard, directory: Path) -> None:
    """Rows are added while others run, and none of them loses anything."""
    expect(dashboard.page.locator(".empty")).to_be_visible()
    assert not dashboard.open
    dashboard.page.evaluate(
        """() => {
            window.moves = 0;
            document.addEventListener("transitionrun", (event) => {
                window.moves += event.propertyName === "width";
            });
        }"""
    )
    rows = []
    for kind, target in (("checksum", directory), ("zip", directory), ("command", FOR_EVER)):
        rows.append(dashboard.start(kind, target, SLOW))
        dashboard.until_open(1)
        for row in rows:
            expect(row.badge).to_have_text("running")
            row.moves(row.progress, row.log)
    percents = [row.percent() for row in rows[:2]]
    for row, percent in zip(rows[:2], percents, strict=True):
        expect(row.bar).not_to_have_attribute("aria-valuenow", str(percent))
        assert row.percent() > percent
    assert len(dashboard.open) == 1
    assert dashboard.page.evaluate("window.moves") > 3, "the bars jump"


def test_a_fourth_job_waits_for_its_turn(dashboard: Dashboard) -> None:
    rows = [dashboard.start("command", FOR_EVER) for _ in range(4)]
    for row in rows[:3]:
        expect(row.badge).to_have_text("running")
    expect(rows[3].badge).to_have_text("queued")
    rows[1].press("Cancel")
    expect(rows[1].badge).to_have_text("cancelled")
    expect(rows[3].badge).to_have_text("running")
    dashboard.until_open(1)


def test_a_job_that_ends_shows_its_result_and_is_asked_for_no_more(
    dashboard: Dashboard, directory: Path
) -> None:
    other = dashboard.start("command", FOR_EVER)
    expect(other.badge).to_have_text("running")
    height = other.log.bounding_box()
    row = dashboard.start("checksum", directory, FILES * FILE_BYTES / 1e6)
    row.moves(row.progress, row.log)
    expect(row.badge).to_have_text("done")
    expect(row.bar).to_have_attribute("aria-valuenow", "100")
    expect(row.result).to_have_text(f"{FILES} files, sha256 {digest_of(directory)[:12]}…")
    expect(row.log).to_contain_text(digest_of(directory))
    assert height is not None
    for log in (row.log, other.log):
        box = log.bounding_box()
        assert box is not None and box["height"] == height["height"], "a cell changed its height"

    assert dashboard.is_quiet()
    assert len(dashboard.open) == 1
    other.moves(other.log)
    other.press("Cancel")
    expect(other.badge).to_have_text("cancelled")
    dashboard.until_open(0)
    assert dashboard.is_quiet()


def digest_of(directory: Path) -> str:
    """The SHA-256 of the list that `sha256sum` prints of the files, in order."""
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(directory)}\n"
        for path in sorted(directory.rglob("*.bin"))
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_zip_and_a_command_show_what_came_of_them(dashboard: Dashboard, directory: Path) -> None:
    """Text from outside stays text, and names of any bytes are shown."""
    (directory / "3" / os.fsdecode(b"\xff \n<b>.bin")).write_text("x")
    row = dashboard.start("zip", directory)
    expect(row.result).to_have_text(f"{FILES + 1} files, archive of 0.4 MB")
    expect(row.log).to_contain_text("<b>.bin")

    code = r"print('<b>bold</b>\rnew'); print('\x1b\0ü&amp;', end='')"
    row = dashboard.start("command", shlex.join([sys.executable, "-c", code]))
    expect(row.result).to_have_text("exit code 0")
    expect(row.log).to_have_text("new\n\ufffd\ufffdü&amp;", use_inner_text=True)
    expect(row.progress).to_contain_text("2 lines")
    dashboard.until_open(0)


FAILING = [
    ("checksum", "/no/such/place", "no such directory: /no/such/place"),
    ("zip", "/dev/null", "no such directory: /dev/null"),
    ("command", "sh -c 'echo <i>on its way; exit 3'", "exit code 3"),
    ("command", "sh -c 'kill -9 $$'", "ended by SIGKILL"),
    ("command", "/no/such/command", "No such file or directory: /no/such/command"),
    ("command", "echo 'open", "cannot be read: No closing quotation"),
]


def test_a_failing_job_shows_why(dashboard: Dashboard) -> None:
    rows = [dashboard.start(kind, target) for kind, target, _ in FAILING]
    for row, (_, _, reason) in zip(rows, FAILING, strict=True):
        expect(row.badge).to_have_text("failed")
        expect(row.result).to_have_text(reason)
    dashboard.until_open(0)
    for row in rows:
        row.press("Remove")
        expect(row.status).to_have_count(0)
    expect(dashboard.page.locator(".empty")).to_be_visible()


def test_cancelling_ends_a_command_with_its_children(dashboard: Dashboard, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    row = dashboard.start("command", f"sh -c 'sleep 600 & echo $! > {pid}; echo started; wait'")
    expect(row.log).to_have_text("started")
    row.press("Cancel")
    expect(row.badge).to_have_text("cancelled")
    # Nobody may have reaped it: a zombie has no command line.
    command = Path("/proc", pid.read_text().strip(), "cmdline")
    assert not command.exists() or not command.read_bytes()


def test_cancelling_a_checksum(dashboard: Dashboard, directory: Path) -> None:
    row = dashboard.start("checksum", directory, SLOW)
    expect(row.bar).to_have_attribute("aria-valuenow", re.compile("[1-9]"))
    row.press("Cancel")
    expect(row.badge).to_have_text("cancelled")
    dashboard.until_open(0)
    assert 0 < row.percent() < 100


def test_a_second_page_shows_the_same_at_once(
    browser: Browser, dashboard: Dashboard, server: Server, directory: Path
) -> None:
    """And so does a reload. Without JavaScript what is shown is what was rendered."""
    failed = dashboard.start("command", "sh -c 'echo once; exit 3'")
    expect(failed.badge).to_have_text("failed")
    running = dashboard.start("zip", directory, SLOW)
    running.moves(running.progress, running.log)
    percent = running.percent()

    with opened(browser, server.url, scripts=False) as second:
        assert second.row(0).percent() >= percent
        expect(second.row(0).badge).to_have_text("running")
        assert second.row(0).log.inner_text()
        for cell in ("progress", "status", "log"):
            shown = getattr(failed, cell).inner_text()
            assert getattr(second.row(1), cell).inner_text() == shown

    with opened(browser, server.url) as second:
        row = second.row(0)
        row.moves(row.progress)
        running.moves(running.progress)
        second.until_open(1)
    dashboard.page.reload()
    assert dashboard.row(0).percent() >= percent
    running.moves(running.progress)
    dashboard.until_open(1)


@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_the_page_recovers_when_the_server_is_restarted(
    dashboard: Dashboard, server: Server, directory: Path, kill: bool
) -> None:
    done = dashboard.start("command", "echo once")
    expect(done.badge).to_have_text("done")
    rows = [dashboard.start("zip", directory, SLOW), dashboard.start("command", FOR_EVER)]
    expect(rows[0].bar).to_have_attribute("aria-valuenow", re.compile("[1-9]"))
    expect(rows[1].badge).to_have_text("running")
    server.stop(kill=kill)
    alert = dashboard.page.get_by_role("alert")
    expect(alert).to_be_visible()

    server.start()
    for row in rows:
        expect(row.badge).to_have_text("interrupted", timeout=10_000)
    expect(alert).to_be_hidden()
    expect(done.badge).to_have_text("done")
    assert rows[0].percent() > 0
    dashboard.until_open(0)
    assert dashboard.is_quiet()

    row = dashboard.start("command", FOR_EVER, rows=0)
    row.moves(row.log)
    dashboard.until_open(1)


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_overflows(dashboard: Dashboard, width: int) -> None:
    dashboard.page.set_viewport_size({"width": width, "height": 800})
    row = dashboard.start("command", f"echo {'long' * 100}")
    expect(row.badge).to_have_text("done")
    row = dashboard.start("checksum", f"/{'long' * 100}")
    expect(row.badge).to_have_text("failed")
    assert dashboard.page.evaluate("document.documentElement.scrollWidth") <= width


def test_foreign_pages_cannot_start_jobs(server: Server) -> None:
    command = {"kind": "command", "command": "true"}
    with httpx.Client(base_url=server.url) as client:
        for origin in ("http://evil.example", "null", server.url.replace("127.0.0.1", "localhost")):
            answer = client.post("/jobs", data=command, headers={"origin": origin})
            assert answer.status_code == 403, origin
        for path in ("/", "/stream?id=x"):
            answer = client.get(path, headers={"host": "evil.example"})
            assert answer.status_code == 400, path
        assert "empty" in client.get("/").text
        answer = client.post("/jobs", data=command, headers={"origin": server.url})
        assert answer.status_code == 200


def test_bad_input_is_refused(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        assert client.post("/jobs", data={"kind": "other"}).status_code == 400
        rate = {"kind": "zip", "megabytes_per_second": "fast"}
        assert client.post("/jobs", data=rate).status_code == 400
        assert client.get("/jobs.js").status_code == 404
        for verb in ("cancel", "remove"):
            assert client.post(f"/jobs/unknown/{verb}").status_code == 200
