"""N-gram language model with interpolated modified Kneser-Ney smoothing, in NumPy.

The smoothing is that of Chen and Goodman, "An Empirical Study of Smoothing Techniques for
Language Modeling" (1998): every order has three discounts, estimated from its counts of counts,
and all but the highest order count the distinct symbols an n-gram follows instead of how often
it occurs. Nothing precedes the start of a sequence, so n-grams that begin there keep their plain
counts at every order.

An n-gram is numbered by the pair (number of the n-gram without its last symbol, last symbol), so
a table of any order is one sorted array of 64-bit keys, exact and without hashing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

UNESTIMATED = (0.5, 1.0, 1.5)
"""Discounts of an order whose counts of counts hold a zero, which leaves the estimate undefined."""


@dataclasses.dataclass(frozen=True)
class Table:
    """The n-grams of one order.

    Attributes:
      keys: uint64 [G], ascending: number of the context in the order below * symbols + symbol.
      plain: int32 [G], how often each n-gram occurs.
      distinct: int32 [G], how many distinct symbols precede it; `plain` where it starts a sequence.
    """

    keys: np.ndarray
    plain: np.ndarray
    distinct: np.ndarray


def count(sequences: Sequence[np.ndarray], vocab_size: int, order: int) -> list[Table]:
    """Counts the n-grams of orders 1 to `order`.

    Args:
      sequences: tokens of each piece, integers in [0, vocab_size).
      vocab_size: V; the start of a sequence is symbol V, which is never predicted.
      order: highest order, at least 1.
    """
    symbols, place = _join(sequences, vocab_size)
    if not (place > 0).any():
        raise ValueError("there is no token to count")
    radix = np.uint64(vocab_size + 1)
    plain = np.bincount(symbols[place > 0], minlength=vocab_size + 1).astype(np.int32)
    tables = [Table(np.arange(vocab_size + 1, dtype=np.uint64), plain, np.zeros_like(plain))]
    number = symbols  # of the (k-1)-gram that ends at each position
    for k in range(2, order + 1):
        at = np.flatnonzero(place >= k - 1)
        pairs = number[at - 1].astype(np.uint64) * radix + symbols[at].astype(np.uint64)
        keys, first, inverse, plain = np.unique(
            pairs, return_index=True, return_inverse=True, return_counts=True
        )
        below, suffix = tables[-1], number[at[first]]
        distinct = np.bincount(suffix, minlength=len(below.keys))
        # N-grams that start a sequence have their counts already, and are no n-gram's suffix.
        tables[-1] = dataclasses.replace(below, distinct=below.distinct + distinct.astype(np.int32))
        starts = place[at[first]] == k - 1
        plain = plain.astype(np.int32)
        tables.append(Table(keys, plain, np.where(starts, plain, 0)))
        number = np.zeros(len(symbols), np.int32)
        number[at] = inverse
    return tables


def estimate_discounts(counts: np.ndarray) -> np.ndarray:
    """Estimates discounts of n-grams counted once, twice and more (Chen and Goodman, equation 26).

    Args:
      counts: [G], counts as the order uses them.

    Returns:
      float64 [3], each in [0, 1], [0, 2], [0, 3]; `UNESTIMATED` where the formula is undefined.
    """
    n = [float(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4)]
    if min(n) == 0:
        return np.array(UNESTIMATED)
    y = n[0] / (n[0] + 2 * n[1])
    raw = [c - (c + 1) * y * n[c] / n[c - 1] for c in (1, 2, 3)]
    return np.clip(raw, 0.0, (1.0, 2.0, 3.0))


@dataclasses.dataclass(frozen=True)
class Order:
    """One order of a model.

    Attributes:
      keys: uint64 [G], as in `Table`.
      counts: int32 [G], as this order uses them: plain at the top, distinct below.
      context: int32 [4, C], for every n-gram of the order below as context: the sum of the counts
        that follow it, and how many symbols follow it once, twice, and more often.
    """

    keys: np.ndarray
    counts: np.ndarray
    context: np.ndarray


@dataclasses.dataclass(frozen=True)
class Model:
    """An interpolated n-gram model.

    Attributes:
      vocab_size: V, the number of tokens.
      orders: orders 1 to n.
      discounts: float64 [n, 3], see `estimate_discounts`.
    """

    vocab_size: int
    orders: tuple[Order, ...]
    discounts: np.ndarray

    def log_prob(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Computes the natural log-probability of each token given those before it.

        Args:
          sequences: tokens of each piece, integers in [0, vocab_size).

        Returns:
          float64 arrays of the same lengths.
        """
        if not sequences:
            return []
        symbols, place = _join(sequences, self.vocab_size)
        radix = np.uint64(self.vocab_size + 1)
        p = np.full(len(symbols), 1.0 / self.vocab_size)
        number = np.zeros(len(symbols), np.int64)  # of the (k-1)-gram that ends there, or -1
        for k, (order, discounts) in enumerate(zip(self.orders, self.discounts), start=1):
            before = np.concatenate([[-1], number[:-1]]) if k > 1 else number
            known = (before >= 0) & (place >= k - 1)
            context = np.where(known, before, 0)
            keys = context.astype(np.uint64) * radix + symbols.astype(np.uint64)
            found = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            seen = known & (order.keys[found] == keys)
            number = np.where(seen, found, -1)
            counts = np.where(seen, order.counts[found], 0)
            total, *others = np.where(known, order.context[:, context], 0)
            taken = np.concatenate([[0.0], discounts])[np.minimum(counts, 3)]
            kept = sum(d * n for d, n in zip(discounts, others))
            p = np.where(total > 0, ((counts - taken) + kept * p) / np.maximum(total, 1), p)
        logs = np.log(p[place > 0])
        return np.split(logs, np.cumsum([len(s) for s in sequences])[:-1])


def build(tables: list[Table], vocab_size: int, order: int) -> Model:
    """Builds a model of an order from tables of at least that order."""
    radix = np.uint64(vocab_size + 1)
    orders = []
    for k, table in enumerate(tables[:order], start=1):
        counts = table.plain if k == order else table.distinct
        if k == 1:
            counts = np.where(np.arange(vocab_size + 1) < vocab_size, counts, 0).astype(np.int32)
        contexts = len(tables[k - 2].keys) if k > 1 else 1
        of = (table.keys // radix).astype(np.int64) if k > 1 else np.zeros(len(counts), np.int64)
        kinds = (counts, counts == 1, counts == 2, counts >= 3)
        context = np.stack([np.bincount(of, weights=w, minlength=contexts) for w in kinds])
        orders.append(Order(table.keys, counts, context.astype(np.int32)))
    discounts = np.stack([estimate_discounts(o.counts) for o in orders])
    return Model(vocab_size, tuple(orders), discounts)


def _join(sequences: Sequence[np.ndarray], vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Joins sequences, each opened by symbol V; also returns places in each sequence."""
    for s in sequences:
        if len(s) and (s.min() < 0 or s.max() >= vocab_size):
            raise ValueError(f"tokens must be in [0, {vocab_size})")
    parts = [np.concatenate([[vocab_size], s]).astype(np.int32) for s in sequences]
    places = [np.arange(len(p), dtype=np.int32) for p in parts]
    empty = np.zeros(0, np.int32)
    return np.concatenate([empty, *parts]), np.concatenate([empty, *places])
