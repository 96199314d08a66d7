"""Which instrument of a piece has the melody."""

from __future__ import annotations

import numpy as np

from jaxmusic.music.piece import DRUM_SLOT, Piece


def melody_slot(piece: Piece) -> int:
    """The slot that has the melody, -1 where nothing but drums sounds.

    It is the pitched slot that is on top most often: whose note is the highest of those that sound,
    at as many as possible of the moments at which pitched notes begin; of several the lowest slot.
    That the highest notes are heard as the melody is the skyline rule (Uitdenbogerd and Zobel,
    "Manipulation of music for melody matching", 1998).
    """
    pitched = piece.pitched
    if not pitched.any():
        return -1
    onset, duration = piece.onset[pitched].astype(np.int64), piece.duration[pitched]
    steps = int(piece.bar_step[-1])
    count = np.minimum(duration, steps - onset)
    # One row for each step of each note, and in one number the pitch and, below it, the slot.
    at = np.arange(int(count.sum())) + np.repeat(onset - np.cumsum(count) + count, count)
    voice = piece.pitch[pitched].astype(np.int16) * 16 + (DRUM_SLOT - piece.slot[pitched])
    top = np.full(steps, -1, np.int16)
    np.maximum.at(top, at, np.repeat(voice.astype(np.int16), count))
    times_on_top = np.bincount(DRUM_SLOT - (top[np.unique(onset)] & 15), minlength=DRUM_SLOT)
    return int(times_on_top.argmax())
