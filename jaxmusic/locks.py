"""Holding a folder against a second process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from jaxmusic.errors import UserError


@contextlib.contextmanager
def held(path: str | os.PathLike[str], busy: str) -> Iterator[None]:
    """Holds the lock file at `path`; the system frees it on any death of the process.

    Raises:
      UserError: another process holds it; `busy` is what it says.
    """
    import fcntl

    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(busy) from error
        yield


@contextlib.contextmanager
def awaited(path: str | os.PathLike[str]) -> Iterator[None]:
    """Holds the lock file at `path` as soon as no other process does."""
    import fcntl

    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
