"""Measures endings: whether a piece closes or just stops.

The measures were chosen by real songs and the same songs cut at a bar line; docs/evaluation.md has
the figures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmusic._src.music import harmony
from jaxmusic._src.music.notes import NO_CHORD, TICKS_PER_BEAT, Notes

EIGHTH = TICKS_PER_BEAT // 2


class Ending(NamedTuple):
    """The ending of a piece; drums count only where named, because hits have no length.

    The last sound is the latest end of a note. The final half bar and the final bar are those in
    which it ends. Final notes are those that end with the last sound, or up to an eighth before it.

    Attributes:
      tonic: whether the root of the chord inferred for the final half bar is the tonic.
      bass: whether the lowest note that sounds in the final half bar is the tonic.
      together: share of the tracks sounding in the final bar that have final notes; 1 in a piece
        that is cut while all play.
      lengthening: mean duration of final notes divided by that of all notes.
      rest: quarter notes from the last onset, drums included, to the last sound; 0 if a drum hit
        is later.
      cut_off: whether a note of less than an eighth lasts to the very end of the piece.
    """

    tonic: bool
    bass: bool
    together: float
    lengthening: float
    rest: float
    cut_off: bool


def ending(notes: Notes) -> Ending | None:
    """Measures the ending of an aligned piece (`music.beats.align`); None without pitched notes.

    The tonic is that of the key inferred for the end, which depends on the last bass note.
    """
    found = harmony.infer(notes)
    if not len(found.chord):
        return None
    tonic = int(found.key[-1]) % 12
    pitched = ~notes.is_drum
    onset, pitch, track = (c[pitched] for c in (notes.onset, notes.pitch, notes.track))
    duration = notes.duration[pitched].astype(np.int64)
    end = onset + duration
    last = int(end.max())
    line = harmony.half_bars(notes)
    half = int(np.searchsorted(line, last, side="left")) - 1
    chord = int(found.chord[np.searchsorted(found.chord_tick, line[half], side="right") - 1])
    final = end >= last - EIGHTH
    playing = np.unique(track[end > line[half - half % 2]])
    return Ending(
        tonic=chord != NO_CHORD and chord % 12 == tonic,
        bass=int(pitch[end > line[half]].min()) % 12 == tonic,
        together=float(np.isin(playing, track[final]).mean()),
        lengthening=float(duration[final].mean() / duration.mean()),
        rest=max(last - int(notes.onset[-1]), 0) / TICKS_PER_BEAT,
        cut_off=bool(((end == notes.end) & (duration < EIGHTH)).any()),
    )
