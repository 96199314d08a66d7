"""Labelling: what is known of a piece goes onto its notes, and its known beats become its grid."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.sources import NOTHING, Known
from jaxmusic._src.formats.annotations import read_beats, read_chords, read_keys
from jaxmusic._src.music import beats
from jaxmusic._src.music.beat_grid import ticks_at
from jaxmusic._src.music.notes import Notes

# A labelled grid is worse than an estimated one if onsets lie further from its 12ths of a beat by
# more than this ratio and this many milliseconds: labels also know the bar lines.
_WORSE, _WORSE_MS = 1.25, 1.0
# A grid on which onsets lie as well as this needs no comparison.
_GOOD_MS = 2.0


def labelled(notes: Notes, known: Known) -> Notes:
    """Adds known labels to a piece as read from its file, in the file's ticks.

    Raises:
      UserError: a file of labels cannot be read.
    """
    if known == NOTHING:
        return notes
    if known.ticks_per_beat:
        notes = notes.replace(ticks_per_beat=known.ticks_per_beat)
    labels: dict[str, Any] = {
        "styles": tuple(dict.fromkeys((*notes.labels.styles, *known.styles))),
        "song": known.song or notes.labels.song,
    }
    if known.chords:
        seconds, labels["chord"], labels["bass"] = read_chords(known.chords)
        labels["chord_tick"] = labels["bass_tick"] = _ticks(notes, seconds)
    if known.keys:
        seconds, labels["key"] = read_keys(known.keys)
        labels["key_tick"] = _ticks(notes, seconds)
        # The first key holds from the start, though it was heard only where music begins.
        labels["key_tick"][:1] = 0
    if len(known.roles) == len(notes.program):
        labels["role"] = np.array(known.roles, np.int8)
    return notes.replace(labels=dataclasses.replace(notes.labels, **labels))


def align(notes: Notes, known: Known) -> tuple[Notes, beats.Fit, bool]:
    """Puts a piece on its beats: those that are labelled, unless it fits its own better.

    Returns:
      The aligned piece, its fit, and whether labelled beats were refused.
    """
    if not known.beats:
        return *beats.align(notes), False
    try:
        by_labels, fit = beats.align(notes, read_beats(known.beats))
    except UserError:  # none, or in no order
        return *beats.align(notes), True
    if fit.error_ms <= _GOOD_MS:
        return by_labels, fit, False
    by_notes, own = beats.align(notes)
    if fit.error_ms > max(_WORSE * own.error_ms, own.error_ms + _WORSE_MS):
        return by_notes, own, True
    return by_labels, fit, False


def _ticks(notes: Notes, seconds: np.ndarray) -> np.ndarray:
    return np.maximum(np.rint(ticks_at(notes, seconds)), 0).astype(np.int32)
