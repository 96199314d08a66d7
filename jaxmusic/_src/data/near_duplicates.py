"""Similarity: which of many pieces share so much that they are one song.

An index of the hashes of all pieces finds the pairs to compare, in time and memory that grow with
the number of hashes: of the pieces that share a hash each meets the next few only, in one of a few
orders, and pairs that meet often are compared. Versions of a song meet in one hash after the other,
however many there are; what thousands of songs share hardly brings two of them together often.

A pair is judged by how much one contains of the other (containment; Broder, 1997), which neither a
missing track nor a longer arrangement lowers. Where that is not clear at once, a hash counts less
the more songs have it. Songs are not known yet then, so that pieces that are alike at first sight
count as one; likeness is not passed on, or pieces that share accompaniments would become one song
by way of others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

DIFFERENT, UNCLEAR, ALIKE, VERSIONS = range(4)
"""What two pieces may be at first sight, by the hashes as they are."""
PARTS = {VERSIONS: 0.5, ALIKE: 0.2}
"""The part of the other piece's hashes that one contains at least; alike are pieces, too, if one
contains that part of the other's melody."""
LEAST = 24
"""The number of hashes that are shared then at least."""
SIMILAR = ((0.25, 8), (0.1, 48))
"""Least containment, by weight, of the other piece or of its melody, and least shared weight: two
pieces are versions of one song if they meet either pair."""
RARE = 2
"""A hash that n songs have weighs min(1, RARE / n)."""
NEIGHBOURS, ORDERS = 3, 4
"""How many of the next pieces with the same hash a piece meets, and in how many orders, drawn by
chance, pieces stand: one hash has one order, another hash perhaps another."""
OFTEN = 6
"""Pieces that meet so often are compared."""

MELODY = np.uint64(1)
"""The bit of a hash that says that it is of a melody; the others say what it is."""
_DRAWN = np.uint64(24)  # bits that hold a piece's place in sorting; those above tell hashes apart
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


