"""Finds the beat in notes: beats among subdivisions, meter, bar lines, and tempo that drifts.

Everything is vectorised NumPy over notes; positions called `x` are onsets in beats of some grid.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmusic.beat_grid import grid_phase
from jaxmusic.notes import Notes

_LONGEST = 8.0  # beats of a note's length that count
_MANY_BEATS = 250

# Logistic regression by Newton's method on every second piece with trustworthy bar lines: songs of
# POP909 whose two annotations agree, Nottingham, Mutopia, piano-midi.de, Freedoom, Groove.
# First column: does a beat open a bar? Second: is a step of the subdivided beat a beat?
# Classes have equal weight, so that the outcome is a log-likelihood ratio.
_WEIGHTS = {
    "count": (-0.25, 0.67),
    "loudness": (0.06, 0.4),
    "length": (0.72, 1.22),
    "bass": (0.02, -0.17),
    "bass length": (0.33, 0.55),
    "low notes": (0.53, -0.13),
    "harmony, 1 beat": (0.29, -0.25),
    "harmony, 2 beats": (0.35, 0.04),
    "harmony, 4 beats": (0.05, 0.04),
    "kick": (0.67, 0.67),
    "snare": (-0.87, 0.81),
    "crash": (0.35, 0.4),
}
_BIAS = (-1.28, -0.51)
_KICK, _SNARE, _CRASH = (35, 36), (38, 40), (49, 52, 55, 57)
_LOW_PITCH = 52

# Cost (in nats) of a bar with another number of beats than the usual one, and what a meter loses
# for every beat: 2/4 and 4/4 differ so little that 4/4 needs to be the rule.
_BAR_COSTS: dict[int, dict[int, float]] = {
    4: {4: 0.0, 2: 10.0, 6: 10.0, 3: 18.0, 5: 18.0},
    3: {3: 0.0, 2: 14.0, 4: 14.0},
    2: {2: 0.0, 3: 14.0},
}
_METER_COST = {4: 0.0, 3: 0.0, 2: 0.35}

# Tempo tracking: seconds, frames per second, length of the Fourier transform; candidate tempos in
# beats per second and what they are scored by.
_HOP, _WINDOW, _RATE, _BINS = 1.0, 4.0, 64, 2048
_TEMPOS = np.geomspace(2 / 3, 4.0, 108)
_HARMONICS, _HARMONIC_WEIGHTS = (1, 2, 3, 4), (1.0, 1.0, 0.3, 0.7)
_PREFERRED, _PRIOR = 100 / 60, 0.3
_REACH, _MOVE_COST = 6, 0.05
_PHASE_WINDOWS = (6.0, 3.0)
_STEADY, _SLOWEST = 0.25, 0.2
# Conditional logit on true, double and half tempo of every second piece of the same sets: octaves
# above the preferred tempo, its square, octaves of onsets a beat, evidence for beats, for bars,
# share of onsets on the subdivisions, whether these are sixths.
_LEVEL_WEIGHTS = (0.47, -1.76, 1.85, 1.23, 2.6, 2.81, -1.41)


def accents(notes: Notes, x: np.ndarray, subdivisions: int = 4) -> np.ndarray:
    """Log-likelihood ratios of each step of the subdivided beat.

    Args:
      notes: the piece, for pitches, lengths, loudness and drums.
      x: [N] onsets in beats, none negative.
      subdivisions: steps per beat.

    Returns:
      [S, 2] for every step from beat 0 on: of opening a bar (meant for beats), of being a beat.
    """
    sub = subdivisions
    step = np.rint(x * sub).astype(np.int64)
    first, size = int(step.min()), int(step.max()) + sub + 1
    drum = notes.is_drum
    count = np.bincount(step, minlength=size)
    loud = notes.velocity.astype(np.float64)
    loud = np.bincount(step, loud - loud.mean(), size) / (np.maximum(count, 1) * (loud.std() + 4))
    drums = [
        np.bincount(step[drum & np.isin(notes.pitch, kind)], minlength=size) > 0
        for kind in (_KICK, _SNARE, _CRASH)
    ]
    step, pitch = step[~drum], notes.pitch[~drum].astype(np.int64)
    per_beat = (x[-1] - x[0]) / max(float(notes.onset[-1] - notes.onset[0]), 1.0)
    length = np.log2(1 + 4 * np.minimum(notes.duration[~drum] * per_beat, _LONGEST))
    lowest = np.full(size, 128)
    np.minimum.at(lowest, step, pitch)
    floor = lowest.copy()
    for k in range(1, 2 * sub + 1):  # lowest pitch within two beats
        floor[k:] = np.minimum(floor[k:], lowest[:-k])
        floor[:-k] = np.minimum(floor[:-k], lowest[k:])
    bass = (lowest <= floor + 2) & (lowest < 128)
    at_bottom = pitch == lowest[step]
    chroma = np.bincount(step * 12 + pitch % 12, np.sqrt(length), size * 12).reshape(size, 12)
    columns = [
        np.log1p(np.bincount(step, minlength=size)),
        loud,
        _largest(step, length, size),
        bass,
        _largest(step[at_bottom], length[at_bottom], size) * bass,
        np.log1p(np.bincount(step[pitch < _LOW_PITCH], minlength=size)),
        *(_novelty(chroma, width * sub) for width in (1, 2, 4)),
        *drums,
    ]
    features = np.stack(columns, 1).astype(np.float64)
    heard = features[first : size - sub]
    features = (features - heard.mean(0)) / (heard.std(0) + 0.1)
    return features @ np.array(list(_WEIGHTS.values())) + np.array(_BIAS)


def _largest(index: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros(size)
    np.maximum.at(out, index, values)
    return out


def _novelty(chroma: np.ndarray, width: int) -> np.ndarray:
    """Cosine distance between the pitch classes of `width` steps before and after each step."""
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(chroma, 0)])
    i = np.arange(len(chroma))
    after = total[np.minimum(i + width, len(chroma))] - total[i]
    before = total[i] - total[np.maximum(i - width, 0)]
    norm = np.sqrt((after**2).sum(1) * (before**2).sum(1))
    return np.where(norm > 0, 1 - (after * before).sum(1) / np.maximum(norm, 1e-9), 0.0)


def doubt(notes: Notes, x: np.ndarray, subdivisions: int) -> float:
    """How much likelier a beat another subdivision is than the grid's own beats (0: none is).

    Args:
      notes: the piece.
      x: [N] onsets in beats.
      subdivisions: how many places in a beat compete.

    Returns:
      Difference of mean log-likelihood ratios for each beat, less for pieces of few beats.
    """
    base = np.floor(x[0]) - 1.0
    ratios = accents(notes, x - base, subdivisions)[:, 1]
    last = int(np.rint((x[-1] - base) * subdivisions))
    means = [float(ratios[k : last + 1 : subdivisions].mean()) for k in range(subdivisions)]
    return (max(means) - means[0]) * min(1.0, last / (subdivisions * _MANY_BEATS))


@dataclasses.dataclass(frozen=True, eq=False)
class Bars:
    """Bar lines found in a piece.

    Attributes:
      downbeat: float64 [D] ascending, in beats of the grid that was searched. All have the same
        fraction: where the beats lie on that grid.
      size: the usual number of beats in a bar.
      bar_evidence, beat_evidence: mean log-likelihood ratio of the bar lines, for each beat, and of
        the beats among the subdivisions.
    """

    downbeat: np.ndarray
    size: int
    bar_evidence: float
    beat_evidence: float


def find_bars(notes: Notes, x: np.ndarray, subdivisions: int = 4) -> Bars:
    """Finds beats among the subdivisions of a grid, the meter and the bar lines.

    Args:
      notes: the piece.
      x: [N] onsets on a grid whose beats are right up to a multiple of 1 / subdivisions.
      subdivisions: 4 or 6; 1 if the beats are known to be right.
    """
    sub = subdivisions if subdivisions > 1 else 4
    base = np.floor(x[0]) - 1.0
    ratios = accents(notes, x - base, sub)
    last = int(np.rint((x[-1] - base) * sub))
    places = range(sub if subdivisions > 1 else 1)
    means = [float(ratios[k : last + 1 : sub, 1].mean()) for k in places]
    offset = int(np.argmax(means))
    down = ratios[offset : last + 1 : sub, 0]
    found = {size: _bar_lines(down, size) for size in _BAR_COSTS}
    size = max(found, key=lambda s: found[s][1] / len(down) - _METER_COST[s])
    lines, score = found[size]
    return Bars(base + offset / sub + lines, size, score / len(down), means[offset])


def _bar_lines(ratios: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """The likeliest bar lines (Viterbi): indices of beats, and their log-likelihood ratio."""
    usual, *others = sorted(_BAR_COSTS[size].items(), key=lambda c: c[1])
    pad = max(_BAR_COSTS[size])
    best = [-np.inf] * pad  # best[t + pad]: the likeliest bar lines of which t is the last
    origin: list[int] = []
    for t, value in enumerate(ratios.tolist()):
        top, back = best[t + pad - size], usual[0]
        for length, cost in others:
            if best[t + pad - length] - cost > top:
                top, back = best[t + pad - length] - cost, length
        if t < size and top <= 0:
            top, back = 0.0, t + 1  # the first bar line
        best.append(top + value)
        origin.append(back)
    t = max(range(max(0, len(origin) - size), len(origin)), key=lambda i: best[i + pad])
    score, lines = best[t + pad], []
    while t >= 0:
        lines.append(t)
        t -= origin[t]
    return np.array(lines[::-1], np.float64), score


def follow_beats(notes: Notes) -> tuple[np.ndarray, np.ndarray, Bars, float]:
    """Finds beats and bars of a piece whose tempo is unknown and may drift.

    Args:
      notes: a piece of at least two onsets, some seconds long.

    Returns:
      Times in seconds, ascending, and the beats there, linear between and beyond them; the bars
      in these beats; the share of onsets that agree with the subdivisions, as in `grid_phase`.
    """
    seconds = notes.seconds(notes.onset)
    time, beat = _follow_tempo(seconds)
    x = np.interp(seconds, time, beat)
    candidates = []
    pace = float(x[-1] - x[0]) / float(seconds[-1] - seconds[0])
    for level in (1.0, 2.0, 0.5):
        if level != 1.0 and not _TEMPOS[0] <= pace * level <= _TEMPOS[-1]:
            continue
        phase, sub, share = grid_phase(x * level)
        bars = find_bars(notes, x * level - phase, sub)
        tempo = np.log2(pace * level / _PREFERRED)
        places = len(np.unique(np.rint((x * level - phase) * sub)))
        density = np.log2(places / (level * float(x[-1] - x[0])))
        evidence = (tempo, tempo**2, density, bars.beat_evidence, bars.bar_evidence, share)
        score = float(np.dot(_LEVEL_WEIGHTS, (*evidence, float(sub == 6))))
        candidates.append((score, beat * level - phase, bars, share))
    _, beat, bars, share = max(candidates, key=lambda c: c[0])
    return time, beat, bars, share


def _follow_tempo(seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and the beats there, up to a constant phase and to factors of two in tempo.

    The onsets' spectrum in short windows is summed over harmonics of each candidate tempo; the
    likeliest path of tempos (Viterbi) is integrated to beats; what is left of the drift is the
    phase of the onsets at four cycles a beat in each window. A steady tempo becomes a line.
    """
    start = float(seconds[0])
    time = np.arange(0.0, float(seconds[-1]) - start + _HOP, _HOP)
    time, since = np.append(time, time[-1] + _HOP), seconds - start
    tempo = _tempo_path(since, time)
    beat = np.concatenate([[0.0], np.cumsum((tempo[1:] + tempo[:-1]) * (_HOP / 2))])
    for width in _PHASE_WINDOWS:
        beat = beat - _phase_drift(since, np.interp(since, time, beat), time, width)
        beat = beat[0] + np.append(0.0, np.cumsum(np.maximum(np.diff(beat), _SLOWEST * _HOP)))
    line = np.polyfit(time, beat, 1)
    if np.abs(np.polyval(line, time) - beat).max() < _STEADY:
        for _ in range(3):
            x = np.polyval(line, since) * 4
            phase = np.angle(np.exp(2j * np.pi * x).mean()) / (2 * np.pi)
            rest = x - phase - np.rint(x - phase)
            near = np.abs(rest) < 0.3
            if near.sum() < 2 or np.ptp(since[near]) < _HOP:
                break
            line = line - np.polyfit(since[near], (rest[near] + phase) / 4, 1)
        time = time[[0, -1]]
        beat = np.polyval(line, time)
    return time + start, beat


