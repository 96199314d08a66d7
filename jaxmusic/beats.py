"""The beat grid of a piece: beats and bar lines of the music instead of the file's own.

Many files state no usable meter, or hold music that was played at a random offset from the file's
quarters. `align` puts a piece on a grid that its onsets fit, from labels where there are any, from
the file where its notes agree with it, and else from the notes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmusic import beat_tracking
from jaxmusic.notes import TICKS_PER_BEAT, Labels, Notes

_DEFAULT_QPM = 120.0
_SIXTEENTH = 0.25
_EARLY = 1 / 24
_OVERHANG = 1 / 8
_SLOWEST, _FASTEST = 25.0, 320.0
_CHANCE = 0.25


@dataclasses.dataclass(frozen=True)
class Fit:
    """How well a piece's onsets lie on its grid.

    Attributes:
      source: where the grid comes from: ``labels``, ``file`` or ``estimate``.
      error_ms: mean distance of all onsets from the nearest 12th of a beat, in milliseconds.
      file_error_ms: the same on the file's own quarters.
      error: the same as `error_ms`, as a share of a 12th of a beat (0 to 0.5); notes spread evenly
        over time have 0.25.
    """

    source: str
    error_ms: float
    file_error_ms: float
    error: float


@dataclasses.dataclass(frozen=True, eq=False)
class BeatLabels:
    """Known beats of a piece.

    Attributes:
      time: float64 [B], seconds from the start of the file, ascending, one for each beat.
      downbeat: bool [B], whether a bar starts there.
    """

    time: np.ndarray
    downbeat: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Grid:
    """A map from file ticks to beats, linear between anchors and beyond them, and the bar lines.

    Attributes:
      tick, beat: float64 [A] ascending, A >= 2: at this tick of the file lies this beat.
      bar: float64 [M] ascending: beats at which runs of equal bars start.
      meter: (numerator, denominator) of each run.
    """

    tick: np.ndarray
    beat: np.ndarray
    bar: np.ndarray
    meter: list[tuple[int, int]]

    def beats(self, ticks: np.ndarray) -> np.ndarray:
        """Beat coordinate of file ticks."""
        return _interpolate(ticks, self.tick, self.beat)


def align(notes: Notes, labels: BeatLabels | None = None) -> tuple[Notes, Fit]:
    """Puts a piece on the beats and bar lines of its music.

    The grid comes from `labels` if given; else from the file if the onsets agree with its quarters
    in period and phase (its bar lines only if its meter has more than one beat); else it is
    estimated: first the phase on the file's own tempo, then tempo and phase.

    Args:
      notes: a piece as read from a file, in the file's ticks.
      labels: known beats.

    Returns:
      The piece with `TICKS_PER_BEAT` ticks in each beat; tick 0 opens bar 1, in which the first
      onset lies; `end` closes the last bar that contains music. Onsets keep their precision, the
      tempo map gives the seconds from there on that the file's gave, and the labels' ticks move
      along. If no grid fits, the piece lies on the best one found and the fit says so.
    """
    notes = _sane_tempos(notes)
    x = notes.onset / notes.ticks_per_beat
    file_error = beat_tracking.grid_error(x)
    if labels is not None and len(labels.time) >= 2:
        grid, source = _labelled(notes, labels), "labels"
    elif not len(notes):
        grid, source = _from_file(notes), "file"
    else:
        grid, source = _choose(notes, x, file_error)
    aligned = _warp(notes, grid)
    error = beat_tracking.grid_error(aligned.onset / TICKS_PER_BEAT)
    fit = Fit(
        source=source,
        error_ms=_milliseconds(aligned),
        file_error_ms=_milliseconds(notes),
        error=error,
    )
    return aligned, fit


def _choose(notes: Notes, x: np.ndarray, file_error: float) -> tuple[_Grid, str]:
    phase, agree = beat_tracking.grid_phase(x)
    phased_error = beat_tracking.grid_error(x - phase)
    metric = bool(np.any(_stated(notes)))
    if metric and file_error <= phased_error + 0.02:
        return _from_file(notes), "file"
    return _phased(notes, x, phase), "estimate"


def _stated(notes: Notes) -> np.ndarray:
    """Bool [M]: meters with more than one beat."""
    return notes.meter_num > 1


def _phased(notes: Notes, x: np.ndarray, phase: float) -> _Grid:
    """The file's tempo with a phase and bar lines found in the notes."""
    unit = notes.ticks_per_beat
    shift = round(phase * unit) / unit
    downbeat, size = beat_tracking.downbeats(notes, x - shift)
    offset = downbeat[0]
    tick = np.array([0.0, unit]) + (shift + offset) * unit
    return _with_bars(tick, np.array([0.0, 1.0]), downbeat - offset, size)


