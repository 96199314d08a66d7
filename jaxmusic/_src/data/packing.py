"""Packing: which bars of which pieces stand together in a row of fixed length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxmusic._src.data.augmentation import generator


class Sizes(NamedTuple):
    """Token counts of the pieces of a split.

    Attributes:
      header: int32 [P], bound of the tokens that a part of a piece has besides its bars'.
      bar: int32 [sum of B], tokens of every bar, piece after piece.
      first: int64 [P + 1], index into `bar` of each piece's first bar, and the end of the last.
    """

    header: np.ndarray
    bar: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, sizes: Iterable[np.ndarray]) -> Sizes:
        """Gathers what a codec's ``sizes`` gave for each piece: header bound, then bars."""
        pieces = [np.asarray(s, np.int32) for s in sizes]
        counts = np.array([len(s) - 1 for s in pieces], np.int64)
        return cls(
            header=np.array([s[0] for s in pieces], np.int32),
            bar=np.concatenate([np.zeros(0, np.int32), *(s[1:] for s in pieces)]),
            first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        )

    def take(self, pieces: np.ndarray) -> Sizes:
        """Selects the sizes of some pieces, by their numbers."""
        counts = np.diff(self.first)[pieces]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        at = np.repeat(self.first[pieces] - first[:-1], counts) + np.arange(first[-1])
        return Sizes(self.header[pieces], self.bar[at], first)


class Rows(NamedTuple):
    """A packing plan: parts of pieces, row after row.

    Attributes:
      first: int64 [R + 1], index of each row's first part, and the end of the last row.
      piece: int32 [S], the piece of each part.
      start, stop: int32 [S], its bars, stop excluded.
      tokens: int32 [S], bound of its tokens, at most the context.
      truncated: parts of one bar that alone exceeds the context and loses its end.
    """

    first: np.ndarray
    piece: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    tokens: np.ndarray
    truncated: int

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.first) - 1

    def fill(self, context: int) -> float:
        """Returns the share of the rows' places that hold tokens, by the bounds."""
        return float(self.tokens.sum(dtype=np.int64) / max(len(self) * context, 1))


def plan(sizes: Sizes, context: int, seed: int = 0, epoch: int | None = None) -> Rows:
    """Cuts pieces at bar lines into parts that fit a row, and packs these into rows.

    A piece that fits is one part. A longer one is cut: the first part's length is drawn at random,
    so that cuts fall elsewhere in each epoch, the others are as long as they can be. Parts are
    packed best fit, the longest first (Johnson, 1973). Where that leaves a 16th of a row or more
    empty, parts from the emptiest rows are cut to fill it. Rows are put in random order. Every
    bar is in exactly one part.

    Args:
      sizes: token counts of each piece.
      context: places in a row.
      seed: seeds cuts, ties and order.
      epoch: likewise; None for a plan that cuts only what does not fit, as evaluation uses.
    """
    rng = generator(seed, -1 if epoch is None else epoch, -1)
    total = np.concatenate([[0], np.cumsum(sizes.bar, dtype=np.int64)])
    piece, start, stop = _cut(sizes, total, context, None if epoch is None else rng)
    tokens = sizes.header[piece] + total[stop] - total[start]
    truncated = int((tokens > context).sum())
    tokens = np.minimum(tokens, context)
    order = np.lexsort((rng.random(len(tokens)), -tokens))
    row = np.zeros(len(tokens), np.int64)
    row[order] = best_fit(tokens[order], context)
    if epoch is not None:
        parts = np.stack([piece, start, stop, tokens, row])
        piece, start, stop, tokens, row = _fill_gaps(parts, sizes.header, total, context)
    names, row = np.unique(row, return_inverse=True)
    count = len(names)
    row = np.argsort(rng.random(count))[row]
    order = np.lexsort((start, piece, row))
    offset = sizes.first[piece]
    return Rows(
        first=np.concatenate([[0], np.cumsum(np.bincount(row, minlength=count))]).astype(np.int64),
        piece=piece[order].astype(np.int32),
        start=(start - offset)[order].astype(np.int32),
        stop=(stop - offset)[order].astype(np.int32),
        tokens=tokens[order].astype(np.int32),
        truncated=truncated,
    )


