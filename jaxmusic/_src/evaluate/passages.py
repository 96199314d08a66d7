"""Passages that a line of a piece shares with a line of training music.

Runs of equal melodic intervals are the seeds (seed and extend; Altschul et al., "Basic local
alignment search tool", 1990). Each gives a transposition, a factor of note values and both starts.
After this transformation, each note of one line that lies on a note of the other adds one to a
score, each other note costs `MISS`, and the passage is the stretch around the run with the best
score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmusic._src.data.melodic_lines import RUN, MelodicLines, runs
from jaxmusic._src.evaluate.copy_index import CopyIndex

MISS = 2.0
"""Cost of a note without a partner: up to a third of a passage may be missing or changed."""
SEEDS, EACH = 64, 4
"""Most seeds of passages, in all and for one transformation."""
COMMON = 4096
"""Runs of intervals at more places than this are too common to be seeds."""
STRETCH, UNEVEN = 4.0, 1.5
"""Factors by which note values may be longer or shorter: by ratios of the numbers 1 to 4, and by
others."""
_SIMPLE = np.array(sorted({a / b for a in range(1, 5) for b in range(1, 5)}))


class Way(NamedTuple):
    """A transformation of a piece onto a training piece.

    Attributes:
      piece: number of the training piece.
      transposition: semitones from the piece up to the training piece.
      stretch: how many times as long note values are in the training piece.
      shift: steps; a note at `step` lies at stretch * step + shift in the training piece.
    """

    piece: int
    transposition: int
    stretch: float
    shift: float


class Passage(NamedTuple):
    """Notes of one line that lie on notes of one line of a training piece.

    Attributes:
      way: transformation of the line.
      start, stop: onsets of the piece's lines, stop excluded.
      partners: int64 [n], matching onsets of the training lines, unique, ascending.
    """

    way: Way
    start: int
    stop: int
    partners: np.ndarray


Seed = tuple[list[int], list[int]]
"""Equal intervals: first and last onset in the piece's lines, and in the index."""


def passages(index: CopyIndex, lines: MelodicLines) -> list[Passage]:
    """Finds passages that lines share with the music of an index, from the likeliest seeds."""
    found: list[Passage] = []
    for seed in _seeds(index, lines):
        (a, _), (b, _) = seed
        if any(p.start <= a < p.stop and p.partners[0] <= b <= p.partners[-1] for p in found):
            continue
        if (passage := _extend(index, lines, seed)) is not None:
            found.append(passage)
    return found


def _seeds(index: CopyIndex, lines: MelodicLines) -> list[Seed]:
    """Returns equal stretches of intervals, those with the rarest runs first."""
    start, hashes = runs(lines)
    c = index.columns
    low, high = (np.searchsorted(c.hash, hashes, side=side) for side in ("left", "right"))
    count = np.where(high - low <= COMMON, high - low, 0)
    row = np.repeat(low - np.cumsum(count) + count, count) + np.arange(count.sum())
    mine = np.repeat(start, count)
    theirs = c.place[row].astype(np.int64)
    piece = index.piece(theirs)
    rare = 1.0 / _pieces_per_run(mine, piece)
    up = c.pitch[theirs].astype(np.int64) - lines.pitch[mine]
    stretch = np.log2(c.step[theirs + RUN] - c.step[theirs]) - np.log2(
        lines.step[mine + RUN] - lines.step[mine]
    )
    near = np.flatnonzero(np.abs(stretch) <= np.log2(STRETCH) + 0.1)
    order = near[np.lexsort((mine[near], theirs[near] - mine[near]))]
    if not len(order):
        return []
    columns: tuple[np.ndarray, ...] = (mine, theirs, piece, rare, up, stretch)
    mine, theirs, piece, rare, up, stretch = (x[order] for x in columns)
    same = (np.diff(theirs - mine) == 0) & (np.diff(mine) == 1) & (np.abs(np.diff(stretch)) < 0.15)
    first = np.flatnonzero(np.append(True, ~same))
    last = np.append(first[1:], len(mine)) - 1
    weight = np.add.reduceat(rare, first)
    # Stretches of one altered copy support one another, and so do those on
    # one diagonal; of a diagonal one stretch is enough.
    key = (piece[first] << 16) + ((up[first] + 128) << 8) + np.rint(4 * stretch[first]).astype(int)
    group = np.unique(key, return_inverse=True)[1]
    line = np.unique(theirs[first] - mine[first], return_inverse=True)[1]
    support, together = (np.bincount(x, weight)[x] for x in (group, line))
    best = np.lexsort((first, -weight, line, -together, group, -support))
    best = best[_rank(line[best]) == 0]
    chosen = best[_rank(group[best]) < EACH][:SEEDS]
    ends = np.stack([first[chosen], last[chosen]], axis=1)
    stretches = ((x[ends] + (0, RUN)).tolist() for x in (mine, theirs))
    return list(zip(*stretches))


