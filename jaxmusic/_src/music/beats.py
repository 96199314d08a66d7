"""The beat grid of a piece: beats and bar lines of the music instead of the file's own.

Many files state no usable meter, or hold music that was played at a random offset from the file's
quarters. `align` puts a piece on a grid that fits its onsets: from labels if there are any, from
the file if the notes agree with it, else from the notes.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music import beat_tracking
from jaxmusic._src.music.beat_grid import (
    EARLY,
    PULSES,
    STEPS_PER_BEAT,
    Grid,
    from_file,
    grid_error,
    grid_phase,
    interpolate,
    pulse_error,
    ticks_at,
    warp,
    with_bars,
)
from jaxmusic._src.music.notes import Notes

_CLOSEST = 0.02  # seconds between two labelled beats

# The file is trusted if its quarters are as long as beats may be (quarter notes a minute), and
# another phase would lower the error by no more than this share of a 12th of a beat.
_SLOWEST, _FASTEST = 15.0, 320.0
_LEAST_GAIN = 0.02
# Evidence for other beats that overrides a stated meter. Of 1,260 files of Mutopia,
# Nottingham, Freedoom and piano-midi.de whose onsets lie on the grid to the tick, one has more than
# the second.
_DOUBT, _DOUBT_IF_EXACT = 0.6, 1.7

# Where fewer onsets agree with the file's tempo, another tempo is tried, and taken if
# this share more agree with it; where many agree, their phase is no coincidence.
_LEAST_SHARE, _LEAST_SHARE_GAIN, _CLEAR_SHARE = 0.3, 0.1, 0.5
_SHORTEST, _LONGEST = 4.0, 14_400.0  # seconds in which a tempo can be sought
_FEWEST, _MOST_BEATS = 16, 50_000  # notes, and beats of the file, to estimate anything from
_FEWEST_TO_COMPARE = 64  # notes whose fit to a pulse is not chance
_FEWEST_PER_SECOND = 1.5  # onsets that a drifting tempo cannot fit by chance


@dataclasses.dataclass(frozen=True)
class Fit:
    """Fit of a piece's onsets to its grid.

    Attributes:
      source: where the grid comes from: ``labels``, ``file`` or ``estimate``.
      error_ms: mean distance of all onsets from the nearest 12th of a beat, in milliseconds.
      file_error_ms: the same on the file's own quarters.
      error: mean distance of all onsets from the nearest step of the even subdivision of the beat
        (2, 3, 4, 6 or 12 steps) that fits them best, as a share of that step (0 to 0.5); notes
        spread evenly over time have 0.25. Only the 12th is used where a pulse says nothing: in
        pieces of fewer than 64 notes, and where the tempo follows the notes.
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
      tempo map gives the seconds from there on that the file's gave, and the ticks of labels and
      details move along. If no grid fits, the piece lies on the best one found and the fit says so.

    Raises:
      UserError: the labels are not beats: fewer than two, not ascending, or flags missing.
    """
    followed = False
    if labels is not None:
        grid, source = _labelled(notes, labels), "labels"
    elif not len(notes):
        grid, source = from_file(notes), "file"
    else:
        grid, source, followed = _choose(notes, notes.onset / notes.ticks_per_beat)
    aligned = warp(notes, grid)
    # Few notes fit some pulse by chance, and a tempo that follows the notes puts any notes
    # on sixteenths.
    unsure = followed or len(notes) < _FEWEST_TO_COMPARE
    fit = Fit(
        source=source,
        error_ms=_milliseconds(aligned),
        file_error_ms=_milliseconds(notes),
        error=pulse_error(aligned.onset, (STEPS_PER_BEAT,) if unsure else PULSES),
    )
    return aligned, fit


def offset(notes: Notes, aligned: Notes) -> float:
    """Returns the seconds in a piece at which it begins when it is aligned.

    They are negative where the bar of the first note begins before the piece does.
    """
    return float(np.median(notes.seconds(notes.onset) - aligned.seconds(aligned.onset)))


def _choose(notes: Notes, x: np.ndarray) -> tuple[Grid, str, bool]:
    """Returns the file's grid if the notes agree with it, else the best estimate.

    Returns:
      The grid, its source, and whether its tempo follows the notes instead of the file.
    """
    if x[-1] - x[0] > _MOST_BEATS:
        return from_file(notes), "file", False
    phase, subdivisions, share = grid_phase(x)
    if len(notes) < _FEWEST:  # too few to tell
        phase, subdivisions, share = 0.0, 1, 1.0
    gain = grid_error(x) - grid_error(x - phase)
    qpm = notes.tempo_qpm
    usual = _most(notes, notes.tempo_tick, (qpm >= _SLOWEST) & (qpm <= _FASTEST))
    if not usual or share < _LEAST_SHARE:
        free = _followed(notes, share if usual else 0.0)
        if free is not None:
            return free, "estimate", True
    if gain <= _LEAST_GAIN and share < _CLEAR_SHARE:
        phase = 0.0
    states_meter = _most(notes, notes.meter_tick, notes.meter_num > 1)
    if not (usual and states_meter) or abs(phase) >= EARLY:
        return _phased(notes, x, phase, subdivisions), "estimate", False
    # Within the resolution of the file the phase is right: chance hits it less often than notes
    # accent other steps than their beats.
    exact = abs(phase) * notes.ticks_per_beat < 0.5
    doubt = _DOUBT_IF_EXACT if exact else _DOUBT
    # Quarters have accents where the file's meters count quarters or halves.
    compete = subdivisions > 1 and bool(np.all(notes.meter_den <= 4))
    if compete and beat_tracking.doubt(notes, x - phase, subdivisions) > doubt:
        return _phased(notes, x, phase, subdivisions), "estimate", False
    grid = from_file(notes)
    if gain <= _LEAST_GAIN:
        return grid, "file", False
    # Always played a little early or late: the file's beats and bars, shifted.
    moved = dataclasses.replace(grid, tick=grid.tick + phase * notes.ticks_per_beat)
    return moved, "estimate", False


def _followed(notes: Notes, share: float) -> Grid | None:
    """Returns a grid of free tempo, or None if onsets agree on it hardly better than `share`."""
    seconds = notes.seconds(notes.onset[[0, -1]])
    if not _SHORTEST <= seconds[1] - seconds[0] <= _LONGEST:
        return None
    time, beat, bars, found = beat_tracking.follow_beats(notes)
    places = len(np.unique(notes.onset))
    sparse = len(time) > 2 and places < _FEWEST_PER_SECOND * (seconds[1] - seconds[0])
    if found < share + _LEAST_SHARE_GAIN or sparse:
        return None
    whole = np.arange(np.floor(beat[0]), np.ceil(beat[-1]) + 1) + bars.downbeat[0] % 1.0
    tick = ticks_at(notes, interpolate(whole, beat, time))
    return with_bars(tick, whole - bars.downbeat[0], bars.downbeat - bars.downbeat[0], bars.size)


def _most(notes: Notes, change: np.ndarray, there: np.ndarray) -> bool:
    """Returns whether most notes are `there` (bool [K]) among the stretches from each `change`."""
    return bool(2 * _counts(notes, change)[there].sum() > len(notes))


def _counts(notes: Notes, change: np.ndarray) -> np.ndarray:
    """Counts the notes between changes [K]; the first is at tick 0."""
    return np.diff(np.searchsorted(notes.onset, change[1:]), prepend=0, append=len(notes))


def _phased(notes: Notes, x: np.ndarray, phase: float, subdivisions: int) -> Grid:
    """Returns a grid of the file's tempo with phase and bar lines found in the notes."""
    unit = notes.ticks_per_beat
    shift = round(phase * unit) / unit
    bars = beat_tracking.find_bars(notes, x - shift, subdivisions)
    tick = np.array([0.0, unit]) + (shift + bars.downbeat[0]) * unit
    return with_bars(tick, np.array([0.0, 1.0]), bars.downbeat - bars.downbeat[0], bars.size)


