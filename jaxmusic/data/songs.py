"""Songs: which pieces are the same music, so that no split sees what another holds.

Copies are found by content. Versions of one song (transposed, re-encoded, rearranged a little) are
found by MinHash (Broder, 1997) over short runs of melodic intervals, which no transposition, tempo
or meter changes, with locality-sensitive hashing to find candidates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from jaxmusic.notes import TICKS_PER_BEAT, Notes

HASHES, BANDS = 96, 24
RUN = 6
"""Intervals in a run."""
LEAST_RUNS = 24
"""Pieces with fewer distinct runs are too plain to be recognised by them."""
SIMILAR = 0.5
"""Pieces that share this part of their runs (Jaccard index) are versions of one song."""

_rng = np.random.Generator(np.random.Philox(key=909))
_FACTORS = _rng.integers(0, 2**63, HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _rng.integers(0, 2**63, HASHES, dtype=np.uint64)


def content(notes: Notes) -> str:
    """Hex hash of an aligned piece's notes on a grid of 12 steps; equal for copies."""
    scale = TICKS_PER_BEAT // 12
    onset = (notes.onset + scale // 2) // scale
    ending = (notes.onset.astype(np.int64) + notes.duration + scale // 2) // scale
    voice = np.where(notes.is_drum, 128, notes.program[notes.track])
    columns = [onset, ending, notes.pitch, notes.velocity // 16, voice]
    table = np.stack([np.asarray(c, np.int64) for c in columns])
    table[:2] -= table[0].min(initial=0)
    table = table[:, np.lexsort(table)]
    return hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()


def signature(notes: Notes) -> np.ndarray:
    """MinHash of the highest line's runs of intervals: uint64 [HASHES], or [0] if too plain."""
    none = np.zeros(0, np.uint64)
    pitched = ~notes.is_drum
    step = notes.onset[pitched] // (TICKS_PER_BEAT // 12)
    if not len(step):
        return none
    first = np.flatnonzero(np.diff(step, prepend=-1))
    line = np.maximum.reduceat(notes.pitch[pitched].astype(np.int64), first)
    if len(line) <= RUN:
        return none
    interval = (np.diff(line) + 128).astype(np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(interval, RUN)
    runs = np.unique(runs @ (np.uint64(256) ** np.arange(RUN, dtype=np.uint64)))
    if len(runs) < LEAST_RUNS:
        return none
    return (_mixed(runs)[:, None] * _FACTORS + _OFFSETS).min(axis=0)


def group(contents: Sequence[str], signatures: Sequence[np.ndarray], names: Sequence[str]) -> list:
    """Name of the song of each piece; all versions of a song have the same name.

    Args:
      contents: `content` of each piece.
      signatures: `signature` of each piece.
      names: name of the song where it is known, else empty.

    Returns:
      The known name, or the content hash of the song's first piece.
    """
    parent = list(range(len(contents)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        i, j = sorted((root(i), root(j)))
        parent[j] = i

    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if name:
            join(seen.setdefault(name, i), i)
    rows = np.array([i for i, s in enumerate(signatures) if len(s)], np.int64)
    if len(rows):
        table = np.stack([signatures[i] for i in rows])
        for i, j in _similar(table):
            join(int(rows[i]), int(rows[j]))
    return [names[root(i)] or contents[root(i)][:16] for i in range(len(contents))]


def _similar(table: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of rows of signatures [N, HASHES] that share a band and are similar as a whole."""
    pairs: set[tuple[int, int]] = set()
    width = HASHES // BANDS
    for band in range(BANDS):
        key = _mixed(table[:, band * width])
        for column in range(band * width + 1, (band + 1) * width):
            key = _mixed(key ^ table[:, column])
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero(key[order[1:]] == key[order[:-1]])
        a, b = order[same], order[same + 1]
        alike = (table[a] == table[b]).mean(axis=1) >= SIMILAR
        pairs.update(zip(a[alike].tolist(), b[alike].tolist()))
    return pairs


def _mixed(x: np.ndarray) -> np.ndarray:
    """Bits of uint64 well mixed (the finaliser of SplitMix64; Steele et al., 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
