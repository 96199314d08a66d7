"""Ending a process that stands still, so that it is started again."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from etils import epath

from jaxmusic.cluster import exits
from jaxmusic.cluster.supervisor import BEAT

ASIDE = 6
"""Compiling, saving and validating may take this many times as long as a step without being
considered to stand still."""
TICK = 1.0
"""Seconds between looks at the clock."""
LAST = 5.0
"""Seconds for telling others and for writing down the stacks, on disks that may stand still too."""

_ending = threading.Lock()


class Watchdog:
    """Ends the process when nothing has moved for a while, and says where it stands still.

    Also gives the supervisor, if there is one, signs of life. Only for programs: the process ends
    without any clean-up, as a thread that hangs cannot be ended otherwise.

    Attributes:
      seconds: bound on a step; 0 for none.
      name: what to call this process.
      folder: folder for the stacks; None for none.
      tell: called with a sentence and an exit code before the end.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.name = "this process"
        self.folder: epath.Path | None = None
        self.tell: Callable[[str, int], None] = lambda sentence, code: None
        self._since = time.monotonic()
        self._doing = ["starting"]
        self._over = threading.Event()
        beat = os.environ.pop(BEAT, None)
        self._beat = None if beat is None else int(beat)

    def __enter__(self) -> Watchdog:
        """Starts to watch."""
        if self.seconds or self._beat is not None:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops watching."""
        self._over.set()

    def started(self) -> None:
        """Says that from now on steps are made."""
        self._doing.clear()
        self.moved()

    def moved(self) -> None:
        """Says that a step has ended, or a part of something longer."""
        self._since = time.monotonic()

    @contextlib.contextmanager
    def aside(self, doing: str) -> Iterator[None]:
        """What happens inside may take `ASIDE` times as long as a step."""
        self._doing.append(doing)
        self.moved()
        try:
            yield
        finally:
            self._doing.remove(doing)
            self.moved()

    def _watch(self) -> None:
        last = time.monotonic()
        tick = min(TICK, self.seconds / 4 or TICK)
        while not self._over.wait(tick):
            now = time.monotonic()
            if self._beat is not None:
                with contextlib.suppress(OSError):
                    os.write(self._beat, b".")
            if now - last > 10 * tick:
                # The whole process was stopped, by Ctrl-Z say: that is not standing still.
                self.moved()
            last = now
            doing = self._doing[-1:]
            bound = self.seconds * (ASIDE if doing else 1)
            if self.seconds and now - self._since > bound:
                self._end(f"{doing[0]} has not ended" if doing else "no step has ended", bound)

    def _end(self, what: str, bound: float) -> None:
        with tempfile.TemporaryFile("w+") as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            stacks = file.read()
        sentence = f"{self.name} stood still: {what} for {bound:g} s"
        os.write(2, f"\n{sentence}\n{stacks}".encode())
        _within(LAST, lambda: self._write(f"{sentence}\n{stacks}"))
        _within(LAST, lambda: self.tell(f"stood still: {what} for {bound:g} s", exits.STUCK))
        leave(f"{sentence}; the stacks above show where", exits.STUCK)

    def _write(self, text: str) -> None:
        if self.folder is not None:
            (self.folder / f"stuck-{self.name.replace(' ', '-')}.txt").write_text(text)


def leave(sentence: str, code: int) -> NoReturn:
    """Ends the process at once, with a sentence; the first thread that wants to wins."""
    if not _ending.acquire(blocking=False):
        threading.Event().wait()
    # Neither buffers nor locks of other threads can keep this from being written.
    with contextlib.suppress(OSError):
        os.write(2, f"\njaxmusic: {sentence}\n".encode())
    os._exit(code)


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Calls, but does not wait for longer than this."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            call()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    thread.join(seconds)
