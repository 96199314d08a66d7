"""Holding a folder against a second process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from jaxmusic.core.errors import UserError

ATTEMPTS = 5
"""How often a lock is tried to be taken."""


@contextlib.contextmanager
def held(path: str | os.PathLike[str], busy: str) -> Iterator[None]:
    """Holds the lock file at `path`; the system frees it on any death of the process.

    Raises:
      UserError: another process holds it; `busy` is what it says.
    """
    import fcntl

    with open(path, "a") as file:
        for attempt in range(ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == ATTEMPTS - 1:
                    raise UserError(busy) from error
                # Perhaps somebody only looks, as `is_held` does: that takes microseconds.
                time.sleep(0.01)
        yield


@contextlib.contextmanager
def awaited(path: str | os.PathLike[str]) -> Iterator[None]:
    """Holds the lock file at `path` as soon as no other process does."""
    import fcntl

    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether a living process holds the lock file at `path`."""
    import fcntl

    if not os.path.exists(path):
        return False
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
