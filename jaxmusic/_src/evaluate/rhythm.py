"""Statistics of time: density, note values, and similarity of the rhythm of bars.

Drums count like all other notes, except where durations are compared. Onsets go to the nearest of
12 steps in a quarter note, as in `music.grid.quantise`.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from jaxmusic._src.music.meters import bar_lines
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Notes

STEPS_PER_BEAT = 12
_STEP = TICKS_PER_BEAT // STEPS_PER_BEAT
_FOUR_QUARTERS = 4 * STEPS_PER_BEAT

NOTE_VALUES = (1 / 8, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 3 / 2, 2, 3, 4)
"""Note values in quarter notes, in the order of the histograms."""
NOTE_VALUE_NAMES = (
    *("32nd", "16th triplet", "16th", "8th triplet", "8th", "quarter triplet", "dotted 8th"),
    *("quarter", "dotted quarter", "half", "dotted half", "whole or longer"),
)
_BETWEEN_VALUES = np.sqrt(np.multiply(NOTE_VALUES[1:], NOTE_VALUES[:-1]))


class Bars(NamedTuple):
    """Onsets of a piece by bar.

    Attributes:
      line: int64 [B + 1], bar lines in steps.
      bar: int64 [N], the bar in which each note begins.
      position: int64 [N], steps from its bar line.
    """

    line: np.ndarray
    bar: np.ndarray
    position: np.ndarray


def bars(notes: Notes) -> Bars:
    """Returns the bars of an aligned piece."""
    step = onset_steps(notes)
    line = bar_lines(notes, max(int(step.max(initial=0)) + 1, -(-notes.end // _STEP)), 12)[1]
    line = np.asarray(line, np.int64)
    bar = np.searchsorted(line, step, side="right") - 1
    return Bars(line, bar, step - line[bar])


def onset_steps(notes: Notes) -> np.ndarray:
    """Returns the step of each onset, int64 [N]."""
    return (notes.onset.astype(np.int64) + _STEP // 2) // _STEP


def notes_per_second(notes: Notes) -> float | None:
    """Computes notes per second, ``N / seconds of the whole piece``: 0 or more."""
    return len(notes) / float(notes.seconds(notes.end)) if notes.end else None


def notes_per_quarter(notes: Notes) -> float | None:
    """Computes notes per quarter note, ``N / quarter notes of the whole piece``: 0 or more."""
    return len(notes) * TICKS_PER_BEAT / notes.end if notes.end else None


def durations(notes: Notes) -> np.ndarray | None:
    """Computes the share of notes of each note value, float64 [12] with sum 1.

    Each pitched note counts for the value in `NOTE_VALUES` that is nearest by ratio. After Yang and
    Lerch, 2020 (there NLH, on other values).
    """
    return _note_values(notes.duration[~notes.is_drum] / TICKS_PER_BEAT)


def inter_onsets(notes: Notes) -> np.ndarray | None:
    """Computes the shares of note values among inter-onset times, float64 [12] with sum 1.

    Between all different onset steps of the piece, on any instrument, sorted as in
    `durations`. After Yang and Lerch, 2020 (there IOI, its mean).
    """
    return _note_values(np.diff(np.unique(onset_steps(notes))) / STEPS_PER_BEAT)


def beat_positions(notes: Notes) -> np.ndarray | None:
    """Computes the share of notes on each 12th of a quarter note, float64 [12] with sum 1."""
    return _shares(onset_steps(notes) % STEPS_PER_BEAT, STEPS_PER_BEAT)


def bar_positions(notes: Notes) -> np.ndarray | None:
    """Computes the share of notes on each sixteenth of a bar of four quarters, float64 [16].

    Its sum is 1. Each note counts for the nearest sixteenth; bars of other lengths are left out.
    """
    line, bar, position = bars(notes)
    common = np.diff(line)[bar] == _FOUR_QUARTERS
    sixteenth = STEPS_PER_BEAT // 4
    return _shares((position[common] + sixteenth // 2) // sixteenth % 16, 16)


def groove_consistency(notes: Notes) -> float | None:
    """Computes the similarity of the onsets of neighbouring bars, 0 to 1.

    The mean over neighbouring bars a and b of ``1 - sum_q |a_q - b_q| / Q``, where ``a_q`` is 1 if
    a note begins on step q of a bar of Q steps, and else 0. Bars of different lengths are not
    compared. Wu and Yang, 2020, as in MusPy (Dong et al., 2020).
    """
    if not len(notes):
        return None
    grooves = _grooves(bars(notes))
    pairs = [(a, b) for a, b in itertools.pairwise(grooves) if len(a) == len(b)]
    return float(1 - np.mean([(a != b).mean() for a, b in pairs])) if pairs else None


def groove_similarity(notes: Notes) -> float | None:
    """Computes `groove_consistency` over all pairs of bars of one length. Wu and Yang, 2020."""
    if not len(notes):
        return None
    grooves = _grooves(bars(notes))
    pairs = differences = 0.0
    for length in {len(groove) for groove in grooves}:
        alike = [groove for groove in grooves if len(groove) == length]
        begins = np.sum(alike, 0)
        # Of n bars, k of which have an onset on a step, k (n - k) pairs differ on it.
        differences += float((begins * (len(alike) - begins)).sum()) / length
        pairs += len(alike) * (len(alike) - 1) / 2
    return 1 - differences / pairs if pairs else None


def empty_beats(notes: Notes) -> float | None:
    """Computes the share of silent quarter notes, 0 to 1.

    A note sounds from its onset to its end, end excluded; a drum hit as long as it is written. Dong
    et al., "Pypianoroll", 2018.
    """
    return _empty(notes, np.arange(0, notes.end, TICKS_PER_BEAT))


def empty_bars(notes: Notes) -> float | None:
    """Computes the share of silent bars as in `empty_beats`. Dong et al., "MuseGAN", 2018."""
    return _empty(notes, bars(notes).line[:-1] * _STEP)


def _grooves(barred: Bars) -> list[np.ndarray]:
    """Marks the steps of each bar on which a note begins."""
    begins = np.zeros(barred.line[-1], bool)
    begins[barred.line[barred.bar] + barred.position] = True
    return np.split(begins, barred.line[1:-1])


def _empty(notes: Notes, start: np.ndarray) -> float | None:
    """Computes the share of silent stretches, which begin at ticks [S], ascending from 0."""
    if not notes.end:
        return None
    stop = notes.onset.astype(np.int64) + notes.duration
    first = np.searchsorted(start, notes.onset, side="right") - 1
    last = np.searchsorted(start, stop - 1, side="right") - 1
    change = np.bincount(first, minlength=len(start) + 1)
    change -= np.bincount(last + 1, minlength=len(start) + 1)
    return float((np.cumsum(change)[:-1] == 0).mean())


def _note_values(quarters: np.ndarray) -> np.ndarray | None:
    return _shares(np.searchsorted(_BETWEEN_VALUES, quarters), len(NOTE_VALUES))


def _shares(kind: np.ndarray, kinds: int) -> np.ndarray | None:
    """Computes the share of each of the numbers 0 to kinds - 1; None without numbers."""
    return np.bincount(kind, minlength=kinds) / len(kind) if len(kind) else None
