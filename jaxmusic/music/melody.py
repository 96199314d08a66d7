"""Finds the instrument with the melody."""

from __future__ import annotations

import numpy as np

from jaxmusic.music.piece import DRUM_SLOT, Piece


def melody_slot(piece: Piece) -> int:
    """Returns the slot of the melody, -1 for drums alone.

    This is the pitched slot that has the highest sounding note at the most onsets of pitched notes;
    the lowest slot on ties. Hearing the highest notes as the melody is the skyline rule
    (Uitdenbogerd and Zobel, "Manipulation of music for melody matching", 1998).
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
