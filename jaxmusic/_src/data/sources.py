"""Sources: the music files that folders, globs and paths name."""

from __future__ import annotations

import glob
import os
import pathlib
import stat
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath
from tqdm.auto import tqdm

from jaxmusic._src.core import paths
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import rolls
from jaxmusic._src.formats.files import READABLE as SUFFIXES
from jaxmusic._src.formats.scores import score


class Known(NamedTuple):
    """What is known of a piece besides its file, as from a dataset's tables.

    Attributes:
      styles: its styles, in lower case.
      song: name of its song, the same for all versions that have one.
      split: train, validation or test where that is laid down, else empty.
      beats, chords, keys: files of times in seconds as POP909 has them, or empty.
      ticks_per_beat: the right one where the files state a wrong one, else 0.
      roles: index into `music.roles.ROLES` of each track of the file; or empty.
    """

    styles: tuple[str, ...] = ()
    song: str = ""
    split: str = ""
    beats: str = ""
    chords: str = ""
    keys: str = ""
    ticks_per_beat: int = 0
    roles: tuple[int, ...] = ()


NOTHING = Known()


class MusicFile(NamedTuple):
    """A file to read.

    Attributes:
      path: where it is; ``book.abc#3`` is the third tune in a book of tunes, ``a.json#train3`` the
        third piece of a split of piano rolls.
      name: its path relative to the source it was found in.
      size: bytes.
      modified: when it was last written, in nanoseconds where the system counts them.
      known: what else is known of its piece.
    """

    path: str
    name: str
    size: int
    modified: int
    known: Known = NOTHING


def find(sources: Sequence[str | os.PathLike[str]], progress: bool = False) -> list[MusicFile]:
    """Finds music files, sorted by name, without duplicates.

    Each tune of a book of tunes (.abc) counts as a file, and so does each piece of piano rolls
    (.json), which only their own path or a glob that ends in .json names: folders hold other JSON.

    Args:
      sources: folders (searched at all depths), globs (``music/**/*.mid``) and files.
      progress: show how many were found so far.

    Raises:
      UserError: a source does not exist, no source holds a music file, or piano rolls cannot be
        read.
    """
    if not sources:
        raise UserError("No music was named: give folders, files or globs of music.")
    found: dict[str, list[MusicFile]] = {}
    with tqdm(desc="finding files", unit=" files", disable=not progress, delay=2) as bar:
        for source in sources:
            for path, name in _expand(epath.Path(source).expanduser()):
                if str(path) not in found:
                    found[str(path)] = _tunes(_describe(path, name))
                    bar.update()
    if not found:
        names = ", ".join(str(s) for s in sources)
        raise UserError(
            f"There is no music file in {names}: name a folder with {', '.join(SUFFIXES)} files."
        )
    # Tunes stay in the order of their book.
    books = sorted(found.values(), key=lambda files: (files[0].name, files[0].path))
    return [file for book in books for file in book]


def _tunes(file: MusicFile) -> list[MusicFile]:
    """Returns the file, or the tunes in it; unreadable files are noticed when they are read."""
    if rolls.is_roll(file.path):
        return [
            file._replace(
                path=path, name=file.name + path[len(file.path) :], known=Known(split=split)
            )
            for path, split in rolls.piece_names(file.path)
        ]
    if not file.path.lower().endswith(".abc") or file.size < 0:
        return [file]
    try:
        names = score.tune_names(file.path)
    except UserError:
        return [file]
    ends = [name.removeprefix(file.path) for name in names]
    return [file._replace(path=file.path + end, name=file.name + end) for end in ends]


def _expand(source: epath.Path) -> list[tuple[epath.Path, str]]:
    """Yields (path, name) of each music file of one source."""
    if source.is_dir():
        return [(p, str(p.relative_to(source))) for p in _walk(source)]
    if source.exists():
        if source.suffix.lower() not in (*SUFFIXES, rolls.SUFFIX):
            raise UserError(
                f"{source} is not a music file by its name: give {', '.join(SUFFIXES)} files, or "
                "piano rolls in .json."
            )
        return [(source, source.name)]
    parts = source.parts
    wild = next((i for i, part in enumerate(parts) if glob.has_magic(part)), None)
    if wild is None:
        raise UserError(f"{source} does not exist: check the path.")
    root, pattern = epath.Path(*parts[:wild]), "/".join(parts[wild:])
    if not root.is_dir():
        raise UserError(f"{root} does not exist: check the path.")
    if not paths.in_bucket(root):
        matches = [epath.Path(p) for p in pathlib.Path(root).glob(pattern)]
    elif "**" in pattern:
        raise UserError(f"{source} has ** in it, which only local paths may: name the folder.")
    else:
        matches = list(root.glob(pattern))
    inside = (_walk(match) if match.is_dir() else [match] for match in sorted(matches))
    suffixes = (*SUFFIXES, rolls.SUFFIX) if pattern.endswith(rolls.SUFFIX) else SUFFIXES
    found = (path for some in inside for path in some if path.suffix.lower() in suffixes)
    return [(path, str(path.relative_to(root))) for path in found]


def _walk(folder: epath.Path) -> list[epath.Path]:
    """Finds music files at all depths; symbolic links to folders are not followed."""
    out, todo = [], [folder]
    while todo:
        here = todo.pop()
        try:
            children = sorted(here.iterdir())
        except PermissionError as error:
            raise UserError(f"{here} may not be read: change its permissions.") from error
        for child in children:
            # A folder may well be called "album.mid".
            if child.suffix.lower() in SUFFIXES and not child.is_dir():
                out.append(child)
            elif child.is_dir() and not os.path.islink(child):
                todo.append(child)
    return out


def _describe(path: epath.Path, name: str) -> MusicFile:
    if paths.in_bucket(path):
        remote = path.stat()
        return MusicFile(str(path), name, remote.length, remote.mtime * 10**9)
    try:
        status = os.stat(path)
    except OSError:
        return MusicFile(str(path), name, 0, 0)  # a dangling link: it is skipped when it is read
    size = status.st_size if stat.S_ISREG(status.st_mode) else -1
    return MusicFile(str(path), name, size, status.st_mtime_ns)
