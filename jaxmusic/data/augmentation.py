"""Augmentation: transposing pieces and leaving controls out, drawn anew in every epoch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxmusic.codecs.layout import CONTROLS


class Change(NamedTuple):
    """What is done to a piece: semitones to move it by, and names of controls to leave out."""

    semitones: int = 0
    drop: frozenset[str] = frozenset()


UNCHANGED = Change()


def generator(seed: int, epoch: int, item: int) -> np.random.Generator:
    """Random numbers that depend on the three keys alone (Philox; Salmon et al., 2011)."""
    mask = 2**64 - 1
    key = ((seed & mask) << 64) | ((epoch & 0xFFFFFFFF) << 32 | (item & 0xFFFFFFFF))
    return np.random.Generator(np.random.Philox(key=key))


def draw(
    piece: Any, seed: int, epoch: int, item: int, transpose: int, drop_controls: float
) -> Change:
    """Draws the change of one piece in one epoch.

    All transpositions in reach are equally likely: up to `transpose` semitones down or up, as far
    as no pitched note leaves 0-127.

    Args:
      piece: the whole piece, of any codec.
      seed: key of the draw.
      epoch: likewise.
      item: likewise, the number of the piece.
      transpose: semitones.
      drop_controls: chance of each control to be left out.
    """
    rng = generator(seed, epoch, item)
    chance, left_out = rng.random(), rng.random(len(CONTROLS)) < drop_controls
    pitch = piece.pitch[piece.pitched]
    if not len(pitch):
        low = high = 0
    else:
        low = max(-transpose, -int(pitch.min()))
        high = min(transpose, 127 - int(pitch.max()))
    semitones = low + int(chance * (high - low + 1))
    return Change(semitones, frozenset(c for c, out in zip(CONTROLS, left_out) if out))