def _tempo_path(since: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Beats per second at each of `time`."""
    size, hop = int(_WINDOW * _RATE), int(_HOP * _RATE)
    strength = np.bincount(np.rint(since * _RATE).astype(int))
    strength = np.pad(np.sqrt(strength), (size // 2, len(time) * hop + size - len(strength)))
    frames = np.lib.stride_tricks.sliding_window_view(strength, size)[::hop][: len(time)]
    spectrum = np.abs(np.fft.rfft((frames * np.hanning(size)).astype(np.float32), _BINS, axis=1))
    spectrum /= spectrum[:, :1] + 1e-6
    bins = np.rint(np.outer(_HARMONICS, _TEMPOS) * (_BINS / _RATE)).astype(int)
    score = sum(w * spectrum[:, b] for w, b in zip(_HARMONIC_WEIGHTS, bins))
    score = score - _PRIOR * np.log2(_TEMPOS / _PREFERRED) ** 2
    total, back = score[0], np.zeros(score.shape, np.int64)
    moves = np.arange(-_REACH, _REACH + 1)
    at = np.arange(len(_TEMPOS))
    before = np.clip(at[:, None] + moves, 0, len(at) - 1)
    cost = _MOVE_COST * np.abs(moves)
    for t in range(1, len(score)):
        options = total[before] - cost
        choice = options.argmax(1)
        back[t] = before[at, choice]
        total = options[at, choice] + score[t]
    path = np.empty(len(score), np.int64)
    path[-1] = total.argmax()
    for t in range(len(score) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return _TEMPOS[path]


def _phase_drift(since: np.ndarray, x: np.ndarray, time: np.ndarray, width: float) -> np.ndarray:
    """Phase of the sixteenths in a window around each of `time`, in beats, without jumps."""
    reach = int(np.ceil(width / 2 / _HOP))
    centre = np.rint(since / _HOP).astype(int)
    wave = np.exp(8j * np.pi * x)
    total = np.zeros(len(time), np.complex128)
    for k in range(-reach, reach + 1):
        near = np.clip(centre + k, 0, len(time) - 1)
        weight = np.maximum(0.0, np.cos(np.pi * (since - time[near]) / width)) ** 2
        value = wave * weight
        total += np.bincount(near, value.real, len(time))
        total += 1j * np.bincount(near, value.imag, len(time))
    angle = np.where(np.abs(total) > 1e-9, np.angle(total), np.nan)
    good = np.flatnonzero(~np.isnan(angle))
    return np.interp(np.arange(len(time)), good, np.unwrap(angle[good])) / (8 * np.pi)
