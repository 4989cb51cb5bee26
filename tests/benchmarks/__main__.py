"""The benchmark's command: `./tests/run bench [options]`; README.md beside it explains it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from .apps import APPS
from .child import check_open_files
from .events import LEAST_BYTES
from .measure import Sample, Scenario, measure
from .report import summary, table, warnings


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; exits with a message where one is wrong."""
    default = Scenario()
    parser = argparse.ArgumentParser(
        prog="./tests/run bench",
        description="Compare servers, side by side: CPU per event and memory per idle viewer.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--viewers", type=int, default=default.viewers, help="connections")
    parser.add_argument("--rate", type=float, default=default.rate, help="events per second")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="per measurement")
    parser.add_argument("--size", type=int, default=default.size, help="bytes of an event's data")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each server")
    parser.add_argument("--servers", default=",".join(APPS), help="which, with commas between")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there too")
    options = parser.parse_args(arguments)
    options.servers = list(dict.fromkeys(options.servers.split(",")))
    if unknown := set(options.servers) - set(APPS):
        parser.error(f"--servers: {sorted(unknown)} not among {', '.join(APPS)}")
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if options.size < LEAST_BYTES:
        parser.error(f"--size must be {LEAST_BYTES} or more: an event bears its number")
    try:
        options.scenario = Scenario(options.viewers, options.rate, options.seconds, options.size)
        check_open_files(options.viewers)
    except ValueError as error:
        parser.error(str(error))
    if options.json is not None and not options.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no directory {options.json.resolve().parent}")
    return options


def machine() -> dict[str, object]:
    """What the figures depend on."""
    packages = ("uvicorn", "uvloop", "httptools", "anyio", "starlette", "sse-starlette")
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "packages": {package: version(package) for package in packages},
    }


def run(servers: list[str], rounds: int, scenario: Scenario) -> list[Sample]:
    """Measure all servers in every round, in turn forwards and backwards."""
    samples = []
    for number in range(1, rounds + 1):
        for name in servers if number % 2 else reversed(servers):
            sample = measure(name, number, scenario)
            samples.append(sample)
            print(
                f"round {number}/{rounds}  {name}: {sample.us_per_event:.1f} us/event,"
                f" {sample.kb_per_viewer:.1f} KB/viewer",
                file=sys.stderr,
            )
    return samples


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write; 1 when an event was lost or came twice, or a process failed."""
    if not sys.platform.startswith("linux"):
        print("the benchmark needs Linux: it reads /proc and uses epoll", file=sys.stderr)
        return 1
    options = parse(arguments)
    scenario: Scenario = options.scenario
    facts = machine()
    try:
        samples = run(options.servers, options.rounds, scenario)
    except RuntimeError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(
        f"\n{scenario.viewers} viewers x {scenario.rate:g} events/s for {scenario.seconds:g} s,"
        f" {scenario.size} bytes of data, {options.rounds} rounds\n"
        f"Python {facts['python']}, uvicorn {version('uvicorn')} with uvloop and httptools,"
        f" {facts['cores']} cores, load average {facts['load_average']} before\n"
    )
    samples.sort(key=lambda sample: (options.servers.index(sample.server), sample.round))
    print(table(samples))
    for line in warnings(samples, scenario.seconds):
        print(f"! {line}")
    if options.json is not None:
        whole = {
            "scenario": asdict(scenario),
            "machine": facts,
            "summary": summary(samples),
            "samples": [asdict(sample) for sample in samples],
        }
        options.json.write_text(json.dumps(whole, indent=2) + "\n")
    return int(any(sample.lost or sample.surplus for sample in samples))


if __name__ == "__main__":
    sys.exit(main())
