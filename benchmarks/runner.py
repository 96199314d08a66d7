"""What all benchmarks share: options, results, timing beside a peer, and the page they make."""

from __future__ import annotations

import dataclasses
import datetime
import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jaxmusic
from jaxmusic import config
from jaxmusic.codecs.metrical.codec import MetricalCodec

FOLDER = pathlib.Path(__file__).parent
RESULTS = FOLDER / "results"
PACKAGES = (
    *("jaxmusic", "jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "note-seq"),
    *("symusic", "torch", "transformers", "miditok", "mir_eval"),
)
"""Packages whose versions a result states, where they are installed."""


class MissingPeer(Exception):
    """A package that we compare ourselves with is not installed."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What a benchmark may be told; each reads what it needs.

    Attributes:
      data: folder of real music; from JAXMUSIC_DATA unless given.
      data_dir: folder of prepared datasets.
      dataset: name of a prepared dataset.
      run: folder of a training run, or, where only its model counts, a file exported from it.
      step: step of an early checkpoint of the run; 0 is its first.
      repeats: how often each side of a comparison is timed.
      count: how many files, pieces or seeds are taken; 0 is the benchmark's own number.
      install: also measure an installation into a fresh environment (slow).
      quickstart: also measure the quickstart (slow).
      size: names of models, separated by spaces; empty for the benchmark's own.
      minutes: time for everything, where a benchmark takes as much as it is given.
      only: parts to measure, separated by spaces, where a benchmark has parts; the others keep the
        rows of the last result.
      label: added to the name of the result, to keep results of several machines.
    """

    data: str = dataclasses.field(default_factory=lambda: os.environ.get("JAXMUSIC_DATA", ""))
    data_dir: str = ""
    dataset: str = ""
    run: str = ""
    step: int = 0
    repeats: int = 5
    count: int = 0
    install: bool = False
    quickstart: bool = False
    size: str = ""
    minutes: float = 8.5
    only: str = ""
    label: str = ""

    def folder(self, name: str) -> pathlib.Path:
        """The folder that an option names; exits with a sentence if it is not there."""
        value = getattr(self, name)
        path = pathlib.Path(value).expanduser()
        if not value or not path.is_dir():
            flag = "--" + name.replace("_", "-")
            raise SystemExit(f"Give {flag} a folder that exists (it is {value or 'not set'!r}).")
        return path

    def model(self) -> jaxmusic.MusicModel:
        """The model of `run`; exits with a sentence if it is not there."""
        file = pathlib.Path(self.run).expanduser()
        return jaxmusic.load(file if file.is_file() else self.folder("run"))

    def command(self, name: str) -> str:
        """The command that runs one benchmark with these options; paths become capital words."""
        words = ["python", "-m", "benchmarks", name]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            default = "" if field.name == "data" else field.default
            if value == default or field.name == "only":  # parts add up to the whole
                continue
            words.append("--" + field.name.replace("_", "-"))
            if not isinstance(value, bool):
                is_path = field.name in ("data", "data_dir", "run")
                words.append(field.name.upper() if is_path else str(value))
        return shlex.join(words)


def chosen_data(options: Options) -> tuple[config.Data, MetricalCodec]:
    """Data and codec of the run, or the library's defaults without one; other options win."""
    data, codec = config.Data(), MetricalCodec()
    if options.run:
        from jaxmusic.runs import folder as runs

        stored = runs.read(options.folder("run"))
        data = dataclasses.replace(stored.experiment.data, dataset=stored.dataset)
        codec = stored.codec
    given = {k: getattr(options, k) for k in ("data_dir", "dataset") if getattr(options, k)}
    return dataclasses.replace(data, **given), codec


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
      cells: one for each column; numbers stay numbers.
      goal: what was to be reached, in words; empty where a row only informs.
      reached: whether it was; None where there is no goal.
    """

    cells: tuple[Any, ...]
    goal: str = ""
    reached: bool | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """What a benchmark found.

    Attributes:
      columns: names of the columns of the table, with units.
      rows: its lines.
      notes: sentences that a reader needs to understand the table.
      title: first line of the benchmark's docstring; the runner fills it in.
      command: what was run; the runner fills it in.
      seconds: how long it took; the runner fills it in.
      devices: accelerators that processes started by the benchmark used.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    title: str = ""
    command: str = ""
    seconds: float = 0.0
    devices: str = ""


def in_parts(
    name: str,
    options: Options,
    columns: tuple[str, ...],
    parts: dict[str, Callable[[], tuple[list[Row], str]]],
) -> Result:
    """Measures a benchmark part by part; the result is kept after each.

    The first cell of a row is the name of its part, and so is the first word of a part's note.
    Parts that are not measured now keep what the last result of that name and label says of them.

    Args:
      name: of the benchmark.
      options: what it was told; `only` names the parts to measure.
      columns: of its table.
      parts: each gives its rows, without the name, and a note on how they came about.
    """
    wanted = options.only.split() or list(parts)
    if unknown := [part for part in wanted if part not in parts]:
        raise SystemExit(f"There is no part {unknown[0]}; there are: {', '.join(parts)}.")
    path = RESULTS / f"{name}{f'-{options.label}' if options.label else ''}.json"
    old = json.loads(path.read_text()) if path.exists() else {"rows": [], "notes": []}
    rows = {part: [r for r in old["rows"] if r["cells"][0] == part] for part in parts}
    kept = {
        part: [Row(tuple(r["cells"]), r["goal"], r["reached"]) for r in rows[part]] for part in rows
    }
    notes = {part: [n for n in old["notes"] if n.startswith(f"{part}: ")] for part in parts}

    def chain(of: dict[str, list[Any]]) -> tuple[Any, ...]:
        return tuple(itertools.chain.from_iterable(of.values()))

    begun = time.perf_counter()
    for part in wanted:
        start = time.perf_counter()
        found, note = parts[part]()
        kept[part] = [dataclasses.replace(row, cells=(part, *row.cells)) for row in found]
        minutes = (time.perf_counter() - start) / 60
        notes[part] = [f"{part}: {note} {minutes:.1f} minutes."]
        result = Result(columns, chain(kept), chain(notes))
        write(name, options, result, time.perf_counter() - begun)
    return result


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How many times faster one side was, over repeats; seconds are medians of a repeat."""

    min: float
    median: float
    max: float
    ours_seconds: float
    peer_seconds: float


def interleave(
    ours: Callable[..., object],
    peer: Callable[..., object],
    repeats: int = 5,
    items: Iterable[Sequence[Any]] = ((),),
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Times two functions in turn, so that whatever else the machine does hits both alike.

    Args:
      ours: called with the elements of each item as arguments; both sides are called once with
        the first item before any timing.
      peer: likewise.
      repeats: how many ratios are taken; the side that goes first changes each time.
      items: what a repeat consists of; both sides do one item, then the next.
      clock: gives seconds; `time.process_time` counts those of all cores that the process had.
    """
    items = list(items)
    for side in (ours, peer):
        side(*items[0])
    seconds: list[tuple[float, float]] = []
    for repeat in range(repeats):
        spent = {0: 0.0, 1: 0.0}
        for number, item in enumerate(items):
            for turn in (0, 1) if (repeat + number) % 2 == 0 else (1, 0):
                gc.collect()  # or one side pays for the garbage of the other
                start = clock()
                (ours, peer)[turn](*item)
                spent[turn] += clock() - start
        seconds.append((spent[0], spent[1]))
    ratios = [b / a for a, b in seconds]
    return Ratio(
        min=min(ratios),
        median=statistics.median(ratios),
        max=max(ratios),
        ours_seconds=statistics.median(a for a, _ in seconds),
        peer_seconds=statistics.median(b for _, b in seconds),
    )


def peer(module: str) -> Any:
    """Imports a package that we compare ourselves with; raises MissingPeer without it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingPeer(
            f"{module} is not installed: run pip install -e .[test,bench] and try again."
        ) from None


def machine() -> dict[str, Any]:
    """What a result was measured on: processor, cores, memory, devices, Python and packages."""
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
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "devices": _devices(),
        "python": platform.python_version(),
        "packages": packages,
    }


def _devices() -> str:
    """Accelerators that JAX or PyTorch used in this process, if any."""
    if jax := sys.modules.get("jax"):
        kinds = [d.device_kind for d in jax.devices() if d.platform != "cpu"]
        return f"{len(kinds)} x {kinds[0]}" if kinds else ""
    return ""


def run(name: str, options: Options) -> dict[str, Any]:
    """Runs one benchmark, writes its JSON file and returns what is in it."""
    module = importlib.import_module(f"benchmarks.{name}")
    start = time.perf_counter()
    result: Result = module.run(options)
    return write(name, options, result, time.perf_counter() - start)


def write(name: str, options: Options, result: Result, seconds: float) -> dict[str, Any]:
    """Writes the JSON file of a result, perhaps of one that is not complete yet; returns it."""
    module = sys.modules[f"benchmarks.{name}"]
    result = dataclasses.replace(
        result,
        title=(module.__doc__ or name).splitlines()[0].rstrip("."),
        command=options.command(name),
        seconds=round(seconds, 1),
    )
    fields = dataclasses.asdict(result)
    devices = fields.pop("devices")
    record = {
        "name": name + (f"-{options.label}" if options.label else ""),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "machine": machine() | ({"devices": devices} if devices else {}),
        **fields,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(record, indent=2, default=lambda x: x.item()) + "\n"
    (RESULTS / f"{record['name']}.json").write_text(text)
    return json.loads(text)