def _labelled(notes: Notes, labels: BeatLabels) -> _Grid:
    time, index = np.unique(np.asarray(labels.time, np.float64), return_index=True)
    flags = np.asarray(labels.downbeat, bool)[index]
    beat = np.arange(len(time), dtype=np.float64)
    tick = _ticks_at(notes, time)
    if np.any(flags):
        downbeat = np.flatnonzero(flags).astype(np.float64)
        size = int(np.bincount(np.diff(downbeat).astype(int)).argmax()) if len(downbeat) > 1 else 4
    else:
        x = _interpolate(notes.onset, tick, beat)
        downbeat, size = beat_tracking.downbeats(notes, x)
    return _with_bars(tick, beat, downbeat, size)


def _with_bars(tick: np.ndarray, beat: np.ndarray, downbeat: np.ndarray, size: int) -> _Grid:
    """A grid whose bars start at `downbeat`; bars of `size` beats go on before and after."""
    length = np.append(np.rint(np.diff(downbeat)), size).astype(int)
    new = np.flatnonzero(np.append(True, np.diff(length) != 0))
    bar, meter = [float(b) for b in downbeat[new]], [(int(n), 4) for n in length[new]]
    if length[0] != size:  # bars before the first are of the usual size
        bar.insert(0, bar[0] - size)
        meter.insert(0, (size, 4))
    return _Grid(tick, beat, np.array(bar), meter)


def _from_file(notes: Notes) -> _Grid:
    """The file's own quarters and bars; a bar cut short by a change of meter becomes a bar."""
    unit = notes.ticks_per_beat
    tick, beat = [0.0], [0.0]
    bar: list[float] = []
    meter: list[tuple[int, int]] = []
    starts = notes.meter_tick.astype(float)
    at = 0.0
    for i, start in enumerate(starts):
        num, den = max(1, int(notes.meter_num[i])), max(1, int(notes.meter_den[i]))
        length = 4.0 * num / den
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
            meter.append(_meter_of(rest))
        elif not whole:  # too short for any bar: the next meter starts here
            bar.pop()
            meter.pop()
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
    return _Grid(np.array(tick), np.array(beat), np.array(bar), meter)


def _meter_of(sixteenths: int) -> tuple[int, int]:
    """The plainest meter with a bar of so many sixteenths."""
    for den in (4, 8):
        if sixteenths * den % 16 == 0:
            return sixteenths * den // 16, den
    return sixteenths, 16


def _warp(notes: Notes, grid: _Grid) -> Notes:
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
    stop = np.minimum(stop, end)
    tempo_tick, tempo_qpm = _tempo_map(notes, grid, end)
    lines = np.rint(grid.bar * TICKS_PER_BEAT).astype(np.int64)
    kept = np.flatnonzero((lines < max(end, 1)) & np.append(lines[1:] > lines[:-1], True))
    columns = [onset, stop - onset, notes.pitch, notes.velocity, notes.track]
    if len(onset) and np.any(onset[1:] == onset[:-1]):
        order = np.lexsort((columns[2], columns[4], columns[0]))
        columns = [c[order] for c in columns]
    return notes.replace(
        onset=columns[0].astype(np.int32),
        duration=columns[1].astype(np.int32),
        pitch=columns[2],
        velocity=columns[3],
        track=columns[4],
        tempo_tick=tempo_tick,
        tempo_qpm=tempo_qpm,
        meter_tick=lines[kept].astype(np.int32),
        meter_num=np.array([grid.meter[k][0] for k in kept], np.uint8),
        meter_den=np.array([grid.meter[k][1] for k in kept], np.uint8),
        end=int(end),
        ticks_per_beat=TICKS_PER_BEAT,
        labels=_warp_labels(notes.labels, ticks),
    )


def _starting_at(grid: _Grid, first: float) -> _Grid:
    """The grid moved so that beat 0 opens the bar that contains beat `first`."""
    first += _EARLY
    k = max(0, int(np.searchsorted(grid.bar, first, side="right")) - 1)
    num, den = grid.meter[k]
    length = 4.0 * num / den
    origin = grid.bar[k] + np.floor((first - grid.bar[k]) / length) * length
    bar = np.append(0.0, grid.bar[k + 1 :] - origin)
    return _Grid(grid.tick, grid.beat - origin, bar, grid.meter[k:])


def _without_early_onset(grid: _Grid, onset: float) -> _Grid:
    """Moves the first bar line onto a first onset that anticipates it by a little.

    Without this a piece whose first note is played a few milliseconds early would open with an
    empty bar. The first beat becomes longer by as much, so that seconds stay as they are.
    """
    if float(grid.beats(np.array([onset]))[0]) >= 0:
        return grid
    later = grid.beat >= 1.0
    one = float(_interpolate(np.array([1.0]), grid.beat, grid.tick)[0])
    two = float(_interpolate(np.array([2.0]), grid.beat, grid.tick)[0])
    tick = np.concatenate([[onset, one, two], grid.tick[later & (grid.tick > two)]])
    beat = np.concatenate([[0.0, 1.0, 2.0], grid.beat[later & (grid.tick > two)]])
    return _Grid(tick, beat, grid.bar, grid.meter)