def _rank(key: np.ndarray) -> np.ndarray:
    """Counts the equal keys right before each key."""
    first = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
    return np.arange(len(key)) - np.repeat(first, np.diff(first, append=len(key)))


def _pieces_per_run(mine: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Counts the training pieces with the run at each position; mine [S] ascends."""
    pair, inverse = np.unique(mine * 2**31 + piece, return_inverse=True)
    run, count = np.unique(pair >> 31, return_counts=True)
    return count[np.searchsorted(run, pair >> 31)][inverse]


def _extend(index: CopyIndex, lines: MelodicLines, seed: Seed) -> Passage | None:
    """Extends a seed to a passage; None if the rhythm differs."""
    piece = int(index.piece(np.array(seed[1][0])))
    base = int(index.columns.first[piece])
    source = index.lines([piece])
    first, last = (onset - base for onset in seed[1])
    mine, theirs = _one_track(lines, seed[0][0]), _one_track(source, first)
    x, pitch = lines.step[mine], lines.pitch[mine]
    target = source.step[theirs] * 128 + source.pitch[theirs]
    up = int(source.pitch[first] - lines.pitch[seed[0][0]])
    a, b = (onset - mine.start for onset in seed[0])
    stretch, shift = _fit(x[a : b + 1], source.step[first : last + 1])
    length = 0
    while True:
        place = np.rint(stretch * x + shift).astype(np.int64)
        partner = np.full(len(x), -1)
        for off in (1, -1, 0):  # the nearest wins
            wanted = (place + off) * 128 + pitch + up
            at = np.minimum(np.searchsorted(target, wanted), len(target) - 1)
            fits = (target[at] == wanted) & (pitch + up >= 0) & (pitch + up < 128)
            partner = np.where(fits, at, partner)
        hit = partner >= 0
        if not _allowed(stretch) or hit[a : b + 1].mean() < 1 - 1 / (1 + MISS):
            return None
        start, stop = _stretch_around(hit, a, b)
        met = np.flatnonzero(hit[start:stop]) + start
        if len(met) <= length:
            break
        length = len(met)
        best = (start, stop, np.unique(partner[met]))
        way = Way(piece, up, stretch, shift)
        stretch, shift = _fit(x[met], source.step[theirs][partner[met]])
    start, stop, partners = best
    return Passage(way, mine.start + start, mine.start + stop, base + theirs.start + partners)


def _one_track(lines: MelodicLines, onset: int) -> slice:
    """Returns the onsets of the track of an onset."""
    low, high = (
        np.searchsorted(lines.track, lines.track[onset], side=s) for s in ("left", "right")
    )
    return slice(int(low), int(high))


def _fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Fits stretch and shift from steps x to steps y; simple ratios are taken as exact."""
    stretch = float(np.polyfit(x, y, 1)[0]) if x[-1] > x[0] else 1.0
    near = float(_SIMPLE[np.argmin(np.abs(np.log(_SIMPLE / max(stretch, 1e-3))))])
    if abs(stretch / near - 1) < 0.03:
        stretch = near
    return stretch, float(np.median(y - stretch * x))


def _allowed(stretch: float) -> bool:
    """Returns whether this factor of note values is allowed."""
    return stretch in _SIMPLE or 1 / UNEVEN <= stretch <= UNEVEN


def _stretch_around(hit: np.ndarray, a: int, b: int) -> tuple[int, int]:
    """Returns the stretch (stop excluded) with the best score that contains a to b (included)."""
    score = np.where(hit, 1.0, -MISS)
    right = np.append(0, np.cumsum(score[b + 1 :]))
    left = np.append(0, np.cumsum(score[:a][::-1]))
    return a - int(left.argmax()), b + 1 + int(right.argmax())
