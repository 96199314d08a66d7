"""Reads and writes the bytes of files, local or remote."""

from __future__ import annotations

import os
import uuid

from etils import epath

from jaxmusic.core.errors import UserError


def load(path: str | os.PathLike[str]) -> bytes:
    """Reads a file.

    Raises:
      UserError: it cannot be opened.
    """
    try:
        return epath.Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror or error}.") from error


def save(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes bytes to a local or remote path, making its folder where there is none.

    The bytes go to a temporary name in the same folder first, so that whoever looks finds either
    the old file or the whole new one.

    Raises:
      UserError: the path cannot be written to.
    """
    target = epath.Path(path)
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
    target = epath.Path(path)
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
