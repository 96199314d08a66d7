"""Songs: which pieces are the same music, so that no split sees what another holds.

Copies are known by their notes. Versions of a song (transposed, faster, re-encoded, with a track
or some notes missing, the melody with another accompaniment) are known by runs of melodic
intervals, which no transposition, tempo or meter changes. Runs are taken from each track for
itself, so that it is found in any arrangement. A piece keeps the smallest of their hashes, a
bottom-k sketch, which tells how much of one piece another contains (Broder, 1997); see
`jaxmusic.data.similarity` for how pieces that share much are found among many.

Pieces of drums alone are known as copies only: one bar of the same beat says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from jaxmusic.data.lines import RUN, Lines, runs, steps
from jaxmusic.data.similarity import ALIKE, MELODY, UNCLEAR, VERSIONS, Index
from jaxmusic.music.notes import Notes

SIZE = 1024
"""Hashes that a piece keeps at most, of 8 bytes each."""
ONE_VOICE = 0.95
"""A track is a melody if this share of its onsets has one note and no such track is higher."""
LEAST_MELODY = 16
"""Onsets of a melody at least."""


def content(notes: Notes) -> str:
    """Hex hash of how often each instrument plays each pitch; equal for copies.

    In a re-encoded copy the order of tracks, loudness, tempo and every time may differ a little,
    so they do not count; two pieces of the same notes in another order are not met in practice.
    For drum loops they are, so that of pieces of drums alone the places of the notes on the grid of
    12 steps count too.
    """
    voice = np.where(notes.is_drum, 128, notes.program[notes.track]).astype(np.int64)
    kind, count = np.unique(voice * 128 + notes.pitch, return_counts=True)
    columns = [kind, count.astype(np.int64)]
    if notes.is_drum.all():
        step = steps(notes.onset)
        columns.append(np.sort((step - step[:1]) * 128 + notes.pitch))  # from the first on
    return hashlib.sha256(np.concatenate(columns).tobytes()).hexdigest()


def signature(notes: Notes) -> np.ndarray:
    """Hashes of the runs of intervals in a piece's tracks: uint64 [K], K <= SIZE, ascending.

    The last bit of a hash says whether the track is the melody: the highest track on average of
    those that have one voice.
    """
    lines = Lines.of(notes)
    start, hashes = runs(lines)
    if not len(start):
        return hashes
    melody = _melody(notes, lines)
    hashes = np.sort((hashes & ~MELODY) | (lines.track[start + RUN] == melody))
    last = np.append(hashes[1:] >> MELODY != hashes[:-1] >> MELODY, True)[: len(hashes)]
    return hashes[last][:SIZE]


def _melody(notes: Notes, lines: Lines) -> int:
    """Number of the track that is the melody, -1 if none is."""
    pitched = ~notes.is_drum
    track, pitch = notes.track[pitched], notes.pitch[pitched]
    onsets, count = np.bincount(lines.track), np.bincount(track)
    one_voice = (onsets >= ONE_VOICE * count) & (onsets >= LEAST_MELODY)
    height = np.where(one_voice, np.bincount(track, pitch) / np.maximum(count, 1), -1)
    return int(height.argmax()) if one_voice.any() else -1


def group(
    contents: Sequence[str], signatures: Sequence[np.ndarray], names: Sequence[str]
) -> list[str]:
    """Name of the song of each piece; all versions of a song have the same name.

    Args:
      contents: `content` of each piece.
      signatures: `signature` of each piece.
      names: name of the song where it is known, else empty. Pieces of one name are one song.
        Pieces of different names are too if their notes are alike, because the same music has many
        titles, and to be in one split costs two songs nothing.

    Returns:
      The first known name, or the content hash of the song's first piece.
    """
    songs = _Songs(names)
    index = Index(signatures, SIZE)
    pairs = index.pairs()
    sight = np.array([index.first_sight(i, j) for i, j in pairs.tolist()], np.int8)
    for i, j in pairs[sight == VERSIONS].tolist():
        songs.join(i, j)
    index.weigh(pairs[sight >= ALIKE])
    for i, j in pairs[(sight == UNCLEAR) | (sight == ALIKE)].tolist():
        if songs.root(i) != songs.root(j) and index.is_similar(i, j):
            songs.join(i, j)
    roots = [songs.root(i) for i in range(len(names))]
    return [songs.name[root] or contents[root][:16] for root in roots]


class _Songs:
    """Sets of pieces that are one song (union-find).

    Attributes:
      name: of the song whose first piece has that number; empty where it is not known.
    """

    def __init__(self, names: Sequence[str]):
        self.name = list(names)
        self._parent = list(range(len(names)))
        first: dict[str, int] = {}
        for i, name in enumerate(names):
            if name:
                self.join(first.setdefault(name, i), i)

    def root(self, i: int) -> int:
        """The first piece of a piece's song."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Makes one song of those of two pieces."""
        i, j = sorted((self.root(i), self.root(j)))
        if i != j:
            self._parent[j] = i
            self.name[i] = self.name[i] or self.name[j]
