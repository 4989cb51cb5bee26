"""Samples -> figures -> text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from .measure import Sample

__all__ = ["BASE", "Figure", "figure", "summary", "table", "warnings"]

BASE = "bare"
"""The server that all others are compared with, round by round."""

_BUSY = 0.8


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one server over all rounds."""

    min: float
    median: float
    max: float
    ratio: float | None
    """Median over the rounds of the ratio to `BASE` in the same round; None without one."""


def figure(samples: Sequence[Sample], server: str, value: Callable[[Sample], float]) -> Figure:
    """Sum up `value` over the rounds of `server`."""
    base = {sample.round: value(sample) for sample in samples if sample.server == BASE}
    own = [sample for sample in samples if sample.server == server]
    values = [value(sample) for sample in own]
    ratios = [value(sample) / base[sample.round] for sample in own if base.get(sample.round, 0) > 0]
    return Figure(min(values), median(values), max(values), median(ratios) if ratios else None)


def summary(samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, float | None]]]:
    """The figures that are compared, by server, as JSON takes them."""
    return {
        server: {
            "us_per_event": asdict(figure(samples, server, lambda s: s.us_per_event)),
            "kb_per_viewer": asdict(figure(samples, server, lambda s: s.kb_per_viewer)),
        }
        for server in _servers(samples)
    }


def table(samples: Sequence[Sample]) -> str:
    """The figures, then what shows whether they can be trusted."""
    servers = _servers(samples)
    width = max(map(len, servers))
    lines = []
    for title, value in (
        ("server CPU, us per delivered event", lambda s: s.us_per_event),
        ("server memory, KB per idle viewer", lambda s: s.kb_per_viewer),
    ):
        lines += [title, _row("", width, ["min", "median", "max", f"x {BASE}"])]
        for server in servers:
            f = figure(samples, server, value)
            ratio = "-" if f.ratio is None else f"{f.ratio:.2f}"
            lines.append(
                _row(server, width, [*(f"{v:.1f}" for v in (f.min, f.median, f.max)), ratio])
            )
        lines.append("")
    lines.append("checks: sums for lost and surplus events, medians for the rest")
    heads = ["lost", "surplus", "bytes/ev", "seconds", "server CPU", "load CPU"]
    lines.append(_row("", width, heads))
    for server in servers:
        own = [sample for sample in samples if sample.server == server]
        cells = [
            str(sum(s.lost for s in own)),
            str(sum(s.surplus for s in own)),
            f"{median(s.bytes_per_event for s in own):.1f}",
            f"{median(s.seconds for s in own):.2f}",
            f"{median(s.server_busy for s in own):.0%}",
            f"{median(s.load_busy for s in own):.0%}",
        ]
        lines.append(_row(server, width, cells))
    return "\n".join(lines)


def warnings(samples: Sequence[Sample], planned_seconds: float) -> list[str]:
    """What makes figures doubtful, a line each."""
    lines = []
    for s in samples:
        where = f"round {s.round}, {s.server}"
        if s.lost or s.surplus:
            lines.append(f"{where}: {s.lost} events lost, {s.surplus} too many")
        if s.load_busy > _BUSY:
            lines.append(f"{where}: the load generator was at its limit ({s.load_busy:.0%})")
        if s.seconds > 1.1 * planned_seconds + 0.1:
            late = f"{s.seconds:.1f} s instead of {planned_seconds:.1f}"
            lines.append(f"{where}: behind the rate, {late} (server CPU {s.server_busy:.0%})")
    return lines


def _servers(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(sample.server for sample in samples))


def _row(name: str, width: int, cells: list[str]) -> str:
    return f"  {name:{width}}" + "".join(f"{cell:>12}" for cell in cells)
