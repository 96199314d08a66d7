"""MFU of training on one GPU, by size of model, beside Transformers on PyTorch.

This process takes no memory of the GPU: it imports neither JAX nor PyTorch.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from benchmarks import gpu_sides, runner
from benchmarks.runner import Options, Result, Row

SIZES = "100m 350m 1b"
GOALS = {"100m": (0.40, 0.45), "350m": (0.47, 0.50), "1b": (0.52, 0.55)}
"""MFU that must be reached, and that is the aim."""
RATIO = 1.2
"""Tokens per second, jaxmusic over PyTorch."""
GRACE = 15.0
"""Seconds that a side may go on after its time, before it is ended."""
COLUMNS = (
    *("model", "parameters", "rows, kept by the backward pass", "tokens/s", "MFU", "memory (GiB)"),
    *("tokens/s, packed", "PyTorch: rows, type", "PyTorch: tokens/s", "PyTorch: memory (GiB)"),
    "ratio",
)


@dataclasses.dataclass
class Side:
    """What one process found.

    Attributes:
      about: what it measured: parameters, and for our side device, peak and FLOPs of a token.
      trials: all it tried, in order.
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
        """Tokens per second of a trial, by the median of its measurements."""
        return trial["batch"] * self.about["context"] / statistics.median(trial[name])

    def told(self, trial: dict[str, Any]) -> str:
        """A trial in a few words."""
        name = f"{trial['batch']} rows, {trial['way']}"
        if "error" in trial:
            return f"{name}: {trial['error']}"
        return f"{name}: {self.speed(trial):,.0f} tokens/s, {trial['gib']:.1f} GiB"


def run(options: Options) -> Result:
    """Every size, both sides one after another; the result is kept after each."""
    begun = time.monotonic()
    sizes = (options.size or SIZES).split()
    ours: dict[str, Side] = {}
    peers: dict[str, Side] = {}
    turns = [(size, side) for size in sizes for side in ("jaxmusic", "pytorch")]
    for number, (size, side) in enumerate(turns):
        left = options.minutes * 60 - (time.monotonic() - begun)
        share = left / (len(turns) - number)
        into = ours if side == "jaxmusic" else peers
        into[size] = measured(side, size, share, options.repeats)
        runner.write("gpu", options, result(ours, peers), time.monotonic() - begun)
    return result(ours, peers)


def measured(side: str, size: str, seconds: float, repeats: int) -> Side:
    """Runs one side in a process of its own, so that each has all of the memory."""
    found = Side()
    if side == "pytorch":
        for module in ("torch", "transformers"):
            if importlib.util.find_spec(module) is None:
                found.failure = f"{module} is not installed"
                return found
    if seconds < GRACE:
        found.failure = "no time was left"
        return found
    command = [sys.executable, "-m", "benchmarks.gpu_sides", side, size]
    command += ["--seconds", str(seconds - GRACE), "--repeats", str(repeats)]
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.93"} | dict(os.environ)
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        )
        end = threading.Timer(seconds, process.kill)
        end.start()
        assert process.stdout
        for line in process.stdout:
            if not line.startswith(gpu_sides.MARK):
                continue
            values = json.loads(line[len(gpu_sides.MARK) :])
            if found.about:
                found.trials.append(values)
            else:
                found.about = values
            print(f"{side} {size}: {line[1:].strip()}", file=sys.stderr, flush=True)
        code = process.wait()
        end.cancel()
        if code:
            said.seek(0)
            last = ([text for text in said.read().splitlines() if text.strip()] or [""])[-1]
            found.failure = f"ended with {code} after {len(found.trials)} trials: {last[:300]}"
    return found


def result(ours: dict[str, Side], peers: dict[str, Side]) -> Result:
    """The table of what has been measured so far."""
    rows, notes = [], [NOTE]
    devices = {side.about["device"] for side in ours.values() if side.about}
    peaks = {side.about["peak"] for side in ours.values() if side.about} - {0.0}
    if peaks:
        notes.append(f"Peak that the MFU assumes: {max(peaks) / 1e12:g} TFLOP/s of bfloat16.")
    for size, side in ours.items():
        peer = peers.get(size, Side())
        rows.append(row(size, side, peer))
        for name, one in (("jaxmusic", side), ("PyTorch", peer)):
            tried = "; ".join(map(one.told, one.trials))
            failure = f" It {one.failure}." if one.failure else ""
            if tried or failure:
                notes.append(f"{name} at {size}: {tried or 'nothing'}.{failure}")
    return Result(COLUMNS, tuple(rows), tuple(notes), devices=", ".join(sorted(devices)))


NOTE = (
    "Rows of one part each, so that every operation counted is made: MFU is model FLOPs, causal "
    "and without what is computed again, by the peak. Packed: the same rows in "
    f"{gpu_sides.PARTS} parts of random lengths. Both sides train with AdamW and clipping on "
    "random tokens; PyTorch has whole rows without a mask, torch.compile and its flash attention, "
    "and the faster of autocast and pure bfloat16 counts."
)


def row(size: str, ours: Side, peer: Side) -> Row:
    """One size; what is missing is a dash."""
    cells: list[Any] = [size, ours.about.get("parameters", "-"), *["-"] * 9]
    best, theirs = ours.best, peer.best
    mfu = ratio = 0.0
    if best:
        tokens = ours.speed(best)
        cells[2:4] = f"{best['batch']}, {best['way']}", round(tokens)
        if ours.about["peak"]:
            mfu = tokens * ours.about["flops"] / ours.about["peak"]
            cells[4] = f"{mfu:.1%}"
        cells[5:7] = round(best["gib"], 1), round(ours.speed(best, "packed"))
    if theirs:
        cells[7:9] = f"{theirs['batch']}, {theirs['way']}", round(peer.speed(theirs))
        cells[9] = round(theirs["gib"], 1)
    if best and theirs:
        ratio = ours.speed(best) / peer.speed(theirs)
        cells[10] = round(ratio, 2)
    if size not in GOALS or not mfu:
        return Row(tuple(cells))
    least, aim = GOALS[size]
    goal = f"MFU at least {least:.0%} (aim {aim:.0%}), ratio at least {RATIO}"
    return Row(tuple(cells), goal, mfu >= least and ratio >= RATIO)
