"""Mixtures: several datasets in one stream of rows, each with its share, exact at any step."""

from __future__ import annotations

import fractions
import functools
import math
from typing import NamedTuple

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.augmentation import generator

MOST = 4096
"""Rows in the longest block."""
_ITEM = -3


class Member(NamedTuple):
    """A dataset of a mixture: its name, perhaps with a version, and its weight."""

    dataset: str
    weight: fractions.Fraction


def parse(text: str) -> list[Member]:
    """Reads what `config.Data.dataset` says: a name, or several with weights.

    ``pop909=3 lakh_full:1.0.0=1`` takes three rows of pop909 for each row of lakh_full. A weight
    that is left out is 1.

    Raises:
      UserError: it makes no sense.
    """
    members = []
    for word in text.split():
        dataset, equals, weight = word.partition("=")
        try:
            share = fractions.Fraction(weight) if equals else fractions.Fraction(1)
        except (ValueError, ZeroDivisionError):
            share = fractions.Fraction(0)
        if share <= 0:
            raise UserError(
                f"Give {dataset} a weight above 0, as in {dataset}=2, instead of {weight!r}."
            )
        members.append(Member(dataset, share))
    if not members:
        raise UserError("Name a prepared dataset, or several with weights, as in pop=3 folk=1.")
    if twice := {m.dataset for m in members if [n.dataset for n in members].count(m.dataset) > 1}:
        raise UserError(f"Name {min(twice)} once: its weight says how much of it there is.")
    return members


def join(members: list[Member]) -> str:
    """Members as `parse` reads them; a single one needs no weight."""
    if len(members) == 1:
        return members[0].dataset
    return " ".join(f"{m.dataset}={m.weight}" for m in members)


def block(members: list[Member]) -> np.ndarray:
    """Returns the number of rows of each member [M] in a block.

    They are the weights in whole numbers, or where these add up to more than `MOST` the nearest
    shares of `MOST` by largest remainder (Hamilton's method).
    """
    weights = [m.weight for m in members]
    scale = math.lcm(*(w.denominator for w in weights))
    whole = [int(w * scale) for w in weights]
    divisor = math.gcd(*whole)
    counts = [w // divisor for w in whole]
    if (total := sum(counts)) > MOST:
        exact = [fractions.Fraction(c * MOST, total) for c in counts]
        counts = [math.floor(e) for e in exact]
        order = sorted(range(len(counts)), key=lambda i: counts[i] - exact[i])
        for i in order[: MOST - sum(counts)]:
            counts[i] += 1
    if 0 in counts:
        small = members[counts.index(0)].dataset
        raise UserError(f"Give {small} a larger weight: not one row in {MOST} would be from it.")
    return np.array(counts, np.int64)


class Mixture:
    """Which member the rows of an endless stream are from.

    The stream is blocks in which each member has its rows, in an order drawn for every block.
    So row g's member and its number among the rows of that member follow from g and the seed.
    """

    def __init__(self, counts: np.ndarray, seed: int):
        """Takes the rows of each member in a block [M]."""
        self.counts = counts
        self._seed = seed
        self._members = np.repeat(np.arange(len(counts)), counts)
        self._block = functools.lru_cache(1)(self._drawn)

    def row(self, g: int) -> tuple[int, int]:
        """Returns the member of row g, and the row's index among those of that member."""
        if len(self.counts) == 1:
            return 0, g
        number, j = divmod(g, len(self._members))
        member, rank = self._block(number)
        m = int(member[j])
        return m, number * int(self.counts[m]) + int(rank[j])

    def _drawn(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the member of each row of a block, and its rank among the member's rows there."""
        rng = generator(self._seed, number, _ITEM)
        member = self._members[rng.permutation(len(self._members))]
        rank = np.empty(len(member), np.int64)
        for m, count in enumerate(self.counts):
            rank[member == m] = np.arange(count)
        return member, rank
