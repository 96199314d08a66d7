"""Paths: a local folder, or object storage (``gs://``, ``s3://``), through `etils.epath`.

A bucket has no folders, appends, locks or renames. What it has is objects that appear as a whole
when they are written, and a list of them. So a file that may be in a bucket is written whole, and
whatever consists of several files is complete when the one that is written last is there.
"""

from __future__ import annotations

import importlib.util
import os

from etils import epath

from jaxmusic.errors import UserError

EXTRAS = {"gs": "gcs", "s3": "s3"}
"""Kinds of buckets, and the extra of this package that brings the client for it."""


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a path names something in object storage."""
    return "://" in os.fspath(path)


def absolute(path: str | os.PathLike[str]) -> epath.Path:
    """The absolute path, with ``~`` expanded; a bucket's stays as it is.

    Raises:
      UserError: it is in a kind of storage that is not known, or whose client is not installed.
    """
    if not in_bucket(path):
        return epath.Path(path).expanduser().resolve()
    scheme = os.fspath(path).split("://")[0]
    if scheme not in EXTRAS:
        known = " or ".join(f"{name}://" for name in EXTRAS)
        raise UserError(f"Name a folder, or one in a bucket that begins with {known}, not {path}.")
    import fsspec

    # Other processes write there too: what was listed once is not what is there now.
    for name in ("gcs", "gs", "s3"):
        fsspec.config.conf.setdefault(name, {}).setdefault("use_listings_cache", False)
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        if importlib.util.find_spec("tensorflow") is None:  # which would be used in its place
            raise UserError(
                f"Run pip install jaxmusic[{EXTRAS[scheme]}]: {path} cannot be reached without it."
            ) from error
    return epath.Path(path)


def write_text(path: epath.Path, text: str) -> None:
    """Writes a file that is whole at any moment: the one before, or this one."""
    if in_bucket(path):
        path.write_text(text)
        return
    new = path.parent / f"{path.name}.new"
    new.write_text(text)
    new.replace(path)
