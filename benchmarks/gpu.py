"""MFU of training on one GPU, by size of model, beside Transformers on PyTorch.

Each side of each size runs in a process of its own, so that it has all of the memory. This process
imports neither JAX nor PyTorch.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import gpu_sides
from benchmarks.runner import Goal, Result, Table

GOALS = {"100m": (0.40, 0.45), "350m": (0.47, 0.50), "1b": (0.52, 0.55)}
"""Least MFU, and the aim."""
RATIO = 1.2
"""Tokens per second, jaxmusic over PyTorch."""
GRACE = 15.0
"""Seconds after which a side that has run out of time is killed."""
COLUMNS = (
    *("model", "parameters", "rows, kept by the backward pass", "tokens/s", "MFU", "memory (GiB)"),
    *("tokens/s, packed", "PyTorch: rows, type", "PyTorch: tokens/s", "PyTorch: memory (GiB)"),
    "ratio",
)
NOTE = (
    "Rows of one part each, so that every operation counted is made: MFU is model FLOPs, causal "
    "and without what is computed again, by the peak. Packed: the same rows in "
    f"{gpu_sides.PARTS} parts of random lengths. Both sides train with AdamW and clipping on "
    "random tokens; PyTorch has whole rows without a mask, torch.compile and its flash attention, "
    "and the faster of autocast and pure bfloat16 counts."
)


@dataclasses.dataclass
class Side:
    """Findings of one process.

    Attributes:
      about: parameters and context, and for our side device, peak and FLOPs of a token.
      trials: all trials, in order.
      failure: why it ended early; empty if it did not.
    """

    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    trials: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    failure: str = ""

    @property
    def best(self) -> dict[str, Any] | None:
        """The fastest trial."""
        done = [trial for trial in self.trials if "seconds" in trial]
        return max(done, key=self.speed, default=None)

    def speed(self, trial: dict[str, Any], name: str = "seconds") -> float:
        """Computes tokens per second of a trial, by the median of its measurements."""
        return trial["batch"] * self.about["context"] / statistics.median(trial[name])

    def describe(self) -> str:
        """Lists the trials."""
        found = []
        for trial in self.trials:
            error = trial.get("error")
            figures = error or f"{self.speed(trial):,.0f} tokens/s, {trial['gib']:.1f} GiB"
            found.append(f"{trial['batch']} rows, {trial['way']}: {figures}")
        text = "; ".join(found) or "nothing"
        return f"{text}. It {self.failure}." if self.failure else f"{text}."


def run(
    size: tuple[str, ...] = tuple(GOALS), minutes: float = 8.5, repeats: int = 5
) -> Iterator[Result]:
    """Tries batches and rematerialisations of every size, and yields the result after each side.

    Args:
      size: names of presets; "toy" shows on any CPU that all of it runs.
      minutes: time for everything.
      repeats: measurements of a trial.
    """
    begun = time.monotonic()
    sides: dict[tuple[str, str], Side] = {}
    turns = [(name, side) for name in size for side in ("jaxmusic", "pytorch")]
    for number, (name, side) in enumerate(turns):
        left = minutes * 60 - (time.monotonic() - begun)
        sides[name, side] = measured(side, name, left / (len(turns) - number), repeats)
        yield result(sides)


def measured(side: str, size: str, seconds: float, repeats: int) -> Side:
    """Runs one side in a process of its own."""
    if seconds < GRACE:
        return Side(failure="had no time left")
    command = [sys.executable, "-m", "benchmarks.gpu_sides", side, size]
    command += [str(seconds - GRACE), str(repeats)]
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.93"} | dict(os.environ)
    found = Side()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        end = threading.Timer(seconds, process.kill)
        end.start()
        assert process.stdout
        for line in process.stdout:
            if line.startswith(gpu_sides.MARK):
                values = json.loads(line[len(gpu_sides.MARK) :])
                if found.about:
                    found.trials.append(values)
                else:
                    found.about = values
                print(f"{side} {size}: {line[1:].strip()}", file=sys.stderr, flush=True)
        code = process.wait()
        end.cancel()
        if code:
            errors.seek(0)
            last = ([text for text in errors.read().splitlines() if text.strip()] or [""])[-1]
            found.failure = f"ended with {code} after {len(found.trials)} trials: {last[:300]}"
    return found


def result(sides: dict[tuple[str, str], Side]) -> Result:
    """Makes the table of what has been measured so far."""
    rows, goals, notes = [], [], [NOTE]
    about = [side.about for side in sides.values() if "device" in side.about]
    if peak := max((found["peak"] for found in about), default=0.0):
        notes.append(f"Peak that the MFU assumes: {peak / 1e12:g} TFLOP/s of bfloat16.")
    for size in dict.fromkeys(size for size, _ in sides):
        ours, peer = (sides.get((size, side), Side()) for side in ("jaxmusic", "pytorch"))
        cells, reached = row(size, ours, peer)
        rows.append(cells)
        goals += reached
        notes += [f"jaxmusic at {size}: {ours.describe()}", f"PyTorch at {size}: {peer.describe()}"]
    devices = ", ".join(sorted({found["device"] for found in about}))
    return Result([Table(COLUMNS, rows)], goals, notes, devices)


def row(size: str, ours: Side, peer: Side) -> tuple[list[Any], list[Goal]]:
    """Makes the row of one size, with dashes for what is missing, and its goals."""
    cells: list[Any] = [size, ours.about.get("parameters", "-"), *["-"] * 9]
    best, theirs, goals = ours.best, peer.best, []
    if best:
        tokens = ours.speed(best)
        cells[2:4] = f"{best['batch']}, {best['way']}", round(tokens)
        cells[5:7] = round(best["gib"], 1), round(ours.speed(best, "packed"))
        if ours.about["peak"]:
            mfu = tokens * ours.about["flops"] / ours.about["peak"]
            cells[4] = f"{mfu:.1%}"
            if size in GOALS:
                least, aim = GOALS[size]
                what = f"MFU of {size} on one GPU: at least {least:.0%} (aim {aim:.0%})"
                goals.append(Goal(what, cells[4], mfu >= least))
    if theirs:
        cells[7:9] = f"{theirs['batch']}, {theirs['way']}", round(peer.speed(theirs))
        cells[9] = round(theirs["gib"], 1)
    if best and theirs:
        cells[10] = round(ours.speed(best) / peer.speed(theirs), 2)
        if size in GOALS:
            what = f"tokens/s of {size} on one GPU, ratio to PyTorch: at least {RATIO}"
            goals.append(Goal(what, str(cells[10]), cells[10] >= RATIO))
    return cells, goals
