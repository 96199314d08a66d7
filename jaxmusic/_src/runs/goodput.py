"""Where the wall time of a run went: the share of it spent on steps that were kept.

The clock of a run starts when its first process does and stands in every line of the log, so that
whatever kills a process, the next one knows where the clock stood. The parts sum up to all of the
time:

training    steps that were kept
data        waiting for batches
starting    opening the data, making or restoring the state
compiling   compiling the step
validating  measuring the loss on the validation split
composing   composing samples, and what other callbacks do
saving      waiting for checkpoints; most of the writing overlaps with steps
profiling   starting and writing a profile
lost        all that a process did after the checkpoint from which the next one went on
down        from the last line of one process to the start of the next
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PARTS = (
    *("training", "data", "starting", "compiling", "validating"),
    *("composing", "saving", "profiling", "lost", "down"),
)
FIELD = "time/"
"""What the name of a part begins with in a line of the log."""


class Clock:
    """Counts the seconds of a run, of which each belongs to one part; it begins with starting."""

    def __init__(
        self, past: Mapping[str, float], began: float, clock: Callable[[], float] = time.time
    ):
        """Starts to count at `began`; `past` has the seconds of earlier processes."""
        self._clock, self._since = clock, began
        self._seconds = dict.fromkeys(PARTS, 0.0) | dict(past)
        self._part = "starting"

    def enter(self, part: str) -> str:
        """Counts the time from now on for a part; returns the one before."""
        before, now = self._part, self._clock()
        # A clock that was set back meanwhile takes no time away.
        self._seconds[before] += max(now - self._since, 0.0)
        self._part, self._since = part, now
        return before

    def read(self) -> dict[str, float]:
        """Returns the seconds of each part until now."""
        self.enter(self._part)
        return dict(self._seconds)


def share(parts: Mapping[str, float]) -> float:
    """Returns the goodput: seconds of training by seconds of all parts, from 0 to 1."""
    return parts["training"] / max(sum(parts.values()), 1e-9)


def parts(line: Mapping[str, Any]) -> dict[str, float]:
    """Returns the clock in a line of a log."""
    return {name: float(line[FIELD + name]) for name in PARTS if FIELD + name in line}


def past(lines: Sequence[Mapping[str, Any]], step: int, began: float) -> dict[str, float]:
    """Returns the clock of a resumed run at the start of its next process.

    What was counted after the checkpoint is lost, and the time since the last line was down time:
    when exactly the process died is not known.

    Args:
      lines: all lines of the log, those of later steps too.
      step: step of the checkpoint from which the run resumes.
      began: when this process started, in seconds since 1970.

    Returns:
      Seconds of each part; empty for a run that begins now.
    """
    if not lines:
        return {}
    kept = [parts(line) for line in lines if line["step"] <= step]
    out = dict.fromkeys(PARTS, 0.0) | (kept[-1] if kept else {})
    out["lost"] += max(sum(parts(lines[-1]).values()) - sum(out.values()), 0.0)
    out["down"] += max(began - float(lines[-1]["time"]), 0.0)
    return out
