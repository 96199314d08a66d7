"""An index over training music for finding copied passages.

It holds the lines of all pieces (see `data.melodic_lines`), the sorted hashes of their
runs, and counts for the surprise of passages (`evaluate.surprise`): about 27 bytes per
onset of a line, memory-mapped, and some 230 bytes of memory per onset while it is built. It is kept
beside the shards of its dataset, like other cached statistics.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from etils import epath
from tqdm.auto import tqdm

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import mixture
from jaxmusic._src.data.catalog import open_dataset
from jaxmusic._src.data.melodic_lines import MelodicLines, runs
from jaxmusic._src.data.pieces import Stored
from jaxmusic._src.evaluate.surprise import Counts, grams
from jaxmusic._src.music.notes import Notes

VERSION = 1
"""Version of the format; a higher one rebuilds indices."""
_APART = 2**15
"""Tracks of piece p are numbered from p times this."""


class Columns(NamedTuple):
    """Arrays of an index of P pieces with M onsets of lines, R runs and G grams.

    Attributes:
      first: int64 [P + 1], first onset of each piece.
      song: int32 [P], number of the song of each piece.
      track: int16 [M], track within its piece. step: int32 [M]. pitch: uint8 [M].
      hash: uint64 [R], ascending. place: uint32 [R], first onset of the run.
      gram: uint64 [G]. times: uint32 [G]. total: int64 [1]; see `surprise.Counts`.
    """

    first: np.ndarray
    song: np.ndarray
    track: np.ndarray
    step: np.ndarray
    pitch: np.ndarray
    hash: np.ndarray
    place: np.ndarray
    gram: np.ndarray
    times: np.ndarray
    total: np.ndarray


class Pieces(Protocol):
    """Pieces by number, such as a list; an optional method `name` returns the file of a piece."""

    def __len__(self) -> int:
        """Number of pieces."""

    def __getitem__(self, number: int, /) -> Notes:
        """The notes of a piece."""


class CopyIndex:
    """Training music to search for copied passages.

    Attributes:
      columns: the arrays.
      pieces: the pieces, to show matches.
    """

    def __init__(self, columns: Columns, pieces: Pieces):
        """Takes arrays and pieces; use `build` or `read`."""
        self.columns = columns
        self.pieces = pieces
        self.music = Counts(columns.gram, columns.times, columns.total)

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self.columns.song)

    def piece(self, place: np.ndarray) -> np.ndarray:
        """Returns the numbers of the pieces of onsets of lines."""
        return np.searchsorted(self.columns.first, place, side="right") - 1

    def lines(self, pieces: Sequence[int]) -> MelodicLines:
        """Returns the lines of some pieces, with distinct tracks."""
        rows = [slice(*self.columns.first[i : i + 2]) for i in pieces]
        c = self.columns
        track = [c.track[r].astype(np.int64) + n * _APART for n, r in enumerate(rows)]
        step, pitch = ([x[r].astype(np.int64) for r in rows] for x in (c.step, c.pitch))
        return MelodicLines(
            *(np.concatenate([np.zeros(0, np.int64), *x]) for x in (track, step, pitch))
        )

    def versions(self, piece: int) -> Counts:
        """Counts the grams of all versions of the song of a piece."""
        same = np.flatnonzero(self.columns.song == self.columns.song[piece])
        return Counts.of(grams(self.lines(same.tolist())))

    def name(self, piece: int) -> str:
        """Returns the file of a piece, or else its number."""
        named = getattr(self.pieces, "name", None)
        return named(piece) if named else f"piece {piece}"


def build(pieces: Pieces, progress: bool = True) -> CopyIndex:
    """Indexes aligned pieces."""
    lines, songs = [], []
    numbers = range(len(pieces))
    for i in tqdm(numbers, "indexing music", unit=" pieces", delay=2, disable=not progress):
        notes = pieces[i]
        found = MelodicLines.of(notes)
        track = found.track.astype(np.int16)
        lines.append((track, found.step.astype(np.int32), found.pitch.astype(np.uint8)))
        songs.append(notes.labels.song or f"\n{i}")  # no song has this name
    first = np.concatenate([[0], np.cumsum([len(x[0]) for x in lines], dtype=np.int64)])
    if first[-1] >= 2**32:
        raise UserError("Search a smaller dataset: an index holds at most 4 billion notes.")
    empty = (np.zeros(0, np.int16), np.zeros(0, np.int32), np.zeros(0, np.uint8))
    track, step, pitch = (np.concatenate(x) for x in zip(empty, *lines))
    number = np.repeat(np.arange(len(pieces), dtype=np.int64) * _APART, np.diff(first))
    whole = MelodicLines(number + track, step.astype(np.int64), pitch.astype(np.int64))
    place, hashes = runs(whole)
    order = np.argsort(hashes, kind="stable")
    return CopyIndex(
        Columns(
            first,
            np.unique(np.array(songs, dtype=str), return_inverse=True)[1].astype(np.int32),
            *(track, step, pitch, hashes[order], place[order].astype(np.uint32)),
            *Counts.of(grams(whole)),
        ),
        pieces,
    )


def read(dataset: str, data_dir: str, progress: bool = True) -> list[CopyIndex]:
    """Reads the indices of the train splits of prepared datasets; builds missing ones.

    Args:
      dataset: a name, optionally with a version, or a mixture, as in `config.Data`.
      data_dir: folder of datasets.
      progress: show a progress bar while one is built.

    Raises:
      UserError: there is no such dataset, or it has no train split.
    """
    found = [open_dataset(m.dataset, data_dir) for m in mixture.parse(dataset)]
    for one in found:
        if not one.splits.get("train"):
            raise UserError(
                f"Dataset {one.name!r} has no pieces to train on, so nothing can be copied from "
                "it: name another."
            )
    return [_kept(one.path, Stored(one.path, "train"), progress) for one in found]


def _kept(folder: epath.Path, pieces: Stored, progress: bool) -> CopyIndex:
    """Returns the stored index, or builds and stores it if the folder is writable."""
    kept = folder / "copies" / f"{VERSION}-train"
    columns = _load(kept)
    if columns is None or len(columns.song) != len(pieces):
        columns = build(pieces, progress).columns
        try:
            _save(kept, columns)
            columns = _load(kept) or columns  # memory-mapped from here on
        except OSError as error:
            logging.getLogger(__name__).warning(
                "the index of %s cannot be kept and will be built again: %s", folder, error
            )
    return CopyIndex(columns, pieces)


def _load(kept: epath.Path) -> Columns | None:
    """Memory-maps the arrays; None if they are missing or damaged."""
    try:
        files = (os.fspath(kept / f"{name}.npy") for name in Columns._fields)
        return Columns(*(np.load(file, mmap_mode="r", allow_pickle=False) for file in files))
    except (OSError, ValueError, EOFError):
        return None  # a damaged index is rebuilt


def _save(kept: epath.Path, columns: Columns) -> None:
    """Writes beside and renames, so that readers never see half an index."""
    beside = kept.parent / f".{kept.name}.{uuid.uuid4().hex}"
    try:
        beside.mkdir(parents=True)
        for name, column in columns._asdict().items():
            np.save(os.fspath(beside / f"{name}.npy"), column)
        shutil.rmtree(kept, ignore_errors=True)  # it is missing, damaged, or of other pieces
        os.rename(beside, kept)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
