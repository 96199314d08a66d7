"""Beat grids: fit of onsets, phase, bar lines, and moving a piece onto a grid."""

from __future__ import annotations

import cmath
import dataclasses
import math

import numpy as np

from jaxmusic._src.music.notes import TICKS_PER_BEAT, Labels, Notes, make_notes

_SIXTEENTH = 0.25
_OVERHANG = 1 / 8
_SHORTEST_BAR, _LONGEST_BAR = 0.25, 32.0

STEPS_PER_BEAT = 12
"""Steps per beat of the grid for onsets: sixteenths and triplets."""

PULSES = (2, 3, 4, 6, 12)
"""Even subdivisions of the beat that music may follow."""
_WITHIN = np.arange(TICKS_PER_BEAT) / TICKS_PER_BEAT
_FROM_PULSE = {n: np.abs(n * _WITHIN - np.rint(n * _WITHIN)) for n in PULSES}

EARLY = 1 / 24
"""Beats by which a first onset may precede its bar line: half a step of the 12-step grid."""


def grid_error(x: np.ndarray) -> float:
    """Computes the mean distance of onsets from the nearest 12th of a beat, as a share of it."""
    if not len(x):
        return 0.0
    steps = np.asarray(x) * STEPS_PER_BEAT
    return float(np.abs(steps - np.rint(steps)).mean())


def pulse_error(onset: np.ndarray, pulses: tuple[int, ...] = PULSES) -> float:
    """Computes the mean distance of onsets from the best pulse, as a share (0 to 0.5).

    The least over n in `pulses` of mean(|n x - round(n x)|), for onsets x in beats: a piece whose
    sixteenths are played loosely has a pulse, though its onsets fill the 12 steps evenly.

    Args:
      onset: int [N], with `TICKS_PER_BEAT` ticks in a beat.
      pulses: steps per beat to try, of `PULSES`.
    """
    if not len(onset):
        return 0.0
    count = np.bincount(onset % TICKS_PER_BEAT, minlength=TICKS_PER_BEAT)
    return min(float(_FROM_PULSE[n] @ count) for n in pulses) / len(onset)


