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

HASHES, BANDS = 96, 48
RUN = 5
"""Intervals in a run."""
LEAST_RUNS = 32
"""A line with fewer distinct runs is too plain to be recognised by them."""
SIMILAR = 0.25
"""Lines that share this part of their runs (Jaccard index) are of one song. Two arrangements of
a pop song have 0.3 to 0.75, different songs up to 0.02."""
MELODIES = 3
ONE_VOICE = 0.95
"""A track is a melody if this share of its onsets has one note."""

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
    """MinHash of the intervals in a piece's lines: uint32 [L, HASHES], L <= 1 + MELODIES.

    The lines are the highest notes of all tracks together, and the highest tracks that have one
    voice, because arrangements of a song share its melody.
    """
    pitched = ~notes.is_drum
    step = notes.onset[pitched] // (TICKS_PER_BEAT // 12)
    pitch, track = notes.pitch[pitched].astype(np.int64), notes.track[pitched]
    lines = [_highest(step, pitch)]
    counts = np.bincount(track)
    by_height = np.argsort(-np.bincount(track, pitch) / np.maximum(counts, 1), kind="stable")
    for i in by_height[: (counts > 0).sum()].tolist():
        line = _highest(step[track == i], pitch[track == i])
        if len(lines) <= MELODIES and len(line) >= ONE_VOICE * counts[i]:
            lines.append(line)
    hashes = [_min_hash(line) for line in lines]
    return np.stack([h for h in hashes if h is not None] or [np.zeros(0, np.uint32)]).reshape(
        -1, HASHES
    )


def _highest(step: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """The highest pitch at each onset; steps ascend."""
    if not len(step):
        return pitch
    return np.maximum.reduceat(pitch, np.flatnonzero(np.diff(step, prepend=-1)))


def _min_hash(line: np.ndarray) -> np.ndarray | None:
    if len(line) <= RUN:
        return None
    interval = (np.diff(line) + 128).astype(np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(interval, RUN)
    # Runs of two intervals, such as repeated notes and octaves, are in every bass line.
    runs = runs[(np.diff(np.sort(runs, axis=1), axis=1) > 0).sum(axis=1) >= 2]
    runs = np.unique(runs @ (np.uint64(256) ** np.arange(RUN, dtype=np.uint64)))
    if len(runs) < LEAST_RUNS:
        return None
    hashes = (_mixed(runs)[:, None] * _FACTORS + _OFFSETS).min(axis=0)
    return (hashes >> np.uint64(32)).astype(np.uint32)


def group(
    contents: Sequence[str], signatures: Sequence[np.ndarray], names: Sequence[str]
) -> list[str]:
    """Name of the song of each piece; all versions of a song have the same name.

    Args:
      contents: `content` of each piece.
      signatures: `signature` of each piece.
      names: name of the song where it is known, else empty; different names are different songs.

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
    owner = np.repeat(np.arange(len(contents)), [len(s) for s in signatures])
    if len(owner):
        for i, j in _similar(np.concatenate(signatures)):
            a, b = int(owner[i]), int(owner[j])
            if names[a] == names[b] or not (names[a] and names[b]):
                join(a, b)
    known = {root(i): name for i, name in reversed(list(enumerate(names))) if name}
    return [known.get(root(i)) or contents[root(i)][:16] for i in range(len(contents))]


def _similar(table: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of rows of signatures [N, HASHES] that share a band and are similar as a whole."""
    pairs: set[tuple[int, int]] = set()
    width = HASHES // BANDS
    for band in range(BANDS):
        key = np.zeros(len(table), np.uint64)
        for column in range(band * width, (band + 1) * width):
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
