"""MelodicLines: the highest notes of each track, and the runs of melodic intervals in them.

Runs of intervals do not depend on transposition, tempo or meter. They identify versions of a song
(`data.songs`) and copies of a passage (`evaluate.copy_index`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmusic._src.data.near_duplicates import mixed
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Notes

RUN = 7
"""Intervals in a run. A piece that lost a tenth of its notes has 0.9 ** 8 = 43 % of its runs left,
and more of its distinct ones, because music repeats itself."""
DIFFERENT = 3
"""Different intervals that a run has at least; scales and trills are in any music."""

_POWERS = np.uint64(257) ** np.arange(RUN, dtype=np.uint64)


class MelodicLines(NamedTuple):
    """The highest pitch at every onset of every pitched track, by track and then by time.

    Attributes:
      track: int64 [M].
      step: int64 [M], onset to the nearest twelfth of a beat; ascends within a track.
      pitch: int64 [M].
    """

    track: np.ndarray
    step: np.ndarray
    pitch: np.ndarray

    @classmethod
    def of(cls, notes: Notes) -> MelodicLines:
        """Extracts the lines of an aligned piece."""
        pitched = ~notes.is_drum
        track = notes.track[pitched].astype(np.int64)
        order = np.argsort(track, kind="stable")  # Within a track rows still ascend by onset.
        track, pitch = track[order], notes.pitch[pitched][order].astype(np.int64)
        step = steps(notes.onset[pitched][order])
        new = (np.diff(step, prepend=-1) != 0) | (np.diff(track, prepend=-1) != 0)
        first = np.flatnonzero(new)
        if not len(first):
            return cls(track, step, pitch)
        return cls(track[first], step[first], np.maximum.reduceat(pitch, first))


def runs(lines: MelodicLines) -> tuple[np.ndarray, np.ndarray]:
    """Runs of `RUN` intervals within one track, `DIFFERENT` of them different.

    Returns:
      Number of the onset that each begins at, int64 [K], and its hash, uint64 [K].
    """
    if len(lines.track) <= RUN:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    found = np.lib.stride_tricks.sliding_window_view(np.diff(lines.pitch), RUN)
    different = 1 + (np.diff(np.sort(found, axis=1), axis=1) != 0).sum(axis=1)
    one_track = lines.track[RUN:] == lines.track[:-RUN]
    start = np.flatnonzero((different >= DIFFERENT) & one_track)
    return start, mixed((found[start] + 128).astype(np.uint64) @ _POWERS)


def steps(onset: np.ndarray) -> np.ndarray:
    """Rounds onsets in aligned ticks to twelfths of a beat."""
    twelfth = TICKS_PER_BEAT // 12
    return (onset.astype(np.int64) + twelfth // 2) // twelfth
