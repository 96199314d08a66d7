"""Ends a process in which nothing moves any more, so that it is started again."""

from __future__ import annotations

import faulthandler

ASIDE = 6
"""Starting, compiling, saving and validating may take this many times as long as a step."""


class Watchdog:
    """Ends the process when nothing has moved for a while.

    It writes the stacks of all threads to stderr and exits with 1 (`exits.CRASHED`). A thread of
    Python's fault handler does so, which needs no lock that a stuck thread may hold. Only for
    programs, as the process ends without any clean-up.

    Attributes:
      seconds: limit of a step; 0 for none.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __enter__(self) -> Watchdog:
        """Starts to watch."""
        self.moved(ASIDE)
        return self

    def __exit__(self, *_: object) -> None:
        """Stops watching."""
        if self.seconds:
            faulthandler.cancel_dump_traceback_later()

    def moved(self, times: int = 1) -> None:
        """Resets the clock: the next call must follow within `times` the limit of a step."""
        if self.seconds:
            # Whatever stands for stderr in a notebook or test, the stacks go to the process's own.
            faulthandler.dump_traceback_later(self.seconds * times, exit=True, file=2)
