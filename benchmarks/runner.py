"""Shared by all benchmarks: results with their goals, timing in turns, and files of results."""

from __future__ import annotations

import dataclasses
import datetime
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from jaxmusic._src.core.errors import UserError

FOLDER = pathlib.Path(__file__).parent
RESULTS = FOLDER / "results"
DATA = os.environ.get("JAXMUSIC_DATA", "")
"""Folder of real music unless --data names another."""
PACKAGES = (
    *("jaxmusic", "jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "note-seq"),
    *("symusic", "torch", "transformers", "miditok", "mir_eval"),
)
"""Packages whose versions are stored with a result."""


@dataclasses.dataclass(frozen=True)
class Goal:
    """A goal, written down before the measurement.

    Attributes:
      goal: what is to be reached, in words; the page shows equal goals as one.
      measured: the figure, with a name where several figures share the goal.
      reached: whether the figure reaches the goal.
    """

    goal: str
    measured: str
    reached: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures; numbers stay numbers.

    Attributes:
      columns: names with units.
      rows: one cell for each column.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Result:
    """Findings of a benchmark.

    Attributes:
      tables: the figures.
      goals: goals and whether they are reached.
      notes: sentences that a reader needs to understand the tables.
      devices: accelerators used by processes that the benchmark started.
    """

    tables: Sequence[Table]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    devices: str = ""


def show(value: Any) -> str:
    """Formats a cell with four significant digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def at_least(what: str, least: float, value: float, name: str = "") -> Goal:
    """Makes a goal that larger figures reach."""
    measured = f"{name} {show(value)}".strip()
    return Goal(f"{what}: at least {show(least)}", measured, bool(value >= least))


def at_most(what: str, most: float, value: float, name: str = "") -> Goal:
    """Makes a goal that smaller figures reach."""
    measured = f"{name} {show(value)}".strip()
    return Goal(f"{what}: at most {show(most)}", measured, bool(value <= most))


def folder(flag: str, value: str) -> pathlib.Path:
    """Returns the folder that an option names; raises UserError if there is none."""
    path = pathlib.Path(value).expanduser()
    if not value or not path.is_dir():
        raise UserError(f"Give --{flag} a folder that exists (it is {value or 'not set'!r}).")
    return path


def peer(module: str) -> Any:
    """Imports a package that we compare with; raises UserError if it is not installed."""
    if importlib.util.find_spec(module.split(".")[0]) is None:
        raise UserError(f"{module} is not installed: run pip install -e .[test,bench].")
    return importlib.import_module(module)


def in_turns(
    sides: dict[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Times functions in turn, so that other load on the machine hits all of them alike.

    Args:
      sides: functions by name; each is called once before any timing, and the order is reversed
        every other time.
      repeats: measurements of each.
      clock: gives seconds; `time.process_time` adds up those of all cores.

    Returns:
      Seconds of each call, by name.
    """
    for work in sides.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in list(sides)[:: -1 if repeat % 2 else 1]:
            gc.collect()  # or one side pays for the garbage of the other
            start = clock()
            sides[name]()
            seconds[name].append(clock() - start)
    return seconds


def ratios(peers: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Returns how many times faster ours is than the peer: least, median and most."""
    found = [a / b for a, b in zip(peers, ours, strict=True)]
    return round(min(found), 2), round(statistics.median(found), 2), round(max(found), 2)


def machine() -> dict[str, Any]:
    """Describes what a result is measured on: processor, memory, devices and versions."""
    cpu, memory = platform.processor() or platform.machine(), 0
    if pathlib.Path("/proc/cpuinfo").exists():
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), cpu)
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = ""
    if jax := sys.modules.get("jax"):
        kinds = [d.device_kind for d in jax.devices() if d.platform != "cpu"]
        devices = f"{len(kinds)} x {kinds[0]}" if kinds else ""
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "devices": devices,
        "python": platform.python_version(),
        "packages": packages,
    }


def write(name: str, command: str, result: Result, seconds: float) -> dict[str, Any]:
    """Writes the file of a result and returns its content.

    Args:
      name: name of the benchmark, with the label if there is one.
      command: the command that made the result.
      result: what was found, perhaps not all of it yet.
      seconds: how long it took.
    """
    module = importlib.import_module(f"benchmarks.{name.split('-')[0]}")
    fields = dataclasses.asdict(result)
    devices = fields.pop("devices")
    record = {
        "name": name,
        "title": (module.__doc__ or name).splitlines()[0].rstrip("."),
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "machine": machine() | ({"devices": devices} if devices else {}),
        **fields,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=1, default=lambda x: x.item()) + "\n"
    (RESULTS / f"{name}.json").write_text(text)
    return json.loads(text)
