"""Bars of a score: their lengths in ticks, and the meters that put lines there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxmusic._src.music.notes import TICKS_PER_BEAT

WHOLE = 4 * TICKS_PER_BEAT
"""Ticks of a whole note."""
_FINEST = 128  # denominator of the shortest bar that has a meter


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