def _labelled(notes: Notes, labels: BeatLabels) -> Grid:
    time, flags = np.asarray(labels.time, np.float64), np.asarray(labels.downbeat, bool)
    if len(time) < 2 or len(flags) != len(time) or not np.all(np.diff(time) > _CLOSEST):
        raise UserError(
            "Give at least two beats as labels, with times in ascending seconds and one downbeat "
            "flag for each, or none at all to have the beats estimated."
        )
    beat = np.arange(len(time), dtype=np.float64)
    tick = ticks_at(notes, time)
    if np.any(flags):
        downbeat = np.flatnonzero(flags).astype(np.float64)
        size = int(np.bincount(np.diff(downbeat).astype(int)).argmax()) if len(downbeat) > 1 else 4
    elif len(notes):
        bars = beat_tracking.find_bars(notes, interpolate(notes.onset, tick, beat), 1)
        downbeat, size = bars.downbeat, bars.size
    else:
        downbeat, size = np.zeros(1), 4
    return with_bars(tick, beat, downbeat, size)


def _milliseconds(notes: Notes) -> float:
    """Returns the mean distance of onsets from twelfths of a beat, in milliseconds."""
    if not len(notes):
        return 0.0
    steps = notes.onset * (STEPS_PER_BEAT / notes.ticks_per_beat)
    milliseconds = 60e3 / STEPS_PER_BEAT / notes.tempo_qpm
    milliseconds = np.repeat(milliseconds, _counts(notes, notes.tempo_tick))
    return float((np.abs(steps - np.rint(steps)) * milliseconds).mean())
