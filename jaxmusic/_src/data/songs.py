"""Songs: which pieces are the same music, and splits, none of which sees what another holds.

Copies are known by their notes. Versions of a song (transposed, faster, re-encoded, with a track
or some notes missing, the melody with another accompaniment) are known by runs of melodic
intervals, which no transposition, tempo or meter changes. Runs are taken from each track for
itself, so that it is found in any arrangement. A piece keeps the smallest of their hashes, a
bottom-k sketch, which tells how much of one piece another contains (Broder, 1997); see
`data.near_duplicates` for how pieces that share much are found among many.

Pieces of drums alone are known as copies only: one bar of the same beat says nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from jaxmusic._src.data.melodic_lines import RUN, MelodicLines, runs, steps
from jaxmusic._src.data.near_duplicates import ALIKE, MELODY, UNCLEAR, VERSIONS, HashIndex
from jaxmusic._src.music.notes import Notes

SPLITS = ("train", "validation", "test")
LEFT_OUT = ""
"""The split of a piece that is in none, because of a twin in an official split."""
SIZE = 1024
"""Hashes that a piece keeps at most, of 8 bytes each."""
ONE_VOICE = 0.95
"""A track is a melody if this share of its onsets has one note and no such track is higher."""
LEAST_MELODY = 16
"""Onsets of a melody at least."""


def content(notes: Notes) -> str:
    """Hashes how often each instrument plays each pitch, as hex; equal for copies.

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
    lines = MelodicLines.of(notes)
    start, hashes = runs(lines)
    if not len(start):
        return hashes
    melody = _melody(notes, lines)
    hashes = np.sort((hashes & ~MELODY) | (lines.track[start + RUN] == melody))
    last = np.append(hashes[1:] >> MELODY != hashes[:-1] >> MELODY, True)[: len(hashes)]
    return hashes[last][:SIZE]


def _melody(notes: Notes, lines: MelodicLines) -> int:
    """Returns the index of the melody track, -1 if there is none."""
    pitched = ~notes.is_drum
    track, pitch = notes.track[pitched], notes.pitch[pitched]
    onsets, count = np.bincount(lines.track), np.bincount(track)
    one_voice = (onsets >= ONE_VOICE * count) & (onsets >= LEAST_MELODY)
    height = np.where(one_voice, np.bincount(track, pitch) / np.maximum(count, 1), -1)
    return int(height.argmax()) if one_voice.any() else -1


def group(
    contents: Sequence[str], signatures: Sequence[np.ndarray], names: Sequence[str]
) -> list[str]:
    """Names the song of each piece; all versions of a song share a name.

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
    index = HashIndex(signatures, SIZE)
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
        """Returns the first piece of a piece's song."""
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


def assign(
    songs: Sequence[str], validation: float, test: float, official: Sequence[str]
) -> list[str]:
    """Assigns each piece its official split, or one by a hash of its song's name.

    A song stays in its split when others come or go. Where hashing leaves train without a song, or
    validation though it should have some and there are two songs, one song moves there. Shares that
    add up to 1 leave no train.

    An official test split stays whole, and so does validation, except for songs in test. Other
    versions of their songs are left out (`LEFT_OUT`, `Reason.TWIN`) wherever they come from; a
    figure measured on the split compares with others', and nothing of it was trained on.

    Args:
      songs: name of each piece's song.
      validation: share of songs in the validation split, of those without an official one.
      test: share of songs in the test split, likewise.
      official: each piece's official split, empty where it has none.

    Returns:
      One of `SPLITS` or `LEFT_OUT` for each piece; none is left out without official splits.
    """
    given: dict[str, str] = {}
    for song, name in zip(songs, official, strict=True):
        if name:
            given[song] = max(given.get(song, name), name, key=SPLITS.index)
    split = _hashed({song for song in songs if song not in given}, validation, test, bool(given))
    return [
        split[song] if song not in given else _of_official(given[song], name)
        for song, name in zip(songs, official)
    ]


def leaves_none(validation: float, test: float) -> bool:
    """Tells whether shares of held-out songs leave none to train on."""
    return round(validation + test, 9) >= 1


def _of_official(song: str, piece: str) -> str:
    """Returns the official split of a piece whose song has one, or none."""
    return song if song in (piece, "train") else LEFT_OUT


def _hashed(songs: set[str], validation: float, test: float, others: bool) -> dict[str, str]:
    """Assigns each song a split by its hash; where there are others, none is moved to fill one."""
    place = {song: _place(song) for song in songs}
    split = {
        song: "validation" if x < validation else "test" if x < validation + test else "train"
        for song, x in place.items()
    }
    by_place = sorted(place, key=lambda song: (place[song], song))
    if others:
        return split
    if by_place and "train" not in split.values() and not leaves_none(validation, test):
        split[by_place[-1]] = "train"
    if validation > 0 and len(by_place) > 1 and "validation" not in split.values():
        training = [song for song in by_place if split[song] == "train"]
        # With one song in train, the only other split there is test.
        split[training[0] if len(training) > 1 else by_place[0]] = "validation"
    return split


def _place(song: str) -> float:
    """Hashes a song's name to a number from 0 to 1."""
    return int.from_bytes(hashlib.sha256(song.encode()).digest()[:8], "big") / 2**64
