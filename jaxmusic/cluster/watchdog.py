"""Ending a process in which nothing moves any more, so that it is started again."""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Iterator

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
        self._aside = 1

    def __enter__(self) -> Watchdog:
        """Starts to watch; what comes before the first step counts as aside."""
        self.moved()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops watching."""
        if self.seconds:
            faulthandler.cancel_dump_traceback_later()

    def started(self) -> None:
        """Says that from now on steps are made."""
        self._aside -= 1
        self.moved()

    def moved(self) -> None:
        """Says that a step has ended, or a part of something longer."""
        if self.seconds:
            limit = self.seconds * (ASIDE if self._aside else 1)
            # Whatever stands for stderr in a notebook or test, the stacks go to the process's own.
            faulthandler.dump_traceback_later(limit, exit=True, file=2)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What happens inside may take `ASIDE` times as long as a step."""
        self._aside += 1
        self.moved()
        try:
            yield
        finally:
            self._aside -= 1
            self.moved()
