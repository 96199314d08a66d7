"""Roles: which instrument has the melody, which the bass, and which the chords."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxmusic._src.music.columns import DRUM_SLOT, PITCHED_SLOTS, Columns, changes

ROLES = ("melody", "bass", "chords", "drums", "other")
_BASSES = range(32, 40)  # General MIDI's bass programs
_LOW = 52  # E3: a part whose notes lie below it on average may be the bass
_MONOPHONIC = 1.15  # notes that begin together on average, at most, in a part of single notes
_CHORDAL = 1.5  # likewise at least, in a part of chords


def melody_slot(piece: Columns, among: Sequence[int] = range(PITCHED_SLOTS)) -> int:
    """Returns the slot of the melody, -1 for drums alone.

    This is the pitched slot that has the highest sounding note at the most onsets of pitched notes;
    the lowest slot on ties. Hearing the highest notes as the melody is the skyline rule
    (Uitdenbogerd and Zobel, "Manipulation of music for melody matching", 1998).

    Args:
      piece: quantised notes.
      among: pitched slots to choose from; others are not heard.
    """
    heard = np.zeros(16, bool)
    heard[list(among)] = True
    pitched = heard[piece.slot]
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
    moments = onset[changes(onset, -1)]
    times_on_top = np.bincount(DRUM_SLOT - (top[moments] & 15), minlength=DRUM_SLOT)
    return int(times_on_top.argmax())


def find_roles(piece: Columns) -> np.ndarray:
    """Infers the role of each slot from its notes.

    The bass is a bass by its program, or else the lowest part of single notes, if it lies low. The
    melody is the slot of `melody_slot` among the other parts of single notes, if there are any:
    that of 76 % of 80 songs of POP909, whose tracks say which it is. Parts in which several notes
    begin together are chords.

    Args:
      piece: quantised notes.

    Returns:
      Int16 [16], index into `ROLES`; -1 for slots without notes, and for the only pitched slot,
      which has all roles in one.
    """
    role = np.full(16, -1, np.int16)
    count = np.bincount(piece.slot, minlength=16)
    slots = np.flatnonzero(count[:PITCHED_SLOTS]).tolist()
    if len(slots) < 2:
        return role
    moments = changes(piece.onset.astype(np.int64) * 16 + piece.slot, -1)
    height = np.bincount(piece.slot, piece.pitch, minlength=16) / np.maximum(count, 1)
    together = count / np.maximum(np.bincount(piece.slot[moments], minlength=16), 1)
    single = [s for s in slots if together[s] <= _MONOPHONIC]
    low = [s for s in single if height[s] < _LOW]
    declared = [s for s in slots if int(piece.programs[s]) in _BASSES]
    basses = declared or sorted(low, key=lambda s: height[s])[:1]
    others = [s for s in slots if s not in basses]
    melody = melody_slot(piece, [s for s in single if s in others] or others)
    for s in slots:
        if s in basses:
            role[s] = ROLES.index("bass")
        elif s == melody:
            role[s] = ROLES.index("melody")
        else:
            role[s] = ROLES.index("chords" if together[s] >= _CHORDAL else "other")
    return role
