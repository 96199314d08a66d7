"""Bars of a score: the order in which they are played, and the meters that put lines there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from jaxmusic.core.errors import UserError
from jaxmusic.music.notes import TICKS_PER_BEAT

WHOLE = 4 * TICKS_PER_BEAT
"""Ticks of a whole note."""
_MOST_BARS = 20_000
_FINEST = 128  # denominator of the shortest bar that has a meter


@dataclasses.dataclass
class Signs:
    """What stands at one bar's lines and above it and says where to play on.

    Attributes:
      forward: a repeat begins with this bar.
      backward: how many times a repeat that ends with this bar is played; 0 for no repeat.
      ending: numbers of the ending (the bracket) that this bar belongs to.
      opens: whether that ending begins here.
      segno, coda: names of the marks here.
      jump: mark to go on from after this bar, ``""`` for the beginning.
      to_coda: coda to leave for after this bar, once a jump was made.
      fine: the piece ends after this bar, once a jump was made.
    """

    forward: bool = False
    backward: int = 0
    ending: frozenset[int] = frozenset()
    opens: bool = False
    segno: str | None = None
    coda: str | None = None
    jump: str | None = None
    to_coda: str | None = None
    fine: bool = False


def play_order(signs: Sequence[Signs]) -> list[int]:
    """Numbers of the bars [B], from 0, in the order in which they are played.

    Repeats are played as often as they say, each time with the ending of that number. After a
    jump (da capo, dal segno) repeats are not played again and the last ending is taken; each jump
    is made once.

    Raises:
      UserError: the repeats go on for more than 20,000 bars.
    """
    out: list[int] = []
    made: set[int] = set()
    groups, passes = _endings(signs)
    bar, begin, turn = 0, 0, 1
    while bar < len(signs):
        if len(out) > _MOST_BARS:
            raise UserError("repeats for more than 20,000 bars: take some repeats out.")
        here = signs[bar]
        left = bar > 0 and groups[bar - 1] > 0 and groups[bar] != groups[bar - 1]
        if bar != begin and (here.forward or left):
            begin, turn = bar, 1
        if groups[bar] and (passes[bar] if made else turn) not in here.ending:
            bar += 1
            continue
        out.append(bar)
        if made and here.fine:
            break
        if made and here.to_coda is not None and (to := _find(signs, "coda", here.to_coda)) > bar:
            bar = begin = to
            continue
        if here.backward and not made and turn < (passes[bar] or here.backward):
            turn += 1
            bar = begin
            continue
        if here.jump is not None and bar not in made:
            to = 0 if here.jump == "" else _find(signs, "segno", here.jump)
            if 0 <= to <= bar:
                made.add(bar)
                bar = begin = to
                continue
        bar += 1
        if here.backward and not groups[bar - 1]:
            begin, turn = bar, 1
    return out


def _endings(signs: Sequence[Signs]) -> tuple[list[int], list[int]]:
    """For each bar the run of endings that it is in, from 1, and how often one comes to it.

    Both are 0 for a bar that is in no ending, and where nothing leads back, so that all is played
    once. A lone first ending with a repeat is followed by a second one that has no bracket.
    """
    group, passes = [0] * len(signs), [0] * len(signs)
    bar, count = 0, 0
    while bar < len(signs):
        stop, numbers = bar, frozenset[int]()
        while stop < len(signs) and signs[stop].ending:
            # The same number once more belongs to the next repeat.
            if signs[stop].opens and signs[stop].ending & numbers:
                break
            numbers |= signs[stop].ending
            stop += 1
        back = any(s.backward or s.jump is not None for s in signs[bar:stop])
        if back:
            count += 1
            lone = signs[stop - 1].backward and signs[bar].ending == numbers
            for i in range(bar, stop):
                group[i], passes[i] = count, max(numbers) + bool(lone)
        bar = max(stop, bar + 1)
    return group, passes


def _find(signs: Sequence[Signs], kind: str, name: str) -> int:
    """The bar with the mark of this name, else with any; -1 where there is none."""
    have = [(i, mark) for i, s in enumerate(signs) if (mark := getattr(s, kind)) is not None]
    named = [i for i, mark in have if mark == name]
    return next(iter(named or [i for i, _ in have]), -1)


def meters_of(bars: Sequence[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    """(tick, numerator, denominator) of the meters that put a line where each bar begins.

    A first bar that is too short is a pick-up: it gets a meter of its own length. Short bars that
    make up a whole one, as on both sides of a repeat, are one bar. A last bar that is too
    short ends with the piece. Any other bar whose length is not its meter's gets a meter of its
    own, or where none can be written, the next bar states its meter again.

    Args:
      bars: length in ticks and time signature (numerator, denominator) of each bar.
    """
    out: list[tuple[int, int, int]] = []
    tick, in_force = 0, (0, 0)
    number = 0
    while number < len(bars):
        length, num, den = bars[number]
        whole = WHOLE * num // den
        if number > 0 and (parts := _whole_of(bars, number)):
            length = whole
            number += parts - 1
        last = number + 1 == len(bars)
        exact = length == whole or (last and length < whole)
        own = (num, den) if exact else meter_of(length, den)
        if own != in_force:
            out.append((tick, *(own or (num, den))))
        in_force = own or (0, 0)
        tick += length
        number += 1
    return tuple(out)


def _whole_of(bars: Sequence[tuple[int, int, int]], first: int) -> int:
    """How many short bars from one on make up a whole bar; 0 if they do not."""
    _, num, den = bars[first]
    whole, total, number = WHOLE * num // den, 0, first
    while number < len(bars) and bars[number][1:] == (num, den) and bars[number][0] < whole:
        total += bars[number][0]
        number += 1
        if total >= whole:
            break
    return number - first if total == whole else 0


def meter_of(length: int, den: int) -> tuple[int, int] | None:
    """Returns a time signature in units of `den` or smaller for a bar of `ticks`."""
    while den <= _FINEST:
        if length * den % WHOLE == 0 and length * den // WHOLE < 256:
            return length * den // WHOLE, den
        den *= 2
    return None


def to_ticks(quarters: float) -> int:
    """The nearest tick to a time in quarter notes."""
    return math.floor(quarters * TICKS_PER_BEAT + 0.5)
