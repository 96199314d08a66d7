"""The log of a run, `log.jsonl`: what its lines say, and how they are read without JAX.

Every line has the steps made, the seconds that the run took (without the times in which nothing
ran), the time since 1970, and the clock of `runs.goodput`. Lines with a `loss` tell of
training, lines with a `val_loss` of a validation; the others are events: a process took the run up
(`start`), the loop waited for a checkpoint (`checkpoint_seconds`), or a process ended in good order
(`end`).
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from etils import epath

from jaxmusic._src.core import outside
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.runs import goodput, journal

LOG = "log.jsonl"


class Line(TypedDict):
    """What a line says, besides figures of steps by their names."""

    step: int
    time: float
    seconds: NotRequired[float]
    loss: NotRequired[float | None]
    val_loss: NotRequired[float | None]
    skipped: NotRequired[float]
    start: NotRequired[int]
    end: NotRequired[str]


def read_log(run: str | epath.Path, events: bool = False) -> list[dict[str, Any]]:
    """Reads the lines of a run's log, without a last line that a kill has cut off.

    Args:
      run: the run's folder.
      events: whether starts, ends and checkpoints are wanted besides the losses.

    Raises:
      UserError: a line says something else.
    """
    path = runs.folder(run) / LOG
    lines = journal.read(path, Line)
    for line in lines:
        clock = {name: x for name, x in line.items() if name.startswith(goodput.FIELD)}
        outside.checked(clock, dict[str, float], path)
    return [x for x in lines if events or "loss" in x or "val_loss" in x]