def _end(grid: _Grid, onset: np.ndarray, stop: np.ndarray) -> int:
    """Tick that closes the last bar with music; a release just past a bar line opens no bar."""
    last = max(float(stop.max(initial=0)) / TICKS_PER_BEAT - _OVERHANG, 1e-6)
    last = max(last, (float(onset.max(initial=0)) + 1) / TICKS_PER_BEAT)
    k = max(0, int(np.searchsorted(grid.bar, last, side="left")) - 1)
    num, den = grid.meter[k]
    length = 4.0 * num / den
    end = grid.bar[k] + np.ceil((last - grid.bar[k]) / length - 1e-9) * length
    if k + 1 < len(grid.bar):
        end = min(end, grid.bar[k + 1])
    return int(np.rint(end * TICKS_PER_BEAT))


def _tempo_map(notes: Notes, grid: _Grid, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Tempo map on the new ticks that gives the file's seconds, anew from tick 0."""
    origin = _interpolate(np.zeros(1), grid.beat, grid.tick)
    source = np.union1d(np.concatenate([notes.tempo_tick, grid.tick]), origin)
    source = source[source >= origin[0]]
    tick = np.rint(grid.beats(source) * TICKS_PER_BEAT).astype(np.int64)
    distinct = np.append(True, np.diff(tick) > 0) & (tick < max(end, 1))
    tick = tick[distinct]
    # Seconds at the rounded ticks, one beat past the last for the slope there.
    points = np.append(tick, tick[-1] + TICKS_PER_BEAT) / TICKS_PER_BEAT
    seconds = _seconds_at(notes, _interpolate(points, grid.beat, grid.tick))
    qpm = np.round(60.0 * np.diff(points) / np.maximum(np.diff(seconds), 1e-9), 6)
    kept = np.append(True, qpm[1:] != qpm[:-1])
    return tick[kept].astype(np.int32), qpm[kept]


def _warp_labels(labels: Labels, ticks: object) -> Labels:
    fields: dict[str, np.ndarray] = {}
    for name in ("key", "chord", "section"):
        at = np.maximum(ticks(getattr(labels, f"{name}_tick")), 0)  # type: ignore[operator]
        kept = np.append(at[1:] > at[:-1], True)[: len(at)]  # of several at one tick the last
        fields[f"{name}_tick"] = at[kept].astype(np.int32)
        fields[name] = getattr(labels, name)[kept]
    return dataclasses.replace(labels, **fields)


def _milliseconds(notes: Notes) -> float:
    """Mean distance of onsets from the nearest 12th of a beat, in milliseconds."""
    if not len(notes):
        return 0.0
    step = notes.ticks_per_beat / beat_tracking.STEPS_PER_BEAT
    off = np.abs(notes.onset / step - np.rint(notes.onset / step)) * step
    k = np.clip(np.searchsorted(notes.tempo_tick, notes.onset, side="right") - 1, 0, None)
    return float((off * 60e3 / (notes.tempo_qpm[k] * notes.ticks_per_beat)).mean())


def _sane_tempos(notes: Notes) -> Notes:
    """Tempos that are no positive number play at 120, as where a file states none."""
    good = np.isfinite(notes.tempo_qpm) & (notes.tempo_qpm > 0)
    if good.all():
        return notes
    return notes.replace(tempo_qpm=np.where(good, notes.tempo_qpm, _DEFAULT_QPM))


def _interpolate(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Piecewise linear, going on with the outer slopes; x strictly ascending, two or more."""
    at = np.asarray(at, np.float64)
    if len(x) == 2:
        return y[0] + (at - x[0]) * ((y[1] - y[0]) / (x[1] - x[0]))
    k = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    return y[k] + (at - x[k]) * ((y[k + 1] - y[k]) / (x[k + 1] - x[k]))


def _seconds_at(notes: Notes, ticks: np.ndarray) -> np.ndarray:
    return np.asarray(notes.seconds(ticks), np.float64)


def _ticks_at(notes: Notes, seconds: np.ndarray) -> np.ndarray:
    """File ticks (not rounded) at seconds; the first tempo holds before time 0."""
    per_tick = 60.0 / (notes.tempo_qpm * notes.ticks_per_beat)
    starts = notes.seconds(notes.tempo_tick)
    k = np.clip(np.searchsorted(starts, seconds, side="right") - 1, 0, None)
    return notes.tempo_tick[k] + (seconds - starts[k]) / per_tick[k]
