"""Statistics of sound: instruments, loudness and tempo."""

from __future__ import annotations

import numpy as np

from jaxmusic._src.music.notes import TICKS_PER_BEAT, Notes

_DRUMS = 128


def instruments(notes: Notes) -> float | None:
    """Counts the sounding General MIDI programs, all drums as one: 1 to 129."""
    return float(len(np.unique(_programs(notes)))) or None


def instrument_use(notes: Notes) -> np.ndarray | None:
    """Computes the shares of notes of the 16 General MIDI families and of drums, float64 [17].

    In the order of `formats.instruments.GM_FAMILIES`, drums last; the sum is 1.
    """
    return np.bincount(_programs(notes) // 8, minlength=17) / len(notes) if len(notes) else None


def velocity_mean(notes: Notes) -> float | None:
    """Computes the mean MIDI velocity of all notes, 1 to 127."""
    return float(notes.velocity.mean()) if len(notes) else None


def velocity_range(notes: Notes) -> float | None:
    """Computes the range of MIDI velocities, 0 to 126."""
    return float(int(notes.velocity.max()) - int(notes.velocity.min())) if len(notes) else None


def tempo(notes: Notes) -> float | None:
    """Computes the mean tempo, weighted by time: quarter notes divided by minutes."""
    return 60 * notes.end / TICKS_PER_BEAT / float(notes.seconds(notes.end)) if notes.end else None


def _programs(notes: Notes) -> np.ndarray:
    """Returns the program of each note, `_DRUMS` for drum hits, int64 [N]."""
    if not len(notes):
        return np.zeros(0, np.int64)
    return np.where(notes.is_drum, _DRUMS, notes.program[notes.track].astype(np.int64))
