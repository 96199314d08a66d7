"""Status of runs as one table for a terminal: a row for each figure, a column for each run."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Mapping, Sequence

from jaxmusic.core.errors import UserError
from jaxmusic.runs import status as statuses
from jaxmusic.runs.status import Status

EVERY = 2.0
"""Seconds between two refreshes of `--watch`."""


def show(folders: Sequence[str], as_json: bool, watch: bool) -> int:
    """Prints the status of runs, with `watch` again and again until Ctrl-C.

    Args:
      folders: folders of runs.
      as_json: print a line of JSON for each run instead of the table.
      watch: refresh every `EVERY` seconds; a terminal is cleared before.

    Returns:
      0; 1 if one of the folders is not that of a run, which is reported on stderr.
    """
    if not folders:
        raise UserError("Name the folder of a run, or several.")
    wrong = False
    try:
        wrong = _show(folders, as_json, watch and sys.stdout.isatty())
        while watch:
            time.sleep(EVERY)
            wrong = _show(folders, as_json, sys.stdout.isatty())
    except KeyboardInterrupt:
        # Ctrl-C ends watching.
        if not watch:
            raise
    return int(wrong)


def _show(folders: Sequence[str], as_json: bool, clear: bool) -> bool:
    """Prints the status of runs once; returns whether one of the folders is none."""
    found, wrong = [], []
    for folder in folders:
        try:
            found.append(statuses.status(folder))
        except UserError as error:
            wrong.append(f"jaxmusic: {error}")
    if clear:
        print("\x1b[H\x1b[2J", end="")
    if found:
        print("\n".join(one.to_json() for one in found) if as_json else text(found), flush=True)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
    return bool(wrong)


def text(found: Sequence[Status]) -> str:
    """Returns the table; a figure that no run has is left out."""
    columns = [_cells(one) for one in found]
    names = dict.fromkeys(itertools.chain.from_iterable(columns))
    rows = [[name, *(cells.get(name, "") for cells in columns)] for name in names]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    )


def _cells(status: Status) -> Mapping[str, str]:
    """Returns the figures of a run by name, as text."""
    saved, start = status.checkpoints, status.start
    share = status.step / max(status.steps, 1)
    cells = {
        "run": status.run,
        "state": status.state,
        "reason": status.reason,
        "step": f"{status.step:,} of {status.steps:,} ({share:.1%})",
        "time left": "" if status.left is None or share >= 1 else duration(status.left),
        "last line": _ago(status.written),
    }
    # Whatever a step reports, by its name in the log.
    cells |= {
        name: f"{value:.4g}"
        for name, value in status.train.items()
        if isinstance(value, int | float) and not name.startswith(("time", "step", "seconds"))
    }
    cells |= {n: duration(v) for n, v in status.train.items() if n.startswith("step_p")}
    if status.val_losses:
        step, best = min(status.val_losses, key=lambda point: point[1])
        cells["validation"] = f"{status.val_losses[-1][1]:.4f}, lowest {best:.4f} at step {step:,}"
    cells["updates left out"] = f"{status.skipped}" if status.train else ""
    if status.goodput is not None:
        cells["goodput"] = f"{status.goodput:.1%} of {duration(sum(status.parts.values()))}"
    cells |= {f"time {n}": duration(s) for n, s in status.parts.items() if s >= 0.05}
    steps = [f"{step:,}" + (" (best)" if step == saved.best else "") for step in saved.steps]
    cells["checkpoints"] = ", ".join(steps if len(steps) < 5 else [steps[0], "...", *steps[-3:]])
    if saved.steps:
        cells["latest checkpoint"] = f"{saved.bytes / 1e6:,.1f} MB, {_ago(saved.written)}"
    if status.starts:
        cells["starts"] = f"{status.starts}, the last on {start.get('host', 'an unknown host')}"
        cells["devices"] = f"{start.get('devices', 1)} x {start.get('device', 'unknown')}"
    return {name: cell for name, cell in cells.items() if cell}


def duration(seconds: float) -> str:
    """Returns seconds as 20 ms, 42 s, 3:07 min, 2:15 h or 3.4 days."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}:{int(seconds % 60):02} min"
    if seconds < 72 * 3600:
        return f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02} h"
    return f"{seconds / 86400:.1f} days"


def _ago(moment: float | None) -> str:
    return "" if moment is None else f"{duration(max(round(time.time() - moment), 0))} ago"
