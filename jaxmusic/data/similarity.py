"""Similarity: which of many pieces share so much that they are one song.

An index of the hashes of all pieces finds the pairs to compare, in time and memory that grow with
the number of hashes: of the pieces that share a hash each meets a few of the others only, drawn
anew for every hash, and pairs that meet often are compared. Versions of a song share many hashes
and meet however many versions there are; what thousands of songs share brings hardly any two of
them together twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

STRONG, MOST_SHARED = 0.5, 24
"""Pieces are versions of a song if one contains this part of the other's hashes and so many."""
SIMILAR = ((0.25, 8), (0.1, 48))
"""They are so too, with less weight on hashes that many songs have, if one contains this part of
the other, or of its melody, and so many hashes of full weight: one pair of the two will do."""
RARE = 2
"""Songs that may have a hash before it loses weight; of n songs a hash has the weight RARE / n."""
NEIGHBOURS = 3
"""How many of the next pieces with the same hash a piece meets."""
OFTEN = 4
"""Pieces that meet so often are compared."""

MELODY = np.uint64(1)
"""The bit of a hash that says that it is of a melody; the others say what it is."""
_KEY = np.uint64(24)  # Hashes are told apart by the bits above these, and in draws these are drawn.
_BATCH = 1 << 25  # rows or pairs that are sorted at a time
_ALL = ~np.uint64(0)


class _Shared(NamedTuple):
    """Rows of an index whose hash other rows have too, those of one hash together.

    Attributes:
      row: uint32 [S].
      piece: uint32 [S], the piece that each belongs to.
      number: int32 [S], number of its hash, ascending.
    """

    row: np.ndarray
    piece: np.ndarray
    number: np.ndarray


class Index:
    """The hashes of many pieces.

    Attributes:
      hashes: uint64 [R], rows: all signatures one after the other.
      start: int64 [N + 1], where the rows of each piece begin.
      weight: float16 [R], how much each row counts; 1 until `weigh` is called.
    """

    def __init__(self, signatures: Sequence[np.ndarray], size: int):
        """Takes ascending hashes uint64 of pieces, of which at most `size` are kept of each."""
        lengths = [len(s) for s in signatures]
        self.hashes = np.concatenate([np.zeros(0, np.uint64), *signatures])
        self.start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        self.weight = np.ones(len(self.hashes), np.float16)
        self._size = size
        piece = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)
        self._parts = [self._shared(rows, piece[rows]) for rows in self._ranges()]

    def _ranges(self) -> Iterator[np.ndarray]:
        """Rows of one range of hashes after the other, about _BATCH in each."""
        count = 1 + len(self.hashes) // _BATCH
        some = np.sort(self.hashes[:: 1 + len(self.hashes) // (1000 * count)])
        edges = some[np.arange(1, count) * len(some) // count] >> _KEY << _KEY
        for low, high in zip([np.uint64(0), *edges], [*edges, None]):
            rows = self.hashes >= low
            if high is not None:
                rows &= self.hashes < high
            yield np.flatnonzero(rows)

    def _shared(self, row: np.ndarray, piece: np.ndarray) -> _Shared:
        """Brings equal hashes together, in an order of pieces drawn for each of them."""
        key = self.hashes[row] >> _KEY
        order = np.argsort(
            (key << _KEY)
            | (mixed(key + (mixed(piece.astype(np.uint64)))) >> (np.uint64(64) - _KEY))
        )
        key = key[order]
        new = np.append(True, key[1:] != key[:-1])[: len(key)]
        shared = ~(new & np.append(new[1:], True)[: len(key)])
        number = np.cumsum(new, dtype=np.int32) - 1
        return _Shared(row[order][shared].astype(np.uint32), piece[order][shared], number[shared])

    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of pieces that meet often, those that meet most often first; i < j in each."""
        turns = 1 + NEIGHBOURS * sum(len(part.row) for part in self._parts) // _BATCH
        found, times = [], []
        for turn in range(turns):
            met = np.concatenate([m for part in self._parts for m in _meetings(part, turn, turns)])
            met.sort()  # np.unique is slower where most are different.
            first = np.flatnonzero(np.append(True, met[1:] != met[:-1])[: len(met)])
            count = np.diff(first, append=len(met))
            found.append(met[first[count >= OFTEN]])
            times.append(count[count >= OFTEN])
        pair = np.concatenate(found)[np.argsort(-np.concatenate(times), kind="stable")]
        low = np.uint64(2**32 - 1)
        return list(zip((pair >> np.uint64(32)).tolist(), (pair & low).tolist()))

    def weigh(self, song: np.ndarray) -> None:
        """Gives hashes less weight that many songs have: int64 [N], each piece's song."""
        for part in self._parts:
            pair = (part.number.astype(np.int64) << 32) | song[part.piece]
            pair.sort()
            new = np.append(True, pair[1:] != pair[:-1])[: len(pair)]
            songs = np.bincount(pair[new] >> 32)[part.number]
            self.weight[part.row] = np.minimum(1, RARE / songs)

    def is_version(self, i: int, j: int) -> bool:
        """Whether one of two pieces contains so much of the other that nothing else counts."""
        for hashes, shared, _ in self._common(i, j):
            new = hashes[1:] != hashes[:-1]
            count = int(shared[0]) + int((shared[1:] & new).sum())
            if count >= max(MOST_SHARED, STRONG * (1 + new.sum())):
                return True
        return False

    def is_similar(self, i: int, j: int) -> bool:
        """Whether one of two pieces contains enough of the other, or of its melody."""
        for hashes, shared, rows in self._common(i, j):
            weight = self.weight[rows].astype(np.float64)
            melody = weight * (self.hashes[rows] & MELODY)
            once = weight * np.append(True, hashes[1:] != hashes[:-1])
            for w in (melody, once):
                count, total = w @ shared, w.sum()
                if any(count >= max(least, part * total) for part, least in SIMILAR):
                    return True
        return False

    def _common(self, i: int, j: int) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
        """Of each of two pieces hashes [K], which the other shares [K], and rows, if it has any."""
        # A full sketch knows nothing of hashes above its last.
        full = [k for k in (i, j) if self.start[k + 1] - self.start[k] == self._size]
        limit = min((self.hashes[self.start[k + 1] - 1] | MELODY for k in full), default=_ALL)
        rows = [self._rows(k, limit) for k in (i, j)]
        a, b = (self.hashes[r] | MELODY for r in rows)
        if len(a) and len(b):
            yield a, b[np.minimum(np.searchsorted(b, a), len(b) - 1)] == a, rows[0]
            yield b, a[np.minimum(np.searchsorted(a, b), len(a) - 1)] == b, rows[1]

    def _rows(self, i: int, limit: np.uint64) -> slice:
        start, stop = self.start[i], self.start[i + 1]
        count = np.searchsorted(self.hashes[start:stop], limit, side="right")
        return slice(start, start + count)


def _meetings(part: _Shared, turn: int, turns: int) -> Iterator[np.ndarray]:
    """Pairs (i << 32) + j, i < j, of pieces that meet, for every turns-th i from turn on."""
    for distance in range(1, NEIGHBOURS + 1):
        same = part.number[distance:] == part.number[:-distance]
        a, b = part.piece[:-distance][same], part.piece[distance:][same]
        low, high = np.minimum(a, b), np.maximum(a, b)
        mine = (low % turns == turn) & (low != high)
        yield (low[mine].astype(np.uint64) << np.uint64(32)) | high[mine]


def mixed(x: np.ndarray) -> np.ndarray:
    """Bits of uint64 well mixed (the finaliser of SplitMix64; Steele et al., 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
