"""Splits: which songs are for training, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SPLITS = ("train", "validation", "test")


def assign(songs: Sequence[str], validation: float, test: float) -> list[str]:
    """The split of each piece, by a hash of its song's name.

    A song stays in its split when others come or go. Where hashing leaves train without a song, or
    validation though it should have some and there are two songs, one song moves there.

    Args:
      songs: name of each piece's song.
      validation: share of songs in the validation split.
      test: share of songs in the test split.
    """
    place = {song: _place(song) for song in songs}
    split = {
        song: "validation" if x < validation else "test" if x < validation + test else "train"
        for song, x in place.items()
    }
    by_place = sorted(place, key=lambda song: (place[song], song))
    if by_place and "train" not in split.values():
        split[by_place[-1]] = "train"
    if validation > 0 and len(by_place) > 1 and "validation" not in split.values():
        training = [song for song in by_place if split[song] == "train"]
        # With one song in train, the only other split there is test.
        split[training[0] if len(training) > 1 else by_place[0]] = "validation"
    return [split[song] for song in songs]


def _place(song: str) -> float:
    """A number from 0 to 1 that depends on the song's name alone."""
    return int.from_bytes(hashlib.sha256(song.encode()).digest()[:8], "big") / 2**64
