"""Splits: which songs are for training, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SPLITS = ("train", "validation", "test")
LEFT_OUT = ""
"""The split of a piece that is in none, because of a twin in an official split."""


def assign(
    songs: Sequence[str], validation: float, test: float, official: Sequence[str]
) -> list[str]:
    """The split of each piece: the official one, or by a hash of its song's name.

    A song stays in its split when others come or go. Where hashing leaves train without a song, or
    validation though it should have some and there are two songs, one song moves there.

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


def _of_official(song: str, piece: str) -> str:
    """The split of a piece whose song has an official one: what it has itself, or none."""
    return song if song in (piece, "train") else LEFT_OUT


def _hashed(songs: set[str], validation: float, test: float, others: bool) -> dict[str, str]:
    """The split of each song by its hash; where there are others, none is moved to fill a split."""
    place = {song: _place(song) for song in songs}
    split = {
        song: "validation" if x < validation else "test" if x < validation + test else "train"
        for song, x in place.items()
    }
    by_place = sorted(place, key=lambda song: (place[song], song))
    if others:
        return split
    if by_place and "train" not in split.values():
        split[by_place[-1]] = "train"
    if validation > 0 and len(by_place) > 1 and "validation" not in split.values():
        training = [song for song in by_place if split[song] == "train"]
        # With one song in train, the only other split there is test.
        split[training[0] if len(training) > 1 else by_place[0]] = "validation"
    return split


def _place(song: str) -> float:
    """A number from 0 to 1 that depends on the song's name alone."""
    return int.from_bytes(hashlib.sha256(song.encode()).digest()[:8], "big") / 2**64
