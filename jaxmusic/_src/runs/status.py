"""Reads how runs stand from their folders alone, and shows it as one table; without JAX."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from etils import epath

from jaxmusic._src.core import locks, paths
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.runs import goodput
from jaxmusic._src.runs.log import read_log

Lines = list[dict[str, Any]]
Figures = dict[str, Any]

QUIET, COMPILING = 60.0, 1200.0
"""Seconds without a line of the log after which a run may be stuck, if lines came faster before;
the same for a process that has written no line of training yet."""
LEASE = 120.0
"""Seconds without a sign of life after which a run in a bucket has no process any more."""
PACE = 50
"""Lines of the log from which the time left is estimated."""
EVERY = 2.0
"""Seconds between two refreshes of ``--watch``."""


def status(run: str | epath.Path, now: float | None = None) -> Figures:
    """Reads how a run stands.

    Args:
      run: its folder.
      now: seconds since 1970; None for the present.

    Returns:
      Figures by name, in the order of the table, as docs/watching.md explains them; what is not
      known is left out.

    Raises:
      UserError: the folder is not that of a run.
    """
    path = runs.folder(run)
    now = time.time() if now is None else now
    steps, saved = runs.read(path).experiment.steps, runs.steps(path)
    lines = read_log(path, events=True)
    starts = [index for index, line in enumerate(lines) if "start" in line]
    since = lines[starts[-1] :] if starts else []
    train = [line for line in lines if "loss" in line]
    validated = [(x["val_loss"], x["step"]) for x in lines if x.get("val_loss") is not None]
    step = max([line["step"] for line in lines] + saved, default=0)
    written = lines[-1]["time"] if lines else None
    state, reason = _state(since, _alive(path, now), step >= steps, now - (written or now))
    if state == "finished" and saved[-1:] != [steps]:
        state = "killed"
    hidden = ("step", "seconds", "time", "goodput")
    parts = goodput.parts(lines[-1]) if lines else {}
    # A folder that was renamed, or in a bucket the file that is written last.
    checkpoints, complete = path / runs.CHECKPOINTS, runs.COMMITTED * paths.in_bucket(path)
    found = {
        "run": str(path),
        "state": state,
        "reason": reason,
        "step": step,
        "steps": steps,
        "seconds_left": _left(since, steps - step) if step < steps else None,
        "written": written,
        # Whatever a step reports, by its name in the log.
        **{
            name: value
            for name, value in (train[-1] if train else {}).items()
            if name not in hidden and not name.startswith(goodput.FIELD)
        },
        "skipped": sum(line.get("skipped", 0) for line in train) if train else None,
        "val_loss": validated[-1][0] if validated else None,
        "lowest_val_loss": min(validated)[0] if validated else None,
        "lowest_val_step": min(validated)[1] if validated else None,
        "goodput": round(goodput.share(parts), 4) if parts else None,
        **{goodput.FIELD + name: seconds for name, seconds in parts.items() if seconds >= 0.05},
        "checkpoints": saved or None,
        "best_checkpoint": runs.best(path),
        "saved": _modified(checkpoints / str(saved[-1]) / complete) if saved else None,
        "starts": since[0]["start"] if since else None,
        **{name: since[0].get(name) for name in ("host", "devices", "device") if since},
    }
    return {name: value for name, value in found.items() if value is not None}


def _state(since: Lines, alive: bool, done: bool, quiet: float) -> tuple[str, str | None]:
    """Infers state and reason from the lines since the last start and the time since the last."""
    end = next((line["end"] for line in reversed(since) if "end" in line), "")
    trained = list(itertools.dropwhile(lambda line: "loss" not in line, since))
    if alive:
        if done:
            return "finishing", None
        gaps = [b["time"] - a["time"] for a, b in itertools.pairwise(trained[-PACE:])]
        if quiet > (max(QUIET, 5 * max(gaps)) if gaps else COMPILING):
            return "stuck", None
        return ("training" if trained and not end else "starting"), None
    if done:
        return "finished", None
    if end:
        return ("stopped", None) if end == "stopped" else ("failed", end)
    return ("killed" if since else "stopped"), None


def _alive(path: epath.Path, now: float) -> bool:
    """Tells whether a process works on the run."""
    lock = path / runs.LOCK
    if not paths.in_bucket(path):
        return locks.is_held(lock)
    # A bucket has no locks: who holds this file writes it again and again.
    return lock.exists() and now - _modified(lock) < LEASE


def _left(since: Lines, steps: int) -> float | None:
    """Returns the seconds of a number of steps at the pace of the last lines; None if too few."""
    lines = [line for line in since if "loss" in line][-PACE:]
    made = lines[-1]["step"] - lines[0]["step"] if lines else 0
    return steps * (lines[-1]["time"] - lines[0]["time"]) / made if made else None


def _modified(path: epath.Path) -> float:
    """Returns when a file was changed, in seconds since 1970."""
    # The stat of epath wants a name of the owner, which not every container has.
    return float(path.stat().mtime) if paths.in_bucket(path) else os.stat(path).st_mtime


def show(folders: Sequence[str], as_json: bool, watch: bool) -> int:
    """Prints the status of runs, with `watch` again and again until Ctrl-C.

    Args:
      folders: folders of runs.
      as_json: print a line of JSON for each run instead of the table.
      watch: refresh every `EVERY` seconds; a terminal is cleared before.

    Returns:
      0; 2 if one of the folders is not that of a run, which is reported on stderr.
    """
    if not folders:
        raise UserError("Name the folder of a run, or several.")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            found, wrong = [], []
            for folder in folders:
                try:
                    found.append(status(folder))
                except UserError as error:
                    wrong.append(f"jaxmusic: {error}\n")
            if watch and sys.stdout.isatty():
                print("\x1b[H\x1b[2J", end="")
            if found:
                print("\n".join(map(json.dumps, found)) if as_json else table(found), flush=True)
            sys.stderr.writelines(wrong)
            if not watch:
                return 2 if wrong else 0
            time.sleep(EVERY)
    return 0


def table(found: Sequence[Figures]) -> str:
    """Returns the table: a row for each figure, a column for each run."""
    names = [n for n in dict.fromkeys(itertools.chain.from_iterable(found)) if n != "steps"]
    rows = [[n, *(_cell(n, one) if n in one else "" for one in found)] for n in names]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )


def _cell(name: str, of: Figures) -> str:
    """Formats a figure for the table."""
    value = of[name]
    if name == "step":
        return f"{value:,} of {of['steps']:,} ({value / max(of['steps'], 1):.1%})"
    if name in ("written", "saved"):
        return f"{duration(max(round(time.time() - value), 0))} ago"
    if name.startswith(("time/", "step_p", "seconds")):
        return duration(value)
    if isinstance(value, list):
        return ", ".join(map(str, value if len(value) < 5 else [value[0], "...", *value[-3:]]))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Returns seconds as 20 ms, 42 s, 3:07 min, 2:15 h or 3.4 days."""
    if seconds < 60:
        return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours < 1:
        return f"{minutes}:{int(seconds % 60):02} min"
    return f"{hours}:{minutes % 60:02} h" if hours < 72 else f"{seconds / 86400:.1f} days"
