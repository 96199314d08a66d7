"""Measures repetition: how similar bars are at each distance, and runs of equal bars.

Bars are those of an aligned piece (`music.beats.align`), notes are quantised to 12 steps in a
quarter note. Two bars are compared as sets of the notes that begin in them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from jaxmusic._src.music.grid import quantise
from jaxmusic._src.music.notes import Notes, check_aligned
from jaxmusic._src.music.piece import DRUM_SLOT, Piece

LAGS = tuple(range(1, 17))
"""Distances in bars at which bars are compared."""


def similarity(notes: Notes, lags: Iterable[int] = LAGS) -> dict[int, float | None]:
    """Computes the mean similarity of bars at distances of some bars.

    The similarity of bars a and b is the Jaccard index ``|A & B| / |A | B|``, where A and B are the
    sets of (steps from the bar line, pitch) of the notes that begin in them, on any instrument;
    drum hits are distinct from pitches. Two silent bars are not compared.

    Args:
      notes: an aligned piece.
      lags: distances in bars, at least 1.

    Returns:
      For each lag the mean over all pairs of bars, 0 to 1; None without a pair.
    """
    check_aligned(notes)
    piece, _ = quantise(notes)
    bars = _contents(piece, piece.pitch + 128 * (piece.slot == DRUM_SLOT))
    return {lag: _mean_likeness(bars, lag) for lag in lags}


def longest_run(notes: Notes) -> int:
    """Returns the length of the longest run of equal bars; 1 without two equal neighbours.

    Bars are equal if the same notes begin at the same steps from the bar line, by the same
    instruments: equal sets of (step, slot, pitch). A silent bar ends a run; a piece without notes
    has 0.

    Args:
      notes: an aligned piece.
    """
    check_aligned(notes)
    piece, _ = quantise(notes)
    longest = now = 0
    before: frozenset[int] = frozenset()
    for bar in _contents(piece, piece.pitch + 128 * piece.slot.astype(np.int64)):
        now = now + 1 if bar and bar == before else int(bool(bar))
        longest = max(longest, now)
        before = bar
    return longest


def _contents(piece: Piece, voice: np.ndarray) -> list[frozenset[int]]:
    """Encodes the notes of each bar as numbers of the step from the bar line and a voice [N]."""
    bar = piece.bar_of
    number = (piece.onset - piece.bar_step[bar]).astype(np.int64) << 12 | voice
    edges = np.searchsorted(bar, np.arange(piece.bars + 1))
    return [frozenset(number[a:b].tolist()) for a, b in itertools.pairwise(edges)]


def _mean_likeness(bars: list[frozenset[int]], lag: int) -> float | None:
    pairs = [(a, b) for a, b in zip(bars, bars[lag:]) if a or b]
    return float(np.mean([len(a & b) / len(a | b) for a, b in pairs])) if pairs else None
