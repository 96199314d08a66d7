"""The log of a run, `log.jsonl`: what its lines say, and how they are read without JAX.

Every line has the steps made, the seconds that the run took (without the times in which nothing
ran), the time since 1970, and the clock of `jaxmusic.runs.goodput`. Lines with a `loss` tell of
training, lines with a `val_loss` of a validation; the others are events: a process took the run up
(`start`), the loop waited for a checkpoint (`checkpoint_seconds`), or a process ended in good order
(`end`).
"""

from __future__ import annotations

from typing import Any

from etils import epath

from jaxmusic.runs import folder as runs
from jaxmusic.runs import journal

LOG = "log.jsonl"


def read_log(run: str | epath.Path, events: bool = False) -> list[dict[str, Any]]:
    """The lines of a run's log; a last line that was cut off by a kill is left out.

    Args:
      run: the run's folder.
      events: whether starts, ends and checkpoints are wanted besides the losses.
    """
    lines = journal.read(runs.folder(run) / LOG)
    return [x for x in lines if "step" in x and (events or "loss" in x or "val_loss" in x)]
