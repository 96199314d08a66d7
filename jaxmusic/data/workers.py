"""Workers: processes that read files, any of which may be lost.

A native parser may crash or hang on a malformed file. A worker that dies or takes too long is
replaced, and its file is skipped.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing import connection
from typing import Any, TypeVar

from jaxmusic.config import Prepare
from jaxmusic.data import processes
from jaxmusic.data.examine import Kept, Skipped, default_codec, examine_file
from jaxmusic.data.sources import MusicFile

T = TypeVar("T")
Work = Callable[[MusicFile], Any]
"""A function of a module, or a partial one, by whose name other processes find it."""

_START_SECONDS = 120.0
_AHEAD = 16
"""Files that each worker may be ahead of the slowest one: bounds the memory of results."""


def examine_files(
    files: Sequence[MusicFile], config: Prepare
) -> Generator[tuple[MusicFile, Kept | Skipped], None, None]:
    """Examines files in ``config.workers`` processes, see `each`."""
    work = functools.partial(_examine, config=config)
    return each(files, work, config.workers, config.file_timeout)


def _examine(file: MusicFile, config: Prepare) -> Kept | Skipped:
    return examine_file(file, config, _codec(config))


_codec = functools.lru_cache(default_codec)


def each(
    files: Sequence[MusicFile],
    work: Callable[[MusicFile], T | Skipped],
    count: int,
    timeout: float,
) -> Generator[tuple[MusicFile, T | Skipped], None, None]:
    """Does something with each file, in processes of their own.

    Whatever happens to a worker, each file comes out once, in the order of `files`.

    Args:
      files: what to read.
      work: a function of a module, or a partial one; it is done in other processes, which import
        that module. It should turn exceptions into `Skipped`: one that escapes costs the worker.
      count: processes; 0 is one for each core.
      timeout: seconds after which a file is given up.
    """
    count = min(count or _cores(), len(files))
    workers = [_Worker(work, timeout) for _ in range(count)]
    results: dict[int, T | Skipped] = {}
    sent = done = 0
    try:
        while done < len(files):
            for worker in workers:
                if worker.idle and sent < min(len(files), done + _AHEAD * count):
                    worker.send(sent, files[sent])
                    sent += 1
            for worker in _ready(workers):
                if (outcome := worker.receive()) is not None:
                    results[outcome[0]] = outcome[1]
            while done in results:
                yield files[done], results.pop(done)
                done += 1
    finally:
        for worker in workers:
            worker.stop()


def _cores() -> int:
    """Cores that this process may use, where the system tells, or that there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Workers that have something to say, or are dead, or late."""
    soonest = min(worker.deadline for worker in workers)
    wait = min(max(soonest - time.monotonic(), 0.0), 5.0)
    heard = connection.wait([worker.inbox for worker in workers], wait)
    now = time.monotonic()
    return [w for w in workers if w.inbox in heard or now >= w.deadline]


class _Worker:
    """One process, its two pipes, and the file that it is reading."""

    def __init__(self, work: Work, timeout: float):
        self.work, self.timeout = work, timeout
        self._start()

    def _start(self) -> None:
        self.process, self.inbox, self.outbox = processes.start(
            "jaxmusic.data.workers", subprocess.PIPE
        )
        self.started = False
        self.index: int | None = None
        self.deadline = time.monotonic() + _START_SECONDS
        self.outbox.send((self.work, self.timeout))

    @property
    def idle(self) -> bool:
        return self.started and self.index is None

    def send(self, index: int, file: MusicFile) -> None:
        self.index = index
        self.deadline = time.monotonic() + self.timeout
        # If it died while it was idle, the end of its pipe says so too.
        with contextlib.suppress(OSError):
            self.outbox.send(file)

    def receive(self) -> tuple[int, Any] | None:
        """What came: an outcome with the number of its file, or None if it has just started."""
        if not self.inbox.poll():
            return self._lost("took too long", f"more than {self.timeout:g} s")
        try:
            outcome = self.inbox.recv()
        except (EOFError, OSError):
            return self._lost("the parser crashed", "")
        index, self.index, self.deadline = self.index, None, float("inf")
        if index is None:
            self.started = True
            return None
        return index, outcome

    def _lost(self, reason: str, detail: str) -> tuple[int, Skipped] | None:
        index, started = self.index, self.started
        self.process.kill()
        if not started and self.process.stderr is not None:
            said = self.process.stderr.read().decode(errors="replace").strip()
            raise RuntimeError(f"a worker process could not start:\n{said}")
        self.stop()
        code = self.process.returncode
        self._start()
        if index is None:
            return None
        return index, Skipped(reason, detail or f"the process ended with {code}")

    def stop(self) -> None:
        """Ends the process at once: it has nothing to lose."""
        self.process.kill()
        self.process.wait()
        self.inbox.close()
        self.outbox.close()
        if self.process.stderr is not None:
            self.process.stderr.close()


def serve(inbox_fd: int, outbox_fd: int) -> None:
    """The life of a worker: what to do first, then files until the pipe closes."""
    inbox = connection.Connection(inbox_fd, writable=False)
    outbox = connection.Connection(outbox_fd, readable=False)
    work, timeout = inbox.recv()
    # Native code complains on standard error about files that are skipped anyway.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Should the one who watches the time be killed, the system ends a parser that hangs.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    outbox.send("ready")
    while True:
        signal.alarm(0)
        try:
            file = inbox.recv()
        except EOFError:
            return
        signal.alarm(math.ceil(timeout) + 5)
        outbox.send(work(file))
