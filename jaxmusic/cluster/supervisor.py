"""Starting a training again after a crash.

This module does without JAX: the process that watches must not crash for the same reasons.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

from jaxmusic.cluster import exits

PAUSE, LONGEST = 5.0, 300.0
"""Seconds before the first restart; each further one without progress waits twice as long, up
to the second of these."""
SILENCE = 60.0
"""Seconds without a sign of life after which a child is killed. Its own watchdog gives the signs,
and ends a child that merely makes no steps: this is for one that cannot even do that."""
TICK = 0.5
"""Seconds between looks at the child."""
BEAT = "JAXMUSIC_BEAT"
"""Environment variable with the number of the pipe to which the child writes signs of life."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def supervise(
    command: Sequence[str], reached: Callable[[], int], restarts: int, pause: float = PAUSE
) -> int:
    """Runs a command, and starts it again when it crashes.

    A start that has left a new checkpoint behind has made progress, which resets the count, so
    that a long run survives any number of crashes, but not one that comes again and again at the
    same place. Signals that ask to stop are passed on, and nothing is started after them.

    Args:
      command: the program, which exits with a code of `jaxmusic.cluster.exits`.
      reached: returns the step of the latest finished checkpoint, -1 before the first.
      restarts: how many starts without progress may follow a crash.
      pause: seconds before the first of them.

    Returns:
      The last exit code of the command.
    """
    with _Signals() as signals:
        count, last = 0, reached()
        while True:
            code = signals.run(command)
            if signals.received:
                # A child that had not yet learned to save was ended by the signal itself.
                return code if code >= 0 else exits.after(signals.received)
            if code in exits.ENDS:
                return code
            now = reached()
            if now != last:
                count, last = 0, now
            ended = f"training ended with {exits.named(code)}"
            if count == restarts:
                _say(f"{ended}: given up after {restarts} starts without a new checkpoint.")
                return code if code >= 0 else 128 - code
            wait = min(pause * 2**count, LONGEST)
            count += 1
            _say(f"{ended}: starting again in {wait:g} s, {count} of {restarts}.")
            if signals.within(wait):
                return exits.after(signals.received)


class _Signals:
    """Passes signals on to a child, and remembers the last that came."""

    def __init__(self) -> None:
        self.received = 0
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Signals:
        self._outside = {number: signal.signal(number, self._pass_on) for number in PASSED_ON}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._outside.items():
            signal.signal(number, handler)

    def run(self, command: Sequence[str]) -> int:
        """Runs a command; returns its exit code, or minus the signal that ended it."""
        reads, writes = os.pipe()
        environment = os.environ | {BEAT: str(writes)}
        with subprocess.Popen(command, pass_fds=[writes], env=environment) as self._child:
            os.close(writes)
            if self.received:
                self._child.send_signal(self.received)
            _watch(self._child, reads)
            code = self._child.wait()
        os.close(reads)
        self._child = None
        return code

    def within(self, seconds: float) -> bool:
        """Waits; returns at once, with True, if a signal comes."""
        end = time.monotonic() + seconds
        # Python runs a handler between the instructions of the main thread: it must not sleep long.
        while not self.received and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        return bool(self.received)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = number
        if self._child is not None:
            self._child.send_signal(number)


def _watch(child: subprocess.Popen[bytes], beats: int) -> None:
    """Waits for the end of a child, and ends one that has fallen silent."""
    heard, last = None, time.monotonic()
    while child.poll() is None:
        ready = select.select([beats], [], [], TICK)[0]
        now = time.monotonic()
        if ready:
            if not os.read(beats, 4096):
                break
            heard = now
        if heard is not None and now - last > 10 * TICK:
            heard = now  # this process itself was stopped, and with it most likely the child
        last = now
        if heard is not None and now - heard > SILENCE:
            _say(f"training has given no sign of life for {SILENCE:g} s: ending it.")
            child.kill()
            break


def _say(text: str) -> None:
    print(f"jaxmusic: {text}", file=sys.stderr, flush=True)


def again(argv: Sequence[str]) -> list[str]:
    """The command line of the child that trains once: that of this process, without --restarts."""
    return [sys.executable, "-m", "jaxmusic", "train", *argv, "--restarts", "0"]