class HashIndex:
    """The hashes of many pieces.

    Attributes:
      hashes: uint64 [R], rows: all signatures one after the other.
      start: int64 [N + 1], where the rows of each piece begin.
      weight: float32 [R], how much each row counts; 1 until `weigh` is called.
    """

    def __init__(self, signatures: Sequence[np.ndarray], size: int):
        """Takes ascending hashes uint64 of pieces, of which at most `size` are kept of each."""
        lengths = [len(s) for s in signatures]
        self.hashes = np.concatenate([np.zeros(0, np.uint64), *signatures])
        self.start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        self.weight = np.ones(len(self.hashes), np.float32)
        self._size = size
        piece = np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths)
        self._parts = [self._shared(rows, piece[rows]) for rows in self._ranges()]

    def _ranges(self) -> Iterator[np.ndarray]:
        """Yields rows by ranges of hashes, about _BATCH in each."""
        count = 1 + len(self.hashes) // _BATCH
        some = np.sort(self.hashes[:: 1 + len(self.hashes) // (1000 * count)])
        edges = some[np.arange(1, count) * len(some) // count] >> _DRAWN << _DRAWN
        for low, high in zip([np.uint64(0), *edges], [*edges, None]):
            rows = self.hashes >= low
            if high is not None:
                rows &= self.hashes < high
            yield np.flatnonzero(rows)

    def _shared(self, row: np.ndarray, piece: np.ndarray) -> _Shared:
        """Brings equal hashes together, their pieces in one of the orders."""
        key = self.hashes[row] >> _DRAWN
        drawn = mixed(piece * np.uint64(ORDERS) + key % np.uint64(ORDERS))
        order = np.argsort((key << _DRAWN) | (drawn >> (np.uint64(64) - _DRAWN)))
        key = key[order]
        new = np.append(True, key[1:] != key[:-1])[: len(key)]
        shared = ~(new & np.append(new[1:], True)[: len(key)])
        number = np.cumsum(new, dtype=np.int32) - 1
        return _Shared(row[order][shared].astype(np.uint32), piece[order][shared], number[shared])

    def pairs(self) -> np.ndarray:
        """Pairs i < j of pieces that meet often, those first that meet most often: int64 [P, 2]."""
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
        return np.stack([pair >> np.uint64(32), pair & np.uint64(2**32 - 1)], 1).astype(np.int64)

    def weigh(self, alike: np.ndarray) -> None:
        """Gives hashes less weight that many songs have.

        Args:
          alike: int64 [P, 2], pairs i < j of pieces that count as one song.
        """
        # No pair is the largest number, so that a search never leaves the array.
        known = np.sort(np.append(_pair(alike[:, 0], alike[:, 1]), _ALL))
        for part in self._parts:
            is_new = np.ones(len(part.row), bool)  # a song among the rows of its hash
            for distance in range(1, NEIGHBOURS + 1):
                a, b = part.piece[:-distance], part.piece[distance:]
                same = part.number[distance:] == part.number[:-distance]
                pair = _pair(a[same], b[same])
                is_known = known[np.searchsorted(known, pair)] == pair
                same[same] = (a[same] == b[same]) | is_known
                is_new[distance:] &= ~same
            songs = np.bincount(part.number, is_new)[part.number]
            self.weight[part.row] = np.minimum(1, RARE / songs)

    def first_sight(self, i: int, j: int) -> int:
        """Classifies two pieces by the number of shared hashes, before `weigh`."""
        shares = self._shares(i, j)
        parts = [count / total if count >= LEAST else 0.0 for count, total in shares]
        if max(parts[:2], default=0.0) >= PARTS[VERSIONS]:
            return VERSIONS
        if max(parts, default=0.0) >= PARTS[ALIKE]:
            return ALIKE
        return UNCLEAR if shares else DIFFERENT

    def is_similar(self, i: int, j: int) -> bool:
        """Tells whether two pieces are versions of a song, by the weights of shared hashes."""
        return any(
            weight >= max(least, part * total)
            for weight, total in self._shares(i, j)
            for part, least in SIMILAR
        )

    def _shares(self, i: int, j: int) -> list[tuple[float, float]]:
        """Weighs the hashes, and melody hashes, that two pieces have in common.

        Returns:
          Weight of the shared hashes and of all: of the one piece and of the other, then of the
          one melody and of the other. Nothing if they share too few to be similar.
        """
        # A full sketch knows nothing of hashes above its last.
        full = [k for k in (i, j) if self.start[k + 1] - self.start[k] == self._size]
        limit = min((self.hashes[self.start[k + 1] - 1] | MELODY for k in full), default=_ALL)
        rows = [self._rows(k, limit) for k in (i, j)]
        a, b = (self.hashes[r] | MELODY for r in rows)
        at = np.searchsorted(b, a)
        at[at == len(b)] = 0
        both = np.flatnonzero(b[at] == a) if len(b) else at[:0]
        if len(both) < SIMILAR[0][1]:
            return []
        weights = [self.weight[r] for r in rows]
        weights += [weight * (self.hashes[r] & MELODY) for weight, r in zip(weights, rows)]
        shared = (both, at[both]) * 2
        return [(float(w[s].sum()), float(w.sum())) for w, s in zip(weights, shared)]

    def _rows(self, i: int, limit: np.uint64) -> slice:
        start, stop = self.start[i], self.start[i + 1]
        count = np.searchsorted(self.hashes[start:stop], limit, side="right")
        return slice(start, start + count)


def _meetings(part: _Shared, turn: int, turns: int) -> Iterator[np.ndarray]:
    """Pairs of pieces that meet, for every turns-th of the lower pieces from turn on."""
    for distance in range(1, NEIGHBOURS + 1):
        same = part.number[distance:] == part.number[:-distance]
        a, b = part.piece[:-distance][same], part.piece[distance:][same]
        mine = (np.minimum(a, b) % turns == turn) & (a != b)
        yield _pair(a[mine], b[mine])


def _pair(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pairs of pieces as one number, the lower piece in the upper bits."""
    low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
    return (low << np.uint64(32)) | high


def mixed(x: np.ndarray) -> np.ndarray:
    """Bits of uint64 well mixed (the finaliser of SplitMix64; Steele et al., 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
