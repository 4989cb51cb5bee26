"""One server in one round: start it, connect, wait, publish, count, end it."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

from .child import Child

__all__ = ["Sample", "Scenario", "measure"]

_SETTLE_SECONDS = 0.3
_GRACE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What every server of a run is put through."""

    viewers: int = 500
    rate: float = 40.0
    """Events per second, each to every viewer."""
    seconds: float = 2.0
    size: int = 60
    """Bytes of an event's data."""

    def __post_init__(self) -> None:
        for name in ("viewers", "rate", "seconds", "size"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name)}")

    @property
    def events(self) -> int:
        """How many events every viewer is to get."""
        return max(1, round(self.rate * self.seconds))

    @property
    def patience(self) -> float:
        """Seconds after which a server that has not delivered everything has lost it."""
        return 4 * self.seconds + _GRACE_SECONDS


@dataclass(frozen=True, slots=True)
class Sample:
    """What one server did in one round."""

    server: str
    round: int
    us_per_event: float
    """CPU time of the server's process per delivered event, publishing included."""
    kb_per_viewer: float
    """Resident memory of the server above the empty one's, per idle viewer."""
    bytes_per_event: float
    """Received per event, the HTTP chunks' frames included."""
    lost: int
    surplus: int
    seconds: float
    """From the first event's publishing to the last one's arrival."""
    server_busy: float
    """CPU time of the server per second in that span; 1 is one whole core."""
    load_busy: float
    """The same of the load generator."""


def measure(name: str, number: int, scenario: Scenario) -> Sample:
    """Measure the server `name` in round `number`.

    Raises `RuntimeError` when a process fails, or when not all viewers get in.
    """
    module = "tests.benchmarks"
    with (
        Child(name, [sys.executable, "-m", f"{module}.serve", name]) as server,
        Child("the load generator", [sys.executable, "-m", f"{module}.load"]) as load,
    ):
        address = server.answer(within=30)
        # What is loaded and set up with the first viewer is the empty server's.
        _connect(server, load, address, 1)
        load.ask("close")
        _await_viewers(server, 0)
        time.sleep(_SETTLE_SECONDS)
        empty_kb = server.rss_kb()
        before = _connect(server, load, address, scenario.viewers)
        time.sleep(_SETTLE_SECONDS)
        idle_kb = server.rss_kb()

        cpu, load_cpu, start = server.cpu_seconds(), load.cpu_seconds(), time.monotonic()
        load.tell("count", scenario.events, scenario.patience)
        server.tell("publish", scenario.events, scenario.rate, scenario.size)
        after = load.answer(within=scenario.patience + _GRACE_SECONDS)
        seconds = time.monotonic() - start
        cpu, load_cpu = server.cpu_seconds() - cpu, load.cpu_seconds() - load_cpu
        server.answer(within=_GRACE_SECONDS)  # it has published all, and has not failed
        # Whatever comes now came once too often.
        surplus = load.ask("count", scenario.events + 1, _SETTLE_SECONDS)["events"]
        load.ask("close")
    wanted = scenario.events * scenario.viewers
    return Sample(
        server=name,
        round=number,
        us_per_event=cpu * 1e6 / max(1, after["events"]),
        kb_per_viewer=(idle_kb - empty_kb) / scenario.viewers,
        bytes_per_event=(after["bytes"] - before["bytes"]) / max(1, after["events"]),
        lost=after["lost"],
        surplus=surplus - (wanted - after["lost"]),
        seconds=seconds,
        server_busy=cpu / seconds,
        load_busy=load_cpu / seconds,
    )


def _connect(server: Child, load: Child, address: Any, viewers: int) -> Any:
    state = load.ask("connect", address["port"], address["path"], viewers, within=40)
    if state["answered"] != viewers or state["closed"]:
        raise RuntimeError(
            f"{server.name} took {state['answered']} of {viewers} viewers"
            f" and closed {state['closed']}"
        )
    _await_viewers(server, viewers)
    return state


def _await_viewers(server: Child, viewers: int) -> None:
    until = time.monotonic() + 10
    while (there := server.ask("viewers")["viewers"]) != viewers:
        if time.monotonic() > until:
            raise RuntimeError(f"{server.name} has {there} viewers instead of {viewers}")
        time.sleep(0.02)
