"""Paths: a local folder, or object storage (``gs://``, ``s3://``), through `etils.epath`.

A bucket has no folders, appends, locks or renames. What it has is objects that appear as a whole
when they are written, and a list of them. So a file that may be in a bucket is written whole, and
whatever consists of several files is complete when the one that is written last is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Iterator

from etils import epath
from tqdm.auto import tqdm

from jaxmusic.core.errors import UserError

EXTRAS = {"gs": "gcs", "s3": "s3"}
"""Kinds of buckets, and the extra of this package that brings the client for it."""
_CHUNK = 16 << 20
"""Bytes that are copied at a time."""


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


def copy(source: epath.Path, target: epath.Path, bar: tqdm) -> str:
    """Copies a file from anywhere to anywhere.

    Args:
      source: the file.
      target: what it becomes; on local disk its folder is there.
      bar: shows the bytes that have been copied.

    Returns:
      SHA-256 of the content, in hexadecimal.
    """
    state = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while part := reading.read(_CHUNK):
            writing.write(part)
            state.update(part)
            bar.update(len(part))
    return state.hexdigest()


def bar(doing: str, size: int, progress: bool = True) -> tqdm:
    """A progress bar of bytes, which appears after two seconds."""
    return tqdm(
        total=size,
        desc=doing,
        unit="B",
        unit_scale=True,
        delay=2,
        leave=False,
        disable=not progress,
    )


@contextlib.contextmanager
def written(path: epath.Path) -> Iterator[pathlib.Path]:
    """Gives the name of a local file to write; afterwards it is at `path`, as a whole."""
    if in_bucket(path):
        with tempfile.TemporaryDirectory() as folder:
            local = pathlib.Path(folder) / path.name
            yield local
            with bar(f"writing {path}", local.stat().st_size) as shown:
                copy(epath.Path(local), path, shown)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.parent / f"{path.name}.new"
    yield pathlib.Path(new)
    new.replace(path)


@contextlib.contextmanager
def read(path: epath.Path) -> Iterator[pathlib.Path]:
    """Gives the name of a local file with the content of `path`."""
    if not in_bucket(path):
        yield pathlib.Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        local = pathlib.Path(folder) / path.name
        with bar(f"reading {path}", path.stat().length) as shown:
            copy(path, epath.Path(local), shown)
        yield local


@contextlib.contextmanager
def explained(path: epath.Path) -> Iterator[None]:
    """Says in a sentence what to do when a bucket refuses."""
    try:
        yield
    except OSError as error:
        if not in_bucket(path):
            raise
        raise UserError(
            f"Check that there is {path} and that you may read and write there: the storage says "
            f"{' '.join(str(error).split())}"
        ) from error


def cache() -> epath.Path:
    """The folder for what can be made or fetched again: ``~/.cache/jaxmusic``."""
    root = epath.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return root.expanduser() / "jaxmusic"
