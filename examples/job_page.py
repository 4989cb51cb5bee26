"""The dashboard's markup: a cell for each stream, the row around them, the form, the page.

Each cell is a function of the job's present state, so that what a stream sends and what a reload
renders are the same. A `job` of None is one that this server does not know.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

from fasthtml.common import (
    H1,
    Button,
    Div,
    Form,
    Header,
    Input,
    Label,
    Link,
    Main,
    Meta,
    Option,
    P,
    Pre,
    Select,
    Small,
    Span,
    Style,
    Title,
    Wbr,
)

from jobs import Job, Progress, Status

__all__ = ["EMPTY", "HEAD", "log", "page", "progress", "status", "what"]

ICON = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<rect y='2' width='16' height='3' rx='1.5' fill='%233b6fd8'/>"
    "<rect y='7' width='11' height='3' rx='1.5' fill='%233b6fd8' opacity='.75'/>"
    "<rect y='12' width='6' height='3' rx='1.5' fill='%233b6fd8' opacity='.5'/></svg>"
)

HEAD = (
    Meta(name="color-scheme", content="light dark"),
    Link(rel="icon", href=ICON),
    Style(Path(__file__).with_suffix(".css").read_text(encoding="utf-8")),
)

EMPTY = P("No jobs yet. Start one above.", cls="empty")


# The cells


def what(job: Job) -> Any:
    """What the job does, and to what; a long path may break after its slashes."""
    first, *parts = job.target.split("/")
    target = (first, *(piece for part in parts for piece in ("/", Wbr(), part)))
    return Span(job.kind, cls="kind"), Span(*target, cls="target", title=job.target)


def progress(job: Job | None) -> Any:
    """A bar, what is done of it, how fast, and the time left."""
    if job is None:
        return None  # nothing to send: what the cell shows is the last that is known
    now, fraction, running = job.progress, job.progress.fraction, job.status is Status.RUNNING
    unit = "line" if job.kind == "Run" else "file"
    time = now.seconds_left if running else None
    head = plural(now.done, unit) if running or now != Progress() else ""
    below = [(size(now.bytes_done) if now.bytes_done else "", ""), ("", "")]
    if fraction is not None:
        head = f"{int(fraction * 100)} %"
        below = [
            (
                f"{now.done:,} of {plural(now.total or 0, unit)}",
                f"{size(now.rate)}/s" if running else "",
            ),
            (f"{size(now.bytes_done)} of {size(now.bytes_total or 0)}", ""),
        ]
    return (
        pair(head, duration(now.seconds) if time is None else f"{duration(time)} left", "pair top"),
        bar(job, 1.0 if job.status is Status.DONE else fraction),
        *(pair(left, right) for left, right in below),
    )


def pair(left: str, right: str, cls: str = "pair") -> Any:
    """A line with something at each end; the right one is true only while the job runs."""
    return Div(Span(left), Span(right, cls="now"), cls=cls)


def bar(job: Job, fraction: float | None) -> Any:
    """The bar.

    Its id is what makes it move: htmx lets a new element with the id of an old one begin with the
    old one's attributes, so that CSS can make the transition.
    """
    known = fraction is not None
    # A new element's animation begins anew, and would never get far.
    style = f"width: {fraction:.2%}" if known else f"animation-delay: -{job.progress.seconds:.2f}s"
    return Div(
        Div(id=f"{job.id}-bar", style=style),
        cls=f"bar {job.status}" if known else f"bar {job.status} unknown",
        role="progressbar",
        aria_label=f"{job.kind} {job.target}",
        aria_valuemin=0,
        aria_valuemax=100,
        **({"aria_valuenow": int(fraction * 100)} if fraction is not None else {}),
    )


def status(job: Job | None) -> Any:
    """How the job stands, its result, and what can be done about it."""
    if job is None:
        return badge("interrupted"), Small("The server was restarted.", cls="result")
    verb = "cancel" if job.active else "remove"
    return (
        badge(job.status),
        Button(
            verb.capitalize(),
            id=f"{job.id}-{verb}",
            hx_post=f"/jobs/{job.id}/{verb}",
            hx_target="#jobs",
            hx_swap="outerHTML",
            hx_disabled_elt="this",
            aria_label=f"{verb.capitalize()}: {job.kind} {job.target}",
            cls="quiet",
        ),
        Small(job.result, cls="result", title=job.result),
    )


def badge(text: str) -> Any:
    """A word with its colour."""
    return Span(text, cls=f"badge {text}")


def log(job: Job | None) -> Any:
    """The log's last lines."""
    return None if job is None else Pre(job.tail)


# The page


def page(jobs: Any) -> Any:
    """The whole page around the connection element."""
    return (
        Title("Jobs"),
        Main(
            Header(
                H1("Jobs"),
                P("Three live streams per row, one connection per page.", cls="lead"),
                P("The server does not answer. Trying again …", cls="lost", role="alert"),
            ),
            start_form(),
            jobs,
            # What htmx and its extension tell about the connection shows as an attribute.
            hx_on__sse_error="this.dataset.lost = ''",
            hx_on__send_error="this.dataset.lost = ''",
            hx_on__sse_open="delete this.dataset.lost",
            hx_on__after_on_load="delete this.dataset.lost",
        ),
    )


def start_form() -> Any:
    """The form that starts a job; CSS shows the fields of the kind that is chosen."""
    command = "sh -c 'for n in $(seq 20); do date; sleep 0.5; done'"
    return Form(
        field(
            "Job",
            Select(
                Option("Checksum every file", value="checksum"),
                Option("Zip a directory", value="zip"),
                Option("Run a command", value="command"),
                name="kind",
                autocomplete="off",
            ),
        ),
        field("Directory", text("directory", sysconfig.get_path("stdlib")), cls="wide directory"),
        field(
            "At most, MB/s",
            Input(name="megabytes_per_second", type="number", value=20, min=0, step="any"),
            cls="directory",
        ),
        field("Command", text("command", command), cls="wide command"),
        Button("Start", type="submit"),
        hx_post="/jobs",
        hx_target="#jobs",
        hx_swap="outerHTML",
        hx_disabled_elt="find button",
        cls="start",
    )


def text(name: str, value: str) -> Any:
    """An input for something that is no prose."""
    return Input(name=name, value=value, spellcheck="false", autocapitalize="off")


def field(label: str, control: Any, cls: str = "") -> Any:
    """A control under its label."""
    return Label(Span(label), control, cls=cls)


# Numbers


def plural(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(number: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "KB", "MB"):
        if number < 999.5:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def duration(seconds: float) -> str:
    """Minutes and seconds, or seconds where they are few; nothing for no time at all."""
    if not seconds:
        return ""
    if seconds < 10:
        return f"{max(seconds, 0.1):.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02} min"
