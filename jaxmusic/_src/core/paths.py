"""Paths: a local folder, or object storage (``gs://``, ``s3://``), through `etils.epath`.

A bucket has no folders, appends, locks or renames, only a list of objects that appear complete once
they are written. So files that may be in a bucket are written whole, and a set of files is complete
when the file that is written last exists.
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

from jaxmusic._src.core.errors import UserError

EXTRAS = {"gs": "gcs", "s3": "s3"}
"""Kinds of buckets, and the extra of this package that installs the client."""
_CHUNK = 16 << 20
"""Bytes copied at a time."""


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is in object storage."""
    return "://" in os.fspath(path)


def absolute(path: str | os.PathLike[str]) -> epath.Path:
    """Returns the absolute path, with ``~`` expanded; paths of buckets are unchanged.

    Raises:
      UserError: the kind of storage is unknown, or its client is not installed.
    """
    if not in_bucket(path):
        return epath.Path(path).expanduser().resolve()
    scheme = os.fspath(path).split("://")[0]
    if scheme not in EXTRAS:
        known = " or ".join(f"{name}://" for name in EXTRAS)
        raise UserError(f"Name a folder, or one in a bucket that begins with {known}, not {path}.")
    import fsspec

    # Other processes write there too, so listings must not be cached.
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
    """Writes a file atomically: readers see the old or the new content."""
    if in_bucket(path):
        path.write_text(text)
        return
    new = path.parent / f"{path.name}.new"
    new.write_text(text)
    new.replace(path)


def copy(source: epath.Path, target: epath.Path, bar: tqdm) -> str:
    """Copies a file between local disks and buckets; returns the SHA-256 of its content in hex."""
    state = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing:
        while part := reading.read(_CHUNK):
            writing.write(part)
            state.update(part)
            bar.update(len(part))
    return state.hexdigest()


def bar(doing: str, size: int, progress: bool = True) -> tqdm:
    """Makes a progress bar of bytes, which appears after two seconds."""
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
    """Yields the name of a local file to write, and moves it to `path` afterwards."""
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
    """Yields the name of a local file with the content of `path`."""
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
    """Turns errors of a bucket into a sentence that says what to do."""
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
    """Returns the cache folder, ``~/.cache/jaxmusic``."""
    root = epath.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return root.expanduser() / "jaxmusic"
