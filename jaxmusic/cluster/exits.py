"""Exit codes of `jaxmusic train`, by which launchers and supervisors know what to do next."""

from __future__ import annotations

import signal

FINISHED = 0
MISTAKE = 1
"""A mistake that the user can correct; starting again would end the same way."""
USAGE = 2
"""The command line was wrong."""
STUCK = 70
"""The watchdog ended a run in which nothing moved: start it again."""
CRASHED = 71
"""An unexpected error; its traceback was shown."""
SAVED = 75
"""Saved after SIGTERM, a preemption notice or a signal of Slurm: start it again to go on."""
PEER_LOST = 76
"""Another process of the run is gone or does not answer: start all of them again."""
INTERRUPTED = 130
"""Saved after Ctrl-C."""

ENDS = frozenset({FINISHED, MISTAKE, USAGE, SAVED, INTERRUPTED})
"""Codes after which a run is not started again by itself; all others are crashes."""


def after(number: int) -> int:
    """The code of a run that a signal stopped and that has saved; 0 for no signal."""
    if number == 0:
        return FINISHED
    return INTERRUPTED if number == signal.SIGINT else SAVED


def named(code: int) -> str:
    """An exit code of a child, or minus the number of the signal that ended it, in words."""
    if code < 0:
        return signal.Signals(-code).name
    words = {
        MISTAKE: "a mistake",
        STUCK: "it stood still",
        CRASHED: "an error",
        PEER_LOST: "another process was lost",
        128 + signal.SIGABRT: "aborted",
    }
    return f"code {code} ({words[code]})" if code in words else f"code {code}"
