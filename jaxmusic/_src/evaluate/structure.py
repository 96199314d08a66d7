"""Statistics of form: repetition of chords and of passages."""

from __future__ import annotations

import functools

import numpy as np

from jaxmusic._src.evaluate import rhythm
from jaxmusic._src.music import harmony
from jaxmusic._src.music.notes import NO_CHORD, Notes

SPANS = {"short": (3.0, 8.0), "medium": (8.0, 15.0), "long": (15.0, np.inf)}
"""Lengths of passages in seconds, the second excluded, as in Wu and Yang (2020)."""
_BLOCK = 4096


def chord_irregularity(notes: Notes) -> float | None:
    """Computes the share of distinct ones among all chord trigrams, 0 to 1.

    ``#{(c_i, c_i+1, c_i+2)} / (n - 2)`` for the n chords of the piece, each named when it changes;
    stretches without a chord are skipped. Low for a repeated progression, 1 if no trigram
    returns. Undefined for fewer than three chords. Wu and Yang, 2020. Chords are inferred from
    the notes, not taken from labels, so that all pieces are measured alike.
    """
    return irregularity(harmony.infer(notes).chord)


def irregularity(chords: np.ndarray) -> float | None:
    """Computes `chord_irregularity` of chords in order, int [C], see `music.notes.NO_CHORD`."""
    chords = chords[chords != NO_CHORD].astype(np.int64)
    chords = chords[np.append(True, chords[1:] != chords[:-1])[: len(chords)]]
    if len(chords) < 3:
        return None
    trigrams = (chords[:-2] * NO_CHORD + chords[1:-1]) * NO_CHORD + chords[2:]
    return len(np.unique(trigrams)) / len(trigrams)


def structureness(notes: Notes, span: str) -> float | None:
    """Measures how exactly passages of some length return in a piece, 0 to 1.

    With S the `self_similarity` of the bars, the mean over all lengths of n bars in the span, and
    for each over all passages of n bars that begin at bar a, of
    ``max_b (1 / n) sum_(k < n) S[a + k, b + k]`` over all b with ``|a - b| >= n``: the passage that
    resembles it most and does not overlap it. 1 if each passage is repeated note by note; it falls
    with the length for the same piece. Undefined if no two passages of such a length fit into the
    piece.

    Wu and Yang (2020) ask the same of audio, by the fitness of the best passage in a scape plot of
    chroma (Mueller, Jiang and Grosche, 2013); notes are compared here, and all passages count.

    Args:
      notes: an aligned piece.
      span: a name in `SPANS`; a bar lasts as long as the mean of the piece's bars.
    """
    alike = self_similarity(notes)
    if not alike.any():
        return None
    count = len(alike)
    seconds = float(notes.seconds(notes.end)) / count
    shortest, longest = SPANS[span]
    total, found, lengths = alike, [], range(1, count // 2 + 1)
    for n in lengths:
        if n * seconds >= longest:
            break
        if n > 1:  # sums along diagonals, a bar longer each time
            total = total[:-1, :-1] + alike[n - 1 :, n - 1 :]
        if n * seconds >= shortest:
            found.append(_best_matches(total, n) / n)
    return float(np.mean(found)) if found else None


def _best_matches(total: np.ndarray, n: int) -> float:
    """Averages the largest sum of each passage with one at least n bars away."""
    at = np.arange(len(total))
    best = np.where(np.abs(at[:, None] - at) >= n, total, -1.0).max(1)
    return float(best[best >= 0].mean())  # some in the middle have no other that far away


@functools.lru_cache(maxsize=1)  # the spans of one piece are computed one after the other
def self_similarity(notes: Notes) -> np.ndarray:
    """Computes the similarity of all pairs of bars, float32 [B, B], 0 to 1.

    The Jaccard index ``|A & B| / |A | B|`` of the sets of (step from the bar line, pitch) of the
    notes that begin in them, without drums; 0 for two silent bars.
    """
    line, bar, position = rhythm.bars(notes)
    pitched = ~notes.is_drum
    what, item = np.unique(position[pitched] << 7 | notes.pitch[pitched], return_inverse=True)
    count = len(line) - 1
    common, bar = np.zeros((count, count), np.float32), bar[pitched]
    for first in range(0, len(what), _BLOCK):  # bounds the memory of very long pieces
        has = np.zeros((count, _BLOCK), np.float32)
        chosen = (item >= first) & (item < first + _BLOCK)
        has[bar[chosen], item[chosen] - first] = 1
        common += has @ has.T
    size = np.diag(common)
    either = size[:, None] + size - common
    return common / np.maximum(either, 1)