def _cut(
    sizes: Sizes, total: np.ndarray, context: int, rng: np.random.Generator | None
) -> np.ndarray:
    """Returns piece, first bar and end bar (indices into ``sizes.bar``) of parts, [3, S]."""
    room = np.maximum(context - sizes.header.astype(np.int64), 1)
    piece = np.flatnonzero(np.diff(sizes.first))
    at, end = sizes.first[:-1][piece], sizes.first[1:][piece]
    budget = room[piece]
    if rng is not None:
        cut = total[end] - total[at] > budget
        budget = np.where(cut, np.ceil(rng.random(len(piece)) * budget).astype(np.int64), budget)
    parts = [np.zeros((3, 0), np.int64)]
    while len(piece):
        stop = np.searchsorted(total, total[at] + budget, side="right") - 1
        stop = np.clip(stop, at + 1, end)
        parts.append(np.stack([piece, at, stop]))
        more = stop < end
        piece, at, end = piece[more], stop[more], end[more]
        budget = room[piece]
    return np.concatenate(parts, axis=1)


def best_fit(tokens: np.ndarray, context: int) -> np.ndarray:
    """Assigns each part [S] to the fullest row with room for it, else to a new one.

    The rows with a given room left are a list, and an integer has a bit set for each room that
    some row has, so that the smallest sufficient room is found by its lowest set bit.

    Args:
      tokens: int [S], 1 to context, in the order in which parts are placed.
      context: places in a row.
    """
    by_room: list[list[int]] = [[] for _ in range(context + 1)]
    rooms = 0
    count = 0
    out = []
    for size in tokens.tolist():
        fitting = rooms >> size
        if fitting:
            room = size + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                rooms ^= 1 << room
        else:
            room, row = context, count
            count += 1
        if left := room - size:
            by_room[left].append(row)
            rooms |= 1 << left
        out.append(row)
    return np.array(out, np.int64)


def _fill_gaps(
    parts: np.ndarray, header: np.ndarray, total: np.ndarray, context: int
) -> np.ndarray:
    """Cuts parts of the emptiest rows to fill the others, from the fullest that has a gap on.

    Parts are columns of int64 [5, S]: piece, first bar and bar after the last one, tokens, row.
    """
    piece, start, stop, tokens, row = parts
    least = context // 16
    used = np.bincount(row, tokens).astype(np.int64)
    loose = np.flatnonzero(context - used >= least)
    loose = loose[np.argsort(used[loose], kind="stable")].tolist()
    by_row = np.argsort(row, kind="stable")
    first = np.searchsorted(row[by_row], np.arange(len(used) + 1))
    new: list[tuple[int, int, int, int, int]] = []
    giver, taker = 0, len(loose) - 1
    giving: list[int] = []
    if taker > 0:
        giving = by_row[first[loose[0]] : first[loose[0] + 1]].tolist()
    while giver < taker:
        here = loose[taker]
        gap = int(context - used[here])
        while gap >= least and giver < taker:
            if not giving:
                giver += 1
                giving = by_row[first[loose[giver]] : first[loose[giver] + 1]].tolist()
                continue
            i = giving[-1]
            if tokens[i] <= gap:
                row[i] = here
                gap -= int(tokens[i])
                giving.pop()
                continue
            room = gap - header[piece[i]]
            cut = int(np.searchsorted(total, total[start[i]] + room, side="right")) - 1
            if cut <= start[i]:
                break
            size = int(header[piece[i]] + total[cut] - total[start[i]])
            new.append((piece[i], start[i], cut, size, here))
            gap -= size
            start[i] = cut
            tokens[i] = header[piece[i]] + total[stop[i]] - total[cut]
        taker -= 1
    added = np.array(new, np.int64).reshape(-1, 5).T
    return np.concatenate([parts, added], axis=1)
