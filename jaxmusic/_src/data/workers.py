"""Workers: processes that read files, any of which may be lost.

A native parser may crash or hang on a malformed file. A worker that dies or takes too long is
replaced, and its file is skipped. Workers are fresh interpreters, neither forks nor copies of the
caller's script, so that they start in the same way whoever asks.
"""

from __future__ import annotations

import collections
import functools
import itertools
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent import futures
from multiprocessing import connection
from typing import Generic, TypeVar

from jaxmusic._src.data.cleaning import Reason, Skipped
from jaxmusic._src.data.examine import Kept, examine_file
from jaxmusic._src.data.sources import MusicFile
from jaxmusic.config import Prepare

T = TypeVar("T")

_START_SECONDS = 120.0
_AHEAD = 16
"""Files in work for each worker: bounds the memory of results that wait for a slow one."""


def examine_files(
    files: Sequence[MusicFile], config: Prepare
) -> Generator[tuple[MusicFile, Kept | Skipped], None, None]:
    """Examines files in ``config.workers`` processes, see `each`."""
    work = functools.partial(examine_file, config=config)
    return each(files, work, config.workers, config.file_timeout)


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
    count = max(min(count or _cores(), len(files)), 1)
    workers: list[_Worker[T]] = []
    mine = threading.local()

    def begin() -> None:
        mine.worker = _Worker(work, timeout)
        workers.append(mine.worker)

    rest = iter(files)
    waiting: collections.deque[tuple[MusicFile, futures.Future[T | Skipped]]] = collections.deque()
    pool = futures.ThreadPoolExecutor(count, initializer=begin)  # a thread waits for its worker
    try:
        while True:
            for file in itertools.islice(rest, _AHEAD * count - len(waiting)):
                waiting.append((file, pool.submit(lambda file: mine.worker.read(file), file)))
            if not waiting:
                return
            file, future = waiting.popleft()
            yield file, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()
        pool.shutdown()  # no thread waits for a process that has ended
        for worker in workers:
            worker.close()


def _cores() -> int:
    """Counts the cores that this process may use, where the system says, or that there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Worker(Generic[T]):
    """One process and its pipe; after a loss the next file starts another process."""

    def __init__(self, work: Callable[[MusicFile], T | Skipped], timeout: float):
        self.work, self.timeout = work, timeout
        self.process: subprocess.Popen[bytes] | None = None

    def read(self, file: MusicFile) -> T | Skipped:
        """Returns what the work makes of a file, or why the process was lost."""
        process = self.process or self._start()
        try:
            self.pipe.send(file)
            if self.pipe.poll(self.timeout):
                return self.pipe.recv()
            reason, detail = Reason.SLOW, f"more than {self.timeout:g} s"
        except (EOFError, OSError):
            reason, detail = Reason.CRASHED, ""
        self.close()
        return Skipped(reason, detail or f"the process ended with {process.returncode}")

    def _start(self) -> subprocess.Popen[bytes]:
        self.pipe, theirs = multiprocessing.Pipe()
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        code = f"from jaxmusic._src.data.workers import serve; serve({theirs.fileno()})"
        process = self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],  # -P: the current folder is no place to import from
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            env=environment,
        )
        theirs.close()
        try:
            self.pipe.send((self.work, self.timeout))
            if self.pipe.poll(_START_SECONDS) and self.pipe.recv():
                return process
        except (EOFError, OSError):
            pass
        process.kill()
        said = process.communicate()[1].decode(errors="replace").strip()
        self.close()
        raise RuntimeError(f"a worker process could not start:\n{said}")

    def kill(self) -> None:
        """Ends the process at once: it has nothing to lose."""
        if self.process is not None:
            self.process.kill()

    def close(self) -> None:
        """Ends the process and closes its pipes."""
        if self.process is not None:
            with self.process as process:  # waits, and closes its standard error
                process.kill()
            self.pipe.close()
            self.process = None


def serve(pipe: int) -> None:
    """Runs a worker: receives the work, then files until the pipe closes."""
    both = connection.Connection(pipe)
    work, timeout = both.recv()
    # Native code complains on standard error about files that are skipped anyway.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Should the one who watches the time be killed, the system ends a parser that hangs.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    both.send("ready")
    while True:
        signal.alarm(0)
        try:
            file = both.recv()
        except EOFError:
            return
        signal.alarm(math.ceil(timeout) + 5)
        both.send(work(file))
