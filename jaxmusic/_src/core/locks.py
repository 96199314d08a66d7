"""Locks on folders against a second process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from jaxmusic._src.core.errors import UserError

ATTEMPTS = 5
"""Number of attempts to take a lock."""


@contextlib.contextmanager
def held(path: str | os.PathLike[str], busy: str = "") -> Iterator[None]:
    """Holds the lock file at `path`; the system releases it when the process dies.

    Raises:
      UserError: another process holds it; `busy` is the message. Without one it is waited for.
    """
    import fcntl

    with open(path, "a") as file:
        for attempt in range(ATTEMPTS):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
                break
            except BlockingIOError as error:
                if attempt == ATTEMPTS - 1:
                    raise UserError(busy) from error
                # `is_held` of another process may hold it for microseconds.
                time.sleep(0.01)
        yield


def is_held(path: str | os.PathLike[str]) -> bool:
    """Returns whether a live process holds the lock file at `path`."""
    import fcntl

    if not os.path.exists(path):
        return False
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
