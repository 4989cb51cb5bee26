"""Tests here run on virtual time, unless they ask for `real_time`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.asgi.jobs import Jobs
from tests.asgi.virtual_time import BACKENDS


@pytest.fixture(scope="session", params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return BACKENDS[request.param]


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def jobs(request: pytest.FixtureRequest) -> Jobs:
    return Jobs(asynchronous=request.param)
