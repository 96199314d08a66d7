"""Datasets in buckets: copied whole to a machine that reads them, and back from one that made them.

ArrayRecord reads local files, at random places and many times. So a dataset in a bucket is copied
once to each machine, into the cache folder, and read there. The file `FILES` beside its shards says
how long each file is and what its SHA-256 is; a folder that was copied to a bucket by hand has no
such file, and only lengths are compared.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from etils import epath

from jaxmusic.core import locks, paths
from jaxmusic.core.errors import UserError

FILES = "files.json"


class _File(NamedTuple):
    """A file of a dataset: its name in the folder, its bytes, and their SHA-256 or nothing."""

    name: str
    size: int
    digest: str


def fetch(home: epath.Path, summary: str, progress: bool = True) -> epath.Path:
    """Copies a dataset to this machine, unless it is there.

    Of several processes one copies and the others wait. A copy that was interrupted resumes with
    the next file; it is seen only when it is whole.

    Args:
      home: the dataset's folder in a bucket, ``.../NAME/notes/VERSION``.
      summary: name of the file in it whose presence says that it is whole.
      progress: show a progress bar.

    Returns:
      The local folder, with the same last three names.

    Raises:
      UserError: there is too little room, or a file is not what was once written.
    """
    local = _place(home, (home / summary).read_text())
    if local.is_dir():
        return local
    local.parent.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(__name__)
    log.info("copying %s to %s, or waiting for a process that does", home, local)
    with locks.awaited(local.parent / f".{local.name}.lock"):
        if not local.is_dir():
            partial = local.parent / f".{local.name}.partial"
            _copy_all(home, partial, progress)
            partial.rename(local)
    return local


def publish(folder: epath.Path, home: epath.Path, summary: str, progress: bool = True) -> None:
    """Copies a dataset that was made on this machine to a bucket, and keeps it as if fetched.

    Args:
      folder: the local folder, which is moved to where `fetch` looks.
      home: its folder in the bucket.
      summary: name of the file that is written last, and makes the dataset visible.
      progress: show a progress bar.

    Raises:
      UserError: another machine has made a dataset of that version meanwhile.
    """
    if (home / summary).exists():
        raise UserError(
            f"Run the same command again: {home} was made by another machine at the same time."
        )
    names = [os.fspath(p.relative_to(folder)) for p in _walk(folder)]
    names = [name for name in names if name not in (summary, FILES)]
    sizes = {name: (folder / name).stat().length for name in names}
    files = []
    with paths.bar(f"copying to {home}", sum(sizes.values()), progress) as bar:
        for name in sorted(names):
            digest = paths.copy(folder / name, home / name, bar)
            files.append(_File(name, sizes[name], digest))
    text = (folder / summary).read_text()
    (home / FILES).write_text(json.dumps(files, indent=1))
    (home / summary).write_text(text)
    local = _place(home, text)
    if not local.is_dir():
        local.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, local)


def workshop(data_dir: str) -> epath.Path:
    """The local folder in which datasets for a bucket are made."""
    return paths.cache() / "making" / _short(data_dir)


def _place(home: epath.Path, summary: str) -> epath.Path:
    """Returns where the copy of a dataset lies; a rebuilt dataset of that name lies elsewhere."""
    return paths.cache().joinpath("datasets", _short(f"{home} {summary}"), *home.parts[-3:])


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _copy_all(home: epath.Path, folder: epath.Path, progress: bool) -> None:
    files = _listed(home)
    size = sum(file.size for file in files)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {file for file in files if _same(folder / file.name, file)}
    missing = size - sum(file.size for file in kept)
    if shutil.disk_usage(folder).free < missing:
        raise UserError(
            f"Free {missing / 1e9:.1f} GB on the disk of {paths.cache()}, or set XDG_CACHE_HOME to "
            f"a folder on a larger one: {home} is copied there."
        )
    with paths.bar(f"copying {home}", size, progress) as bar:
        bar.update(size - missing)
        for file in files:
            target = folder / file.name
            if file in kept:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = paths.copy(home / file.name, target, bar)
            if target.stat().length != file.size or (file.digest and digest != file.digest):
                raise UserError(
                    f"Make the dataset {home} again, or copy it there again: its {file.name} is "
                    "not what was written."
                )


def _same(path: epath.Path, file: _File) -> bool:
    """Whether a file of an interrupted copy is there and whole."""
    if not file.digest or not path.exists() or path.stat().length != file.size:
        return False
    with open(path, "rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest() == file.digest


def _listed(home: epath.Path) -> list[_File]:
    """The files of a dataset in a bucket; `FILES` itself is of no use to those who read."""
    found = {os.fspath(p)[len(os.fspath(home)) + 1 :]: p for p in _walk(home)}
    if FILES in found:
        files = [_File(*file) for file in json.loads(found.pop(FILES).read_text())]
        rest = found.keys() - {file.name for file in files}
    else:
        files, rest = [], set(found)
    return files + [_File(name, found[name].stat().length, "") for name in sorted(rest)]


def _walk(folder: epath.Path) -> Iterator[epath.Path]:
    """All files below a folder."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
