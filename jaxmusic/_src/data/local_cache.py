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
import shutil
from collections.abc import Iterator

from etils import epath

from jaxmusic._src.core import locks, outside, paths
from jaxmusic._src.core.errors import UserError

FILES = "files.json"
_Listed = list[tuple[str, int, str]]
"""Name, bytes and SHA-256 of each file."""


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
    with locks.held(local.parent / f".{local.name}.lock"):
        if not local.is_dir():
            partial = local.parent / f".{local.name}.partial"
            _copy_all(home, partial, progress)
            partial.rename(local)
    return local


def publish(folder: epath.Path, home: epath.Path, summary: str, progress: bool = True) -> None:
    """Copies a dataset that was made on this machine to a bucket, and keeps it as if fetched.

    The local folder is moved to where `fetch` looks. The summary is written last, and makes the
    dataset visible.

    Raises:
      UserError: another machine has made a dataset of that version meanwhile.
    """
    if (home / summary).exists():
        raise UserError(
            f"Run the same command again: {home} was made by another machine at the same time."
        )
    names = [name for name in _walk(folder) if name not in (summary, FILES)]
    sizes = [(folder / name).stat().length for name in names]
    with paths.bar(f"copying to {home}", sum(sizes), progress) as bar:
        digests = [paths.copy(folder / name, home / name, bar) for name in names]
    files = list(zip(names, sizes, digests))
    text = (folder / summary).read_text()
    (home / FILES).write_text(json.dumps(files, indent=1))
    (home / summary).write_text(text)
    local = _place(home, text)
    if not local.is_dir():
        local.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, local)


def workshop(data_dir: str) -> epath.Path:
    """Returns the local folder in which datasets for a bucket are made."""
    return paths.cache() / "making" / _short(data_dir)


def _place(home: epath.Path, summary: str) -> epath.Path:
    """Returns where the copy of a dataset lies; a rebuilt dataset of that name lies elsewhere."""
    return paths.cache().joinpath("datasets", _short(f"{home} {summary}"), *home.parts[-3:])


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _copy_all(home: epath.Path, folder: epath.Path, progress: bool) -> None:
    files = _listed(home)
    kept = {name for name, (size, digest) in files.items() if _same(folder / name, size, digest)}
    whole = sum(size for size, _ in files.values())
    missing = sum(size for name, (size, _) in files.items() if name not in kept)
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < missing:
        raise UserError(
            f"Free {missing / 1e9:.1f} GB on the disk of {paths.cache()}, or set XDG_CACHE_HOME to "
            f"a folder on a larger one: {home} is copied there."
        )
    with paths.bar(f"copying {home}", whole, progress) as bar:
        bar.update(whole - missing)
        for name in sorted(files.keys() - kept):
            size, digest = files[name]
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            found = paths.copy(home / name, folder / name, bar)
            if (folder / name).stat().length != size or found != (digest or found):
                raise UserError(
                    f"Make the dataset {home} again, or copy it there again: its {name} is not "
                    "what was written."
                )


def _same(path: epath.Path, size: int, digest: str) -> bool:
    """Tells whether a file of an interrupted copy is there and whole."""
    if not digest or not path.exists() or path.stat().length != size:
        return False
    with open(path, "rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest() == digest


def _listed(home: epath.Path) -> dict[str, tuple[int, str]]:
    """Lists files of a dataset in a bucket except `FILES`: bytes, and SHA-256 if known."""
    found = set(_walk(home))
    listed = outside.read(home / FILES, _Listed) if FILES in found else []
    known = {name: (size, digest) for name, size, digest in listed}
    if foreign := sorted(known.keys() - found):
        raise UserError(
            f"Copy the dataset {home} there again: {FILES} names {foreign[0]!r}, which is missing."
        )
    rest = found - known.keys() - {FILES}
    return known | {name: ((home / name).stat().length, "") for name in rest}


def _walk(folder: epath.Path, inside: str = "") -> Iterator[str]:
    """Lists the relative paths of all files below a folder."""
    for path in sorted(folder.iterdir()):
        name = f"{inside}{path.name}"
        if path.is_dir():
            yield from _walk(path, f"{name}/")
        else:
            yield name
