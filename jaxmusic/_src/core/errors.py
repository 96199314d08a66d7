"""Exceptions for callers: errors that they can fix, and cancelled work."""

from __future__ import annotations

import errno
import os


class UserError(ValueError):
    """An error that the user can fix; its text is one sentence that says what to do."""


class NoNotes(UserError):
    """Raised for a file that can be read and holds no notes."""


class Cancelled(Exception):
    """Raised by a progress callback to stop composing."""


class Remark(UserWarning):
    """What a user should know about a result that is none the worse for it."""


def explained(error: BaseException) -> str | None:
    """Returns the sentence of an error that the user can fix; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    if not isinstance(error, OSError):
        return None
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return None
    where = f": {error.filename}" if error.filename else ""
    return f"{os.strerror(error.errno)}{where}"
