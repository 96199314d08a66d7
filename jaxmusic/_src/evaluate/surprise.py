"""Surprise: improbability of a line of notes under a model of other music.

An event is the interval to a note from the one before it, together with the ratio of the two times
between onsets that meet there, both invariant to transposition and tempo. Events follow a Markov
model of order `ORDER`, whose probabilities are interpolated with those of the next lower order
(MacKay and Peto, "A hierarchical Dirichlet language model", 1995)::

    p_k(e | context) = (n(context, e) + c * p_(k-1)(e | shorter context)) / (n(context) + c)

where n counts in the training music and c is `PRIOR`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmusic._src.data.melodic_lines import MelodicLines
from jaxmusic._src.data.near_duplicates import mixed

ORDER = 3
"""Order of the model: events of context."""
PRIOR = 4.0
"""Weight of the next lower order in events."""
EVENTS = 4096
"""Number of possible events; an unseen event has 12 bits."""
MOST = 8.0
"""Maximum bits of a note: a rhythm found nowhere else may be an error in beat tracking."""
LONGEST = 96
"""Longest distinct time between two onsets in steps, two bars of 4/4."""


def grams(lines: MelodicLines) -> np.ndarray:
    """Computes hashes of the last 1 to `ORDER` + 1 events up to each note: uint64 [ORDER + 1, M].

    0 if the line has fewer events before it; its first two notes have none.
    """
    count = len(lines.step)
    out = np.zeros((ORDER + 1, count), np.uint64)
    if count < 3:
        return out
    gap = np.clip(np.diff(lines.step), 1, LONGEST)
    divisor = np.gcd(gap[1:], gap[:-1])
    ratio = (gap[1:] // divisor) * 128 + gap[:-1] // divisor
    event = mixed(
        (np.diff(lines.pitch)[1:] + 129).astype(np.uint64) << 16 | ratio.astype(np.uint64)
    )
    out[0, 2:] = np.where(lines.track[2:] == lines.track[:-2], event | 1, 0)
    for k in range(1, ORDER + 1):
        before, now = out[k - 1, :-1], out[0, 1:]
        both = mixed(before * np.uint64(3) + now) | np.uint64(1)
        out[k, 1:] = np.where((before > 0) & (now > 0), both, 0)
    return out


class Counts(NamedTuple):
    """Counts of sequences of events in some music.

    Attributes:
      gram: uint64 [G], hashes of 1 to `ORDER` + 1 events, ascending.
      times: uint32 [G].
      total: int64 [1], number of all events.
    """

    gram: np.ndarray
    times: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, found: np.ndarray) -> Counts:
        """Counts the grams [ORDER + 1, M] of lines."""
        gram, times = np.unique(found[found > 0], return_counts=True)
        return cls(gram, times.astype(np.uint32), np.array([np.count_nonzero(found[0])]))

    def look_up(self, gram: np.ndarray) -> np.ndarray:
        """Returns counts of grams of any shape, 0 for unseen ones (int64)."""
        if not len(self.gram):
            return np.zeros(gram.shape, np.int64)
        at = np.minimum(np.searchsorted(self.gram, gram), len(self.gram) - 1)
        return np.where(self.gram[at] == gram, self.times[at], 0).astype(np.int64)


def bits(found: np.ndarray, music: Counts, without: Counts) -> np.ndarray:
    """Computes the surprise of each note in bits, at most `MOST` (float64 [M]).

    Args:
      found: `grams` of the lines.
      music: counts of all music.
      without: counts of the part of it to leave out.

    Returns:
      0 for the first two notes of a line, which have no event.
    """
    count = np.maximum(music.look_up(found) - without.look_up(found), 0)
    total = max(int(music.total[0]) - int(without.total[0]), 0)
    p = np.full(found.shape[1], 1 / EVENTS)
    for k in range(ORDER + 1):
        # The context of a gram is the gram of the next lower order that ends one note earlier.
        context = np.full(found.shape[1], total)
        if k:
            context[1:], context[:1] = count[k - 1, :-1], 0
        longer = (count[k] + PRIOR * p) / (np.maximum(context, count[k]) + PRIOR)
        p = np.where(found[k] > 0, longer, p)
    return np.where(found[0] > 0, np.minimum(-np.log2(p), MOST), 0.0)
