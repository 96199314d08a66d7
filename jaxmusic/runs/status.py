"""Reads the status of a run from its folder alone, during training or afterwards; without JAX."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import statistics
import time
from typing import Any

from etils import epath

from jaxmusic.core import locks, paths
from jaxmusic.runs import folder as runs
from jaxmusic.runs import goodput
from jaxmusic.runs.log import LOG, read_log

Lines = list[dict[str, Any]]

QUIET = 60.0
"""Seconds without a line of the log after which a run may be stuck, if lines came faster before."""
COMPILING = 1200.0
"""The same for a process that has not written one line of training yet."""
LEASE = 120.0
"""Seconds without a sign of life after which a run in a bucket has no process any more."""
PACE = 50
"""Lines of the log from which the time left is reckoned."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run.

    Attributes:
      steps: of which there is one, ascending.
      best: the one with the lowest validation loss, None if none was validated.
      bytes: size of the latest.
      written: when the latest was finished, in seconds since 1970.
      blocked: median of the seconds that the loop waited for one; None if the log does not say.
    """

    steps: tuple[int, ...] = ()
    best: int | None = None
    bytes: int = 0
    written: float = 0.0
    blocked: float | None = None


@dataclasses.dataclass(frozen=True)
class Status:
    """How a run stands. What the log does not say, as those of jaxmusic 0.1 do not, is None.

    Attributes:
      run: the folder.
      state: starting, training, finishing, stuck, finished, stopped, failed or killed.
      reason: what a failed run said.
      step: steps made, as far as the log says.
      steps: steps in all.
      starts: processes that took the run up, one after another.
      written: when the last line was written, in seconds since 1970.
      left: seconds until the end, at the pace of the last lines.
      ends: when that will be, in seconds since 1970, while the run trains.
      train: the last line about training: loss, tokens_per_s, mfu, data_wait, step_p50 and so on.
      start: the last line about a start: device, devices, peak_flops, host.
      losses: (step, training loss) of each line.
      val_losses: (step, validation loss) of each line.
      skipped: updates left out.
      parts: seconds of each part of the wall time, see `jaxmusic.runs.goodput`.
      goodput: share of it spent on steps that were kept.
      checkpoints: its checkpoints.
    """

    run: str
    state: str
    reason: str
    step: int
    steps: int
    starts: int | None
    written: float | None
    left: float | None
    ends: float | None
    train: dict[str, Any]
    start: dict[str, Any]
    losses: tuple[tuple[int, float], ...]
    val_losses: tuple[tuple[int, float], ...]
    skipped: int
    parts: dict[str, float]
    goodput: float | None
    checkpoints: Checkpoints

    def to_json(self) -> str:
        """The status as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))


def status(run: str | epath.Path, now: float | None = None) -> Status:
    """Reads how a run stands.

    Args:
      run: its folder.
      now: seconds since 1970; None for the present.

    Raises:
      UserError: the folder is not that of a run.
    """
    path = runs.folder(run)
    steps = runs.read(path).experiment.steps
    now = time.time() if now is None else now
    lines = read_log(path, events=True)
    train = [line for line in lines if "loss" in line]
    since = _since_start(lines)
    saved = _checkpoints(path, lines)
    written = _written(path, lines)
    step = max([line["step"] for line in lines] + list(saved.steps[-1:]), default=0)
    alive = _alive(path, now)
    state, reason = _state(since, alive, step >= steps, now - (written or now))
    if state == "finished" and saved.steps[-1:] != (steps,):
        state = "killed"
    left = _left(since, steps - step)
    starts = [line for line in lines if "start" in line]
    parts = goodput.parts(lines[-1]) if lines else {}
    return Status(
        run=str(path),
        state=state,
        reason=reason,
        step=step,
        steps=steps,
        starts=len(starts) or None,
        written=written,
        left=left,
        ends=now + left if left is not None and state == "training" else None,
        train=train[-1] if train else {},
        start=starts[-1] if starts else {},
        losses=_curve(lines, "loss"),
        val_losses=_curve(lines, "val_loss"),
        skipped=int(sum(line.get("skipped", 0) for line in train)),
        parts=parts,
        goodput=goodput.share(parts) if parts else None,
        checkpoints=saved,
    )


