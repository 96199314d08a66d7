"""Reads and writes the bytes of files, local or remote."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid

from etils import epath

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.paths import in_bucket

MOST_BYTES = 2**26
"""Size of the largest file that is read."""


def load(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """Reads a regular file: neither a folder nor a pipe or device, which may never end.

    Args:
      path: local or remote.
      most: size in bytes of the largest file to read.

    Raises:
      UserError: it cannot be opened, is no regular file, or is too large.
    """
    file = _file(path)
    try:
        if in_bucket(path):
            size = file.stat().length or 0
        else:
            about = os.stat(file)
            size = about.st_size
            if not stat.S_ISREG(about.st_mode):
                kind = "folder" if stat.S_ISDIR(about.st_mode) else "pipe or device"
                raise UserError(f"{path} is a {kind}: give the path of one file.")
        if size > most:
            raise UserError(f"{path} is larger than {most >> 20} MB: leave it out.")
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror or error}.") from error


def save(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes bytes to a local or remote path, making its folder where there is none.

    The bytes go to a temporary name in the same folder first, so that whoever looks finds either
    the old file or the whole new one.

    Raises:
      UserError: the path cannot be written to.
    """
    target = _file(path)
    # The name's end is kept out of the temporary one: names may be as long as the system allows.
    part = target.parent / f".{uuid.uuid4().hex}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{target} cannot be written ({reason}): choose another place.") from error


def check_writable(path: str | os.PathLike[str], folder: bool = False) -> None:
    """Raises UserError if a local file, or a folder, cannot be made at a path.

    So that it is found out before the work is done that is to be written there.
    """
    target = _file(path)
    if "://" in str(path):
        return
    if target.exists() and target.is_dir() != folder:
        kind, other = ("folder", "file") if folder else ("file", "folder")
        raise UserError(f"Name a {kind} to write to: {path} is a {other}.")
    place = target if folder else target.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise UserError(f"Choose another place than {path}: {place} is a file.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"Choose another place than {path}: nothing may be written in {place}.")


def _file(path: str | os.PathLike[str]) -> epath.Path:
    with contextlib.suppress(UnicodeEncodeError):
        if b"\0" not in os.fsencode(path):
            return epath.Path(path)
    raise UserError(f"{os.fspath(path)!a} is no name that a file can have: choose another.")
