"""Leaving on Ctrl-C and SIGTERM without losing work."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Stop:
    """A context in which the first SIGINT or SIGTERM only asks the loop to stop.

    A second one acts as it does outside. Python runs signal handlers in the main thread alone, so
    that elsewhere this context changes nothing.

    Attributes:
      signal: number of the signal that came, 0 before.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._outside: dict[int, Any] = {}

    def __bool__(self) -> bool:
        """Whether to stop."""
        return self.signal != 0

    def __enter__(self) -> Stop:
        """Installs the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._outside[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, *_: object) -> None:
        """Puts back the handlers that were there before."""
        self._restore()

    def _received(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        while self._outside:
            number, handler = self._outside.popitem()
            signal.signal(number, handler)
