"""Exceptions that callers see: mistakes they can put right, and work they have cancelled."""

from __future__ import annotations

import errno
import os


class UserError(ValueError):
    """Something the user can put right: its text is one sentence that says what to do."""


class Cancelled(Exception):
    """Raised by a progress callback to stop composing; nothing is wrong."""


def explained(error: BaseException) -> str | None:
    """The sentence to show for an error that the user can put right; None for any other."""
    if isinstance(error, UserError):
        return str(error)
    if not isinstance(error, OSError):
        return None
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return None
    where = f": {error.filename}" if error.filename else ""
    return f"{os.strerror(error.errno)}{where}"
