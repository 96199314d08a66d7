"""Starts a training again after a crash.

This module does without JAX: the process that watches must not crash for the same reasons.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from jaxmusic._src.cluster import exits
from jaxmusic._src.cluster.signals import ASKED

PAUSE, LONGEST = 5.0, 300.0
"""Seconds before the first restart; each further one without progress waits twice as long, up
to the second of these."""
STOPPED = 30.0
"""Seconds after which a child that SIGSTOP has stopped is killed: other processes of the run have
given it up by then, and wait for it to start again."""
TICK = 0.2
"""Seconds between looks at the child."""
REASONS = {
    exits.CRASHED: " (an error or no progress, see above)",
    -signal.SIGABRT: " (as JAX ends it when another process is lost)",
}


def supervise(
    command: Sequence[str], reached: Callable[[], int], restarts: int, pause: float = PAUSE
) -> int:
    """Runs a command, and starts it again when it crashes.

    A start that has left a new checkpoint behind has made progress, which resets the count, so
    that a long run survives any number of crashes, but not one that comes again and again at the
    same place. Signals that ask to stop are passed on, and nothing is started after them.

    Args:
      command: the program, which exits with a code of `cluster.exits`.
      reached: returns the step of the latest finished checkpoint, -1 before the first.
      restarts: how many starts without progress may follow a crash.
      pause: seconds before the first of them.

    Returns:
      The last exit code of the command.
    """
    pid = asked = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = number
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    outside = {number: signal.signal(number, pass_on) for number in ASKED}
    try:
        count, last = 0, reached()
        while True:
            pid = os.posix_spawn(command[0], list(command), os.environ)
            if asked:
                os.kill(pid, asked)
            code, pid = _ended(pid), 0
            if asked:
                # A child that had not yet learned to save was ended by the signal itself.
                return code if code >= 0 else exits.after(asked)
            if code in exits.ENDS:
                return code
            now = reached()
            if now != last:
                count, last = 0, now
            name = f"code {code}" if code >= 0 else signal.Signals(-code).name
            ended = f"training ended with {name}{REASONS.get(code, '')}"
            if count == restarts:
                _say(f"{ended}: given up after {restarts} starts without a new checkpoint.")
                return code if code >= 0 else 128 - code
            wait = min(pause * 2**count, LONGEST)
            count += 1
            _say(f"{ended}: starting again in {wait:g} s, {count} of {restarts}.")
            end = time.monotonic() + wait
            while time.monotonic() < end:
                time.sleep(TICK)
                if asked:
                    return exits.after(asked)
    finally:
        for number, handler in outside.items():
            signal.signal(number, handler)


def _ended(pid: int) -> int:
    """Waits for a child; returns its exit code, or minus the signal that ended it."""
    stopped, seconds = False, 0.0
    while True:
        changed, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        if changed and (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
            return os.waitstatus_to_exitcode(status)
        stopped = os.WIFSTOPPED(status) if changed else stopped
        # Not by the clock: Ctrl-Z stops this process as well.
        seconds = seconds + TICK if stopped else 0.0
        if seconds > STOPPED:
            _say(f"training has been stopped for {STOPPED:g} s: ending it.")
            os.kill(pid, signal.SIGKILL)
            stopped = False
        time.sleep(TICK)


def _say(text: str) -> None:
    print(f"jaxmusic: {text}", file=sys.stderr, flush=True)