def grid_phase(x: np.ndarray) -> tuple[float, int, float]:
    """Finds where the subdivisions of the beat lie on a grid of known tempo.

    The phase of the onsets' Fourier sum at four and at six (or three) cycles a beat, refined by the
    median distance from the 12-step grid; the better fit of the two.

    Returns:
      Phase in beats, known up to 1 / subdivisions; subdivisions of the beat, 4 or 6; share of the
      onsets that agree on it (0 evenly spread, 1 all: the length of the mean vector).
    """
    if not len(x):
        return 0.0, 4, 1.0
    # Single precision is enough here: the medians below make the phase exact.
    angle = ((x - np.floor(x)) * (2 * np.pi)).astype(np.float32)
    wave = np.cos(angle) + np.complex64(1j) * np.sin(angle)
    third = wave * wave * wave
    waves = (np.square(np.square(wave)), third, np.square(third))
    steps = x * STEPS_PER_BEAT
    within = np.sort(steps - np.floor(steps))
    turns = np.concatenate([within - 1, within, within + 1])
    found: list[tuple[float, float, int, float]] = []
    for cycles, sub, wave in zip((4, 3, 6), (4, 6, 6), waves):
        mean = complex(wave.sum()) / len(x)
        phase = cmath.phase(mean) / (2 * np.pi * cycles)
        phase -= round(phase * sub) / sub
        for width in (0.5, 0.25):
            at = phase * STEPS_PER_BEAT % 1.0
            a = int(np.searchsorted(turns, at - width, side="right"))
            b = int(np.searchsorted(turns, at + width))
            if b > a:
                middle = (turns[(a + b - 1) // 2] + turns[(a + b) // 2]) / 2
                phase += float(middle - at) / STEPS_PER_BEAT
        share = abs(mean)
        rest = within - phase * STEPS_PER_BEAT
        error = float(np.abs(rest - np.rint(rest)).sum()) / len(x)
        found.append((error - 0.1 * share, phase, sub, share))
    return min(found)[1:]


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Bar lines, and a map from file ticks to beats, linear between anchors and beyond them.

    Attributes:
      tick, beat: float64 [A] ascending, A >= 2: ticks of the file and their beats.
      bar: float64 [M] ascending: beats at which runs of equal bars start.
      meter: (numerator, denominator) of each run.
    """

    tick: np.ndarray
    beat: np.ndarray
    bar: np.ndarray
    meter: list[tuple[int, int]]

    def beats(self, ticks: np.ndarray) -> np.ndarray:
        """Converts file ticks to beats."""
        return interpolate(ticks, self.tick, self.beat)


def with_bars(tick: np.ndarray, beat: np.ndarray, downbeat: np.ndarray, size: int) -> Grid:
    """Makes a grid with bars at `downbeat`, extended by bars of `size` beats on both sides.

    A gap of several bars is filled with bars of the usual size, the last one shorter if needed.
    """
    for k in np.flatnonzero(downbeat[1:] - downbeat[:-1] >= 2 * size)[::-1]:
        downbeat = np.insert(downbeat, k + 1, np.arange(downbeat[k] + size, downbeat[k + 1], size))
    length = np.append(np.rint(downbeat[1:] - downbeat[:-1]), size).astype(int)
    new = np.append(0, np.flatnonzero(length[1:] != length[:-1]) + 1)
    bar, meter = [float(b) for b in downbeat[new]], [(int(n), 4) for n in length[new]]
    if length[0] != size:  # bars before the first are of the usual size
        bar.insert(0, bar[0] - size)
        meter.insert(0, (size, 4))
    return Grid(tick, beat, np.array(bar), meter)


def from_file(notes: Notes) -> Grid:
    """Returns the file's own quarters and bars; a bar cut short by a change of meter is a bar."""
    unit = notes.ticks_per_beat
    tick, beat = [0.0], [0.0]
    bar: list[float] = []
    meter: list[tuple[int, int]] = []
    starts = notes.meter_tick.astype(float)
    at = 0.0
    for i, start in enumerate(starts):
        num, den = int(notes.meter_num[i]), int(notes.meter_den[i])
        length = 4.0 * num / den
        if not _SHORTEST_BAR <= length <= _LONGEST_BAR:  # no music is barred like this
            num, den, length = 4, 4, 4.0
        bar.append(at)
        meter.append((num, den))
        if i + 1 == len(starts):
            break
        span = (starts[i + 1] - start) / unit
        whole = int(span / length + 1e-6)
        rest = round((span - whole * length) / _SIXTEENTH)
        if rest:
            if whole:
                bar.append(at + whole * length)
            else:
                meter.pop()
            unit_of_rest = max(4, 16 // math.gcd(rest, 16))
            meter.append((rest * unit_of_rest // 16, unit_of_rest))
        elif not whole:  # too short for any bar: the next meter starts here
            bar.pop()
            meter.pop()
            starts[i + 1] = start
        step = whole * length + rest * _SIXTEENTH
        at += step
        if abs(step - span) > 1e-6 and step:
            # The cut bar is stretched to whole sixteenths, so that later bars keep their place.
            last = start if not rest or not whole else start + whole * length * unit
            if last > tick[-1]:
                tick.append(last)
                beat.append(at - (rest * _SIXTEENTH if rest and whole else step))
            tick.append(starts[i + 1])
            beat.append(at)
    tick.append(tick[-1] + unit)
    beat.append(beat[-1] + 1.0)
    return Grid(np.array(tick), np.array(beat), np.array(bar), meter)


def warp(notes: Notes, grid: Grid) -> Notes:
    """Moves a piece onto a grid whose tick 0 is the bar line before the first onset."""
    first = float(grid.beats(notes.onset[:1])[0]) if len(notes) else 0.0
    grid = _starting_at(grid, first)
    if len(notes):
        grid = _without_early_onset(grid, float(notes.onset[0]))

    def ticks(at: np.ndarray) -> np.ndarray:
        return np.rint(grid.beats(at) * TICKS_PER_BEAT).astype(np.int64)

    onset = np.maximum(ticks(notes.onset), 0)
    stop = np.maximum(ticks(notes.onset + notes.duration.astype(np.int64)), onset + 1)
    end = _end(grid, onset, stop)
    lines = np.rint(grid.bar * TICKS_PER_BEAT).astype(int).tolist()
    labels = notes.labels
    moved = {
        name: zip(np.maximum(ticks(getattr(labels, f"{name}_tick")), 0), getattr(labels, name))
        for name in labels.timelines()
        if len(getattr(labels, name))
    }
    timed = Labels.of_changes(moved, styles=labels.styles, song=labels.song)
    details = notes.details
    return make_notes(
        onset,
        np.minimum(stop, end) - onset,
        notes.pitch,
        notes.velocity,
        notes.track,
        program=notes.program,
        drum=notes.drum,
        tempos=_tempos(notes, grid, end),
        meters=[(at, *meter) for at, meter in zip(lines, grid.meter) if at < max(end, 1)],
        end=end,
        labels=dataclasses.replace(timed, role=labels.role),
    ).replace(details=details and details.moved(np.maximum(ticks(details.tick), 0)))


def _starting_at(grid: Grid, first: float) -> Grid:
    """Moves a grid so that beat 0 opens the bar that contains beat `first`."""
    first += EARLY
    k = max(0, int(np.searchsorted(grid.bar, first, side="right")) - 1)
    num, den = grid.meter[k]
    length = 4.0 * num / den
    origin = grid.bar[k] + np.floor((first - grid.bar[k]) / length) * length
    bar = np.append(0.0, grid.bar[k + 1 :] - origin)
    return Grid(grid.tick, grid.beat - origin, bar, grid.meter[k:])


def _without_early_onset(grid: Grid, onset: float) -> Grid:
    """Moves the first bar line onto a first onset slightly before it.

    Without this a piece whose first note is played a few milliseconds early would open with an
    empty bar. The first beat becomes longer by as much, so that seconds stay as they are.
    """
    if float(grid.beats(np.array([onset]))[0]) >= 0:
        return grid
    one, two = interpolate(np.array([1.0, 2.0]), grid.beat, grid.tick)
    later = (grid.beat >= 1.0) & (grid.tick > two)
    tick = np.append([onset, one, two], grid.tick[later])
    beat = np.append([0.0, 1.0, 2.0], grid.beat[later])
    return Grid(tick, beat, grid.bar, grid.meter)


def _end(grid: Grid, onset: np.ndarray, stop: np.ndarray) -> int:
    """Returns the end of the last bar with music; a release just past a bar line opens no bar."""
    if not len(onset):
        return 0
    last = max(float(stop.max()) / TICKS_PER_BEAT - _OVERHANG, 1e-6)
    last = max(last, (float(onset.max()) + 1) / TICKS_PER_BEAT)
    k = max(0, int(np.searchsorted(grid.bar, last, side="left")) - 1)
    num, den = grid.meter[k]
    length = 4.0 * num / den
    end = grid.bar[k] + np.ceil((last - grid.bar[k]) / length - 1e-9) * length
    if k + 1 < len(grid.bar):
        end = min(end, grid.bar[k + 1])
    return int(np.rint(end * TICKS_PER_BEAT))


def _tempos(notes: Notes, grid: Grid, end: int) -> list[tuple[int, float]]:
    """Returns the tempos on the new ticks, from tick 0, that give the file's seconds."""
    if len(notes.tempo_qpm) == 1 and len(grid.tick) == 2:
        stretch = (grid.beat[1] - grid.beat[0]) / (grid.tick[1] - grid.tick[0])
        qpm = notes.tempo_qpm * (stretch * notes.ticks_per_beat)
        return [(0, float(np.round(qpm, 6)[0]))]
    origin = interpolate(np.zeros(1), grid.beat, grid.tick)
    source = np.sort(np.concatenate([notes.tempo_tick, grid.tick, origin]))
    source = source[np.searchsorted(source, origin[0]) :]
    tick = np.rint(grid.beats(source) * TICKS_PER_BEAT).astype(np.int64)
    distinct = np.append(True, tick[1:] > tick[:-1]) & (tick < max(end, 1))
    tick = tick[distinct]
    # Seconds at the rounded ticks, so that rounding does not add up.
    points = np.append(tick, max(end, tick[-1] + 1)) / TICKS_PER_BEAT
    seconds = notes.seconds(interpolate(points, grid.beat, grid.tick))
    qpm = np.round(60.0 * np.diff(points) / np.maximum(np.diff(seconds), 1e-9), 6)
    kept = np.append(True, qpm[1:] != qpm[:-1])
    return list(zip(tick[kept].tolist(), qpm[kept].tolist()))


def interpolate(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolates linearly, with the outer slopes beyond; x strictly ascending, two or more."""
    at = np.asarray(at, np.float64)
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    return y[k] + (at - x[k]) * ((y[k + 1] - y[k]) / (x[k + 1] - x[k]))


def ticks_at(notes: Notes, seconds: np.ndarray) -> np.ndarray:
    """Converts seconds to file ticks (not rounded); the first tempo holds before time 0."""
    per_tick = 60.0 / (notes.tempo_qpm * notes.ticks_per_beat)
    starts = notes.seconds(notes.tempo_tick)
    k = np.clip(np.searchsorted(starts, seconds, side="right") - 1, 0, None)
    return notes.tempo_tick[k] + (seconds - starts[k]) / per_tick[k]