def _state(since: Lines, alive: bool, done: bool, quiet: float) -> tuple[str, str]:
    """State and reason, from the lines since the last start and the seconds since the last one."""
    end = next((line["end"] for line in reversed(since) if "end" in line), "")
    if alive:
        if done:
            return "finishing", ""
        if quiet > _patience(since):
            return "stuck", ""
        trained = any("loss" in line for line in since)
        return ("training" if trained and not end else "starting"), ""
    if done:
        return "finished", ""
    if end:
        return ("stopped", "") if end == "stopped" else ("failed", end)
    return ("killed" if any("start" in line for line in since) else "stopped"), ""


def _patience(since: Lines) -> float:
    """Seconds after the last line at which a living run seems stuck."""
    lines = list(itertools.dropwhile(lambda line: "loss" not in line, since))
    if len(lines) < 2:
        return COMPILING
    clock = "time" if "time" in lines[0] else "seconds"
    times = [float(line[clock]) for line in lines[-PACE:]]
    return max(QUIET, 5 * max(b - a for a, b in itertools.pairwise(times)))


def _alive(path: epath.Path, now: float) -> bool:
    """Whether a process works on the run."""
    lock = path / runs.LOCK
    if not paths.in_bucket(path):
        return locks.is_held(lock)
    # A bucket has no locks: who holds this file writes it again and again.
    return lock.exists() and now - _modified(lock) < LEASE


def _since_start(lines: Lines) -> Lines:
    """The lines since the last start; all in an old log."""
    starts = [index for index, line in enumerate(lines) if "start" in line]
    return lines[starts[-1] :] if starts else lines


def _written(path: epath.Path, lines: Lines) -> float | None:
    """When the last line was written; of an old log, when the file was."""
    if lines and "time" in lines[-1]:
        return float(lines[-1]["time"])
    log = path / LOG
    return _modified(log) if log.exists() else None


def _left(since: Lines, steps: int) -> float | None:
    """Returns the time of a number of steps at the pace of the last lines; None if too few."""
    lines = [line for line in since if "loss" in line][-PACE:]
    made = lines[-1]["step"] - lines[0]["step"] if lines else 0
    if not made:
        return None
    clock = "time" if "time" in lines[0] else "seconds"
    return max(steps, 0) * float(lines[-1][clock] - lines[0][clock]) / made


def _curve(lines: Lines, name: str) -> tuple[tuple[int, float], ...]:
    return tuple((x["step"], x[name]) for x in lines if x.get(name) is not None)


def _checkpoints(path: epath.Path, lines: Lines) -> Checkpoints:
    folder, steps = path / runs.CHECKPOINTS, runs.steps(path)
    if not steps:
        return Checkpoints()
    losses = {step: _val_loss(folder / str(step)) for step in steps}
    known = {step: loss for step, loss in losses.items() if loss is not None}
    blocked = [x["checkpoint_seconds"] for x in lines if "checkpoint_seconds" in x]
    latest = folder / str(steps[-1])
    return Checkpoints(
        steps=tuple(steps),
        best=min(known, key=lambda step: known[step]) if known else None,
        bytes=_size(latest),
        written=_modified(latest / runs.COMMITTED if paths.in_bucket(path) else latest),
        blocked=statistics.median(blocked) if blocked else None,
    )


def _val_loss(checkpoint: epath.Path) -> float | None:
    """The validation loss by which the best checkpoint is found, as Orbax keeps it."""
    file = checkpoint / "metrics" / "metrics"
    return json.loads(file.read_text())["val_loss"] if file.exists() else None


def _modified(path: epath.Path) -> float:
    """When a file was changed, in seconds since 1970."""
    # The stat of epath wants a name of the owner, which not every container has.
    return float(path.stat().mtime) if paths.in_bucket(path) else os.stat(path).st_mtime


def _size(path: epath.Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_dir():
        return sum(_size(child) for child in path.iterdir())
    return int(path.stat().length) if paths.in_bucket(path) else os.stat(path).st_size
