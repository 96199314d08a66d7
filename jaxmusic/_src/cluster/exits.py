"""Exit codes of `jaxmusic train`, by which supervisors and launchers know what to do next."""

import signal

FINISHED = 0
CRASHED = 1
"""An unexpected error, or no step for too long: start it again."""
MISTAKE = 2
"""The user has to correct something; another start would end in the same way."""
SAVED = 75
"""Saved after SIGTERM, a preemption notice or a signal of Slurm: start it again to go on."""
INTERRUPTED = 130
"""Saved after Ctrl-C."""
ABORTED = 134
"""JAX aborted the process because another one is lost: start all of them again."""

ENDS = frozenset({FINISHED, MISTAKE, SAVED, INTERRUPTED})
"""Codes after which a run is not started again by itself; all others are crashes."""


def after(number: int) -> int:
    """Returns the code of a run that a signal stopped and that has saved; 0 for no signal."""
    return {0: FINISHED, signal.SIGINT: INTERRUPTED}.get(number, SAVED)
