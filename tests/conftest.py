"""What every kind of test uses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline per example measures the machine's load, not the code.
settings.register_profile("multistream_asgi", settings.default, deadline=None)
settings.load_profile("multistream_asgi")


def require(condition: object, reason: str) -> None:
    """Skip the test unless `condition` is true; with CI=true fail it: there nothing is skipped."""
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"needed with CI=true: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loops an async test runs on; a test that cannot do both overrides it."""
    return str(request.param)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Chromium's executable, for Playwright's `executable_path`."""
    path = shutil.which("chromium")
    require(path, "no chromium on the PATH; on Debian: apt install chromium")
    assert path
    return path


@pytest.fixture(scope="session")
def htmx_dir() -> Path:
    """The directory that holds htmx.min.js and sse.js, which tests/run gets from npm."""
    path = os.environ.get("HTMX_DIR")
    require(path, "HTMX_DIR is not set; tests/run gets htmx where npm is installed")
    assert path
    return Path(path)
