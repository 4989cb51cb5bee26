"""A page on which one starts jobs and watches them, over ONE event-stream connection.

    ./examples/run [--host 127.0.0.1] [--port 8000]

`jobs.py` keeps the jobs, `work.py` does their work and `job_page.py` has the markup; this file
joins them to `multistream_asgi`. The page reads any directory and RUNS ANY COMMAND as the user who
started it, so it belongs on loopback, where it listens by default.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from fasthtml.common import (
    FastHTML,
    FileResponse,
    Request,
    Response,
    Script,
    Table,
    Tbody,
    Td,
    Th,
    Thead,
    Tr,
)
from starlette.middleware.trustedhost import TrustedHostMiddleware

import job_page
import work
from jobs import Job, Jobs
from multistream_asgi.fasthtml import MultiStreamManager, StreamConfig

HTMX_DIR = os.environ.get("HTMX_DIR")
HTMX = {
    "htmx.min.js": (
        "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js",
        "sha384-2OatzQy1H+Zd/IIrjr1TcuDGqLXeHhbooAyJY1KdQMKnr4LZ22k31GBLdYKHmVjg",
    ),
    "sse.js": (
        "https://cdn.jsdelivr.net/npm/htmx-ext-sse@2.2.4/sse.js",
        "sha384-QA9wXqexhwzXTuTvuF5QP82pddm3R2hy81UzXi7ioNTqNF2b75hlkkSGjafohhL3",
    ),
}

jobs = Jobs()

manager = MultiStreamManager(
    "/stream",
    # Each event carries all there is to show, so only the newest counts.
    default_config=StreamConfig(mode="state", retry_ms=int(os.environ.get("RETRY_MS", "2000"))),
    # Asked when a page comes. A job of an earlier run of this server is None, which
    # `job_page.status` shows as interrupted.
    get_entity=jobs.get,
    is_active=lambda job: job.active,
)


# The streams: each sends its cell anew whenever one of the attributes that it shows has changed.


@manager.stream("progress", transform_fn=job_page.progress)
async def progress(job_id: str) -> AsyncIterator[Job]:
    return jobs[job_id].changes("progress", "status")


@manager.stream("status", transform_fn=job_page.status)
async def status(job_id: str) -> AsyncIterator[Job]:
    return jobs[job_id].changes("status")


@manager.stream("log", transform_fn=job_page.log)
async def log(job_id: str) -> AsyncIterator[Job]:
    return jobs[job_id].changes("tail")


# The page


def connection() -> Any:
    """Every job, in an element with one connection for all that are active."""
    active = [job.id for job in jobs if job.active]
    rows = [row(job) for job in jobs]
    head = Tr(*(Th(name, scope="col") for name in ("Job", "Progress", "Status", "Log")))
    table = Table(Thead(head), Tbody(*rows)) if rows else job_page.EMPTY
    return manager.create_connection(active, table, id="jobs")


def row(job: Job) -> Any:
    """A job with its present state; its cells are live as long as there is something to come."""
    return Tr(
        Td(*job_page.what(job), cls="what"),
        cell(job, "progress", job_page.progress(job)),
        cell(job, "status", job_page.status(job), aria_live="polite"),
        cell(job, "log", job_page.log(job)),
    )


def cell(job: Job, stream: str, content: Any, **attrs: Any) -> Any:
    return manager.create_cell(
        job.id, stream, content, wrapper=Td, active=job.active, cls=stream, **attrs
    )


# The app


async def lifespan(_: FastHTML) -> AsyncIterator[None]:
    async with jobs.running():
        yield


def refuse_foreign(request: Request) -> Response | None:
    """A page of another site could post commands too: a browser tells where a request is from."""
    origin = request.headers.get("origin")
    own = f"{request.url.scheme}://{request.headers.get('host')}"
    return Response("not from this page\n", 403) if origin not in (None, own) else None


def scripts() -> list[Any]:
    """htmx and its SSE extension: our own copies where `examples/run` could get them."""
    if HTMX_DIR:
        return [Script(src=f"/{name}") for name in HTMX]
    return [
        Script(src=url, integrity=integrity, crossorigin="anonymous")
        for url, integrity in HTMX.values()
    ]


# `fast_app` would serve the files of the working directory, and write a session key there.
app = FastHTML(
    title="Jobs",
    hdrs=(*job_page.HEAD, *scripts()),
    htmx=False,
    surreal=False,
    canonical=False,
    sess_cls=None,
    secret_key="no session is kept",
    before=refuse_foreign,
    lifespan=lifespan,
    htmlkw={"lang": "en"},
)


@app.get("/")
async def index() -> Any:
    return job_page.page(connection())


@app.post("/jobs")
async def start(
    kind: str, directory: str = "", megabytes_per_second: str = "", command: str = ""
) -> Any:
    try:
        bytes_per_second = float(megabytes_per_second or 0) * 1e6 or None
    except ValueError:
        return Response("megabytes_per_second is no number\n", 400)
    if kind == "checksum":
        jobs.start("Checksum", directory, work.checksum(directory, bytes_per_second))
    elif kind == "zip":
        jobs.start("Zip", directory, work.zip_up(directory, bytes_per_second))
    elif kind == "command":
        jobs.start("Run", command, work.command(command))
    else:
        return Response("no such kind of job\n", 400)
    return connection()


@app.post("/jobs/{job_id}/cancel")
async def cancel(job_id: str) -> Any:
    if job := jobs.get(job_id):
        job.cancel()
    return connection()


@app.post("/jobs/{job_id}/remove")
async def remove(job_id: str) -> Any:
    if job := jobs.get(job_id):
        jobs.remove(job)
    return connection()


@app.get("/{name}.js")
async def script(name: str) -> Response:
    file = f"{name}.js"
    if not HTMX_DIR or file not in HTMX:
        return Response("not found\n", 404)
    return FileResponse(Path(HTMX_DIR, file))


def main() -> None:
    parser = argparse.ArgumentParser(description="Start jobs and watch them, in the browser.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", default=8000, type=int, help="0 takes a free one (%(default)s)")
    options = parser.parse_args()
    # Names that lead elsewhere are refused: a foreign page can give its own name our address.
    names = ["127.0.0.1", "localhost", "[::1]", "::1", options.host]
    served = TrustedHostMiddleware(manager.wrap(app), names)
    uvicorn.run(served, host=options.host, port=options.port, access_log=False)


if __name__ == "__main__":
    main()
