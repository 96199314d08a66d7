"""Leaving on Ctrl-C, SIGTERM and what else announces an end, without losing work."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, what every scheduler sends, and what Slurm sends on ``--signal``."""
ECHO = 1.0
"""Seconds in which a second Ctrl-C is the first one once more: a terminal sends it to a whole group
of processes, and a supervisor passes it on."""


class Stop:
    """A context in which signals only ask the loop to stop.

    A second Ctrl-C acts as it does outside; further signals of other kinds change nothing. Python
    runs signal handlers in the main thread alone, so that elsewhere this context changes nothing.

    In a run of several processes a signal to any of them stops all after the same step. JAX agrees
    on that step, and learns of SIGTERM by a handler of its own, which must not be replaced: there,
    the other signals are turned into that one.

    Attributes:
      signal: number of the signal that came, 0 before.
    """

    def __init__(self, several: bool = False) -> None:
        self.signal = 0
        self._several = several
        self._since = 0.0
        self._outside: dict[int, Any] = {}

    def now(self, step: int) -> bool:
        """Tells whether to stop after `step` steps; every process must ask after every step."""
        if not self._several:
            return self.signal != 0
        from jax.experimental import multihost_utils

        if not multihost_utils.reached_preemption_sync_point(step):
            return False
        self.signal = self.signal or signal.SIGTERM
        return True

    def __enter__(self) -> Stop:
        """Installs the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in ASKED:
                if not (self._several and number == signal.SIGTERM):
                    self._outside[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        """Puts back the handlers that were there before."""
        for number in list(self._outside):
            self._restore(number)

    def _received(self, number: int, frame: FrameType | None) -> None:
        del frame
        if not self.signal:
            self.signal, self._since = number, time.monotonic()
            if self._several:
                os.kill(os.getpid(), signal.SIGTERM)
        elif number == signal.SIGINT and time.monotonic() - self._since > ECHO:
            self._restore(number)
            os.kill(os.getpid(), number)

    def _restore(self, number: int) -> None:
        signal.signal(number, self._outside.pop(number))
