"""Takes the dashboard's picture: a busy table, with a job of every kind and in every state.

    HTMX_DIR=... python examples/screenshot.py examples/dashboard.png

Needs the `playwright` package and Chromium on the PATH (`.[test]`, and Debian's chromium).
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

PERCENT = 58


@contextmanager
def served() -> Iterator[str]:
    """The dashboard, and its address."""
    dashboard = Path(__file__).with_name("job_dashboard.py")
    command = [sys.executable, str(dashboard), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"running on (http://\S+)", line):
                yield found[1]
                break
        process.terminate()


def start(page: Page, kind: str, target: str | Path, megabytes_per_second: float = 20) -> None:
    """Start a job by the form."""
    rows = page.locator("tbody tr")
    count = rows.count()
    page.get_by_role("combobox", name="Job").select_option(kind)
    if kind == "command":
        page.get_by_role("textbox", name="Command").fill(str(target))
    else:
        page.get_by_role("textbox", name="Directory").fill(str(target))
        page.get_by_role("spinbutton", name="MB/s").fill(f"{megabytes_per_second}")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(rows).to_have_count(count + 1)


def fill(page: Page, library: Path) -> None:
    """A job in every state, newest first, the first running one at `PERCENT`."""
    newest = page.locator("tbody tr").first
    badge, bar = newest.locator(".badge"), newest.get_by_role("progressbar")

    start(page, "checksum", library / "asyncio", 1000)
    expect(badge).to_have_text("done")
    start(page, "command", "sh -c 'echo fetching the index; echo no answer; exit 3'")
    expect(badge).to_have_text("failed")
    start(page, "zip", library / "encodings", 0.5)
    expect(bar).to_have_attribute("aria-valuenow", re.compile("[2-9][0-9]"), timeout=60_000)
    newest.get_by_role("button", name="Cancel").click()
    expect(badge).to_have_text("cancelled")
    start(page, "command", "sh -c 'while true; do date; sleep 0.3; done'")
    expect(newest.locator(".progress")).to_contain_text("8 lines", timeout=60_000)
    start(page, "checksum", library / "email", 0.15)
    # Looked at in each frame, for the moment does not last.
    page.wait_for_function(
        f"document.querySelector('[role=progressbar]').ariaValueNow >= {PERCENT}", timeout=60_000
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the dashboard's picture.")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--library",
        type=Path,
        default=sysconfig.get_path("stdlib"),
        help="Python's standard library, some directories of which are worked on (%(default)s)",
    )
    parser.add_argument("--width", type=int, default=1280, help="in CSS pixels (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels for each")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"],
        )
        page = browser.new_page(
            viewport={"width": options.width, "height": 400},
            device_scale_factor=options.scale,
            color_scheme=options.scheme,
        )
        page.goto(url)
        fill(page, options.library)
        page.screenshot(path=options.file, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
