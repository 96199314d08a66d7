"""The bars and tempos that a grid can have."""

from __future__ import annotations

import numpy as np

METERS = (
    *((4, 4), (3, 4), (2, 4), (6, 8), (12, 8), (2, 2), (3, 2), (5, 4), (6, 4)),
    *((3, 8), (5, 8), (7, 8), (9, 8), (1, 4), (1, 8), (1, 16)),
)
"""Time signatures that a bar can have; any other bar is divided into bars that are here."""

TEMPOS = 120.0 * 1.02 ** np.arange(-60, 37)
"""Tempos in quarter notes per minute: 36.6 to 245, each 2 % above the one before."""

METERS_BY_NAME = {meter: i for i, meter in enumerate(METERS)}


def bar_length(meter: int, steps_per_beat: int) -> int:
    """Steps in a bar of METERS[meter]."""
    num, den = METERS[meter]
    return num * 4 * steps_per_beat // den


def divide(length: int, steps_per_beat: int, meter: int | None) -> list[tuple[int, int]]:
    """(steps, meter) of bars that make up length, longest first; one bar if meter is known."""
    if meter is not None:
        return [(bar_length(meter, steps_per_beat), meter)]
    quarters = (
        METERS_BY_NAME[m] for m in ((4, 4), (3, 4), (2, 4), (3, 8), (1, 4), (1, 8), (1, 16))
    )
    table = [(bar_length(m, steps_per_beat), m) for m in quarters]
    exact = {bar_length(m, steps_per_beat): m for m in reversed(range(len(METERS)))}
    parts = []
    while length >= table[-1][0]:
        steps, m = (
            (length, exact[length])
            if length in exact
            else next((n, m) for n, m in table if n <= length)
        )
        parts.append((steps, m))
        length -= steps
    return parts
