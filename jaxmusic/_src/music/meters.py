"""Meters and tempos of the grid, and the bars of a piece on it."""

from __future__ import annotations

import numpy as np

from jaxmusic._src.music.notes import TICKS_PER_BEAT, Notes

METERS = (
    *((4, 4), (3, 4), (2, 4), (6, 8), (12, 8), (2, 2), (3, 2), (5, 4), (6, 4)),
    *((3, 8), (5, 8), (7, 8), (9, 8), (1, 4), (1, 8), (1, 16)),
)
"""Time signatures of bars; any other bar is divided into these."""

TEMPOS = 120.0 * 1.02 ** np.arange(-60, 37)
"""Tempos in quarter notes per minute: 36.6 to 245, each 2 % above the one before."""

METERS_BY_NAME = {meter: i for i, meter in enumerate(METERS)}


def bar_length(meter: int, steps_per_beat: int) -> int:
    """Returns the steps in a bar of METERS[meter]."""
    num, den = METERS[meter]
    return num * 4 * steps_per_beat // den


def divide(length: int, steps_per_beat: int, meter: int | None) -> list[tuple[int, int]]:
    """Divides a length into bars (steps, meter), longest first; one bar if its meter is known."""
    if meter is not None:
        return [(bar_length(meter, steps_per_beat), meter)]
    sixteenth = steps_per_beat // 4
    usual = [n * sixteenth for n in (16, 12, 8, 6, 4, 2, 1)]
    exact = {bar_length(m, steps_per_beat): m for m in reversed(range(len(METERS)))}
    parts = []
    while length >= sixteenth:
        steps = length if length in exact else next(n for n in usual if n <= length)
        parts.append((steps, exact[steps]))
        length -= steps
    return parts


def halves(line: np.ndarray) -> np.ndarray:
    """Returns starts of half bars (int [2 B]) for bar lines [B + 1] in any unit."""
    return np.stack([line[:-1], line[:-1] + np.diff(line) // 2], 1).ravel()


def bar_lines(notes: Notes, total: int, steps_per_beat: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns meters [B] and bar lines [B + 1], in steps, of bars that cover total steps."""
    sixteenth = steps_per_beat // 4
    scale = TICKS_PER_BEAT * 4 // 16
    # Bar lines lie on sixteenths, so that every bar is a sum of meters in the table.
    starts = [round(int(t) / scale) * sixteenth for t in notes.meter_tick]
    bars: list[tuple[int, int]] = []
    position = 0
    for start, following, (_, num, den) in zip(starts, [*starts[1:], total], notes.meters):
        last = following >= total
        stop = total if last else following
        if stop <= position:
            continue
        whole = max(4 * steps_per_beat * num // den, sixteenth)
        parts = divide(whole, steps_per_beat, METERS_BY_NAME.get((num, den)))
        length = sum(n for n, _ in parts)
        position = max(start, position)
        count = -(-(stop - position) // length) if last else (stop - position) // length
        rest = [] if last else divide(stop - position - count * length, steps_per_beat, None)
        bars += parts * count + rest
        position += count * length + sum(n for n, _ in rest)
    lengths, kinds = np.array(bars, np.int64).T
    return kinds.astype(np.int16), np.append(0, np.cumsum(lengths)).astype(np.int32)


def bars_of(notes: Notes) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Returns the first tick of each bar and the end [B + 1], and the meter of each bar [B]."""
    starts: list[int] = []
    meters: list[tuple[int, int]] = []
    end = max(notes.end, 1)
    for (start, num, den), stop in zip(notes.meters, [*notes.meter_tick[1:].tolist(), end]):
        length = max(1, num * 4 * notes.ticks_per_beat // den)
        starts += range(start, min(stop, end), length)
        meters += [(num, den)] * (len(starts) - len(meters))
    return np.array([*starts, end]), meters


def first_number(notes: Notes) -> int:
    """Returns the number of the first bar: 0 for the pick-up of a score, else 1.

    Sequencers count every bar of a MIDI file.
    """
    if len(notes.meter_tick) < 2 or (notes.details and not notes.details.score):
        return 1
    lengths = [4 * notes.ticks_per_beat * num // den for _, num, den in notes.meters[:2]]
    return int(not (notes.meter_tick[1] == lengths[0] < lengths[1]))
