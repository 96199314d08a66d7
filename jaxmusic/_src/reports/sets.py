"""Sets of measured songs, from files or from notes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic._src.data import workers
from jaxmusic._src.data.cleaning import Reason, Skipped, skipping
from jaxmusic._src.data.sources import MusicFile
from jaxmusic._src.evaluate import bars, endings, statistics
from jaxmusic._src.evaluate.endings import Ending
from jaxmusic._src.evaluate.statistics import Value
from jaxmusic._src.formats import files
from jaxmusic._src.music import beats
from jaxmusic._src.music.notes import Notes


class Song(NamedTuple):
    """A song and its measurements.

    Attributes:
      name: its file or title.
      notes: the aligned notes.
      values: `statistics.STATISTICS` by name.
      ending: how it ends; None without pitched notes.
      run: length of the longest run of equal bars.
      likeness: similarity of its bars at each of `bars.LAGS`.
    """

    name: str
    notes: Notes
    values: dict[str, Value]
    ending: Ending | None
    run: int
    likeness: dict[int, float | None]


@dataclasses.dataclass(frozen=True)
class Songs:
    """Songs, and files that were skipped.

    Attributes:
      songs: in order.
      skipped: name, reason and detail of each skipped file.
    """

    songs: tuple[Song, ...]
    skipped: tuple[tuple[str, str, str], ...] = ()

    def __len__(self) -> int:
        """Number of songs."""
        return len(self.songs)

    @property
    def notes(self) -> list[Notes]:
        """The notes of each song."""
        return [song.notes for song in self.songs]

    def values(self, name: str) -> list[Value]:
        """A statistic of each song."""
        return [song.values[name] for song in self.songs]

    def __getitem__(self, number: int) -> Notes:
        """The notes of a song, as `evaluate.copy_index.Pieces` asks for."""
        return self.songs[number].notes

    def name(self, number: int) -> str:
        """The name of a song."""
        return self.songs[number].name


def measure(name: str, notes: Notes) -> Song:
    """Measures an aligned song."""
    values = statistics.measure(notes)
    likeness = bars.similarity(notes)
    return Song(name, notes, values, endings.ending(notes), bars.longest_run(notes), likeness)


def measured(named: Iterable[tuple[str, Notes]], what: str, progress: bool = False) -> Songs:
    """Measures aligned songs.

    Args:
      named: names and notes; their number, where it is known, ends the progress bar.
      what: their name in the progress bar.
      progress: show one if it takes over two seconds.
    """
    shown = tqdm(named, f"measuring {what}", unit=" songs", delay=2, disable=not progress)
    return Songs(tuple(measure(name, notes) for name, notes in shown))


def read(
    found: Sequence[MusicFile], what: str, options: config.Evaluation, progress: bool = False
) -> Songs:
    """Reads, aligns and measures files, in worker processes.

    More files than `options.most` are subsampled. Files that cannot be read, crash
    their process or take too long are skipped.

    Args:
      found: the files.
      what: their name in the progress bar.
      options: how they are read.
      progress: show a progress bar.
    """
    found = drawn(found, options.most, options.seed)
    outcomes = workers.each(found, read_song, options.workers, options.file_timeout)
    shown = tqdm(outcomes, f"reading {what}", len(found), unit=" files", disable=not progress)
    made = list(shown)
    skipped = [
        (file.name, one.reason, one.detail) for file, one in made if isinstance(one, Skipped)
    ]
    return Songs(tuple(one for _, one in made if isinstance(one, Song)), tuple(skipped))


def read_song(file: MusicFile) -> Song | Skipped:
    """Reads and measures one file; raises no exception."""
    try:
        with skipping(Reason.UNREADABLE):
            notes = files.read_notes(file.path)
        with skipping(Reason.UNMEASURED):
            return measure(file.name, beats.align(notes)[0])
    except Skipped as skipped:
        return skipped


def drawn(items: Sequence, most: int, seed: int) -> list:
    """Draws at most `most` items at random, in their original order, reproducibly."""
    if len(items) <= most:
        return list(items)
    rows = np.random.default_rng(seed).choice(len(items), most, replace=False)
    return [items[i] for i in sorted(rows.tolist())]
