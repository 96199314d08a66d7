"""Finds the beat in notes: beats among subdivisions, meter, bar lines, and tempo that drifts.

Everything is vectorised NumPy over notes; positions called `x` are onsets in beats of some grid.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable

import numpy as np

from jaxmusic._src.music.beat_grid import grid_phase
from jaxmusic._src.music.notes import Notes

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
_WEIGHT = np.array(list(_WEIGHTS.values()), np.float32).T
_DRUMS = ((35, 36), (38, 40), (49, 52, 55, 57))  # kick, snare, crash
_LOW_PITCH = 52
_PITCH_CLASS = np.arange(128) % 12
_WIDTHS = (1, 2, 4)  # beats before and after, between which harmonies are compared

# Two numbers of beats a bar that are not the usual one, and their cost in nats; what a meter loses
# for every beat: 2/4 and 4/4 differ so little that 4/4 needs to be the rule.
_BAR_COSTS = {4: ((2, 6, 10.0), (3, 5, 18.0)), 3: ((2, 4, 14.0),), 2: ((3, 3, 14.0),)}
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
    """Computes log-likelihood ratios of each step of the subdivided beat.

    Args:
      notes: the piece, for pitches, lengths, loudness and drums.
      x: [N] onsets in beats, ascending, none negative.
      subdivisions: steps per beat, 4 or 6.

    Returns:
      [2, S] for every step from beat 0 on: of opening a bar (for beats), of being a beat.
    """
    step = np.rint(x * subdivisions).astype(np.int64)
    first, size = int(step[0]), int(step[-1]) + subdivisions + 1
    has_drums = bool(notes.drum.any())
    rows = len(_WEIGHTS) - (0 if has_drums else len(_DRUMS))
    features = np.zeros((rows, size), np.float32)
    loud = notes.velocity - notes.velocity.mean()
    count = np.maximum(np.bincount(step, minlength=size), 1)
    features[1] = np.bincount(step, loud, size) / (count * (np.sqrt(loud @ loud / len(loud)) + 4))
    pitch, duration = notes.pitch, notes.duration
    if has_drums:
        drum = notes.is_drum
        for row, kind in zip(features[-len(_DRUMS) :], _DRUMS):
            row[step[drum & np.isin(pitch, kind)]] = 1
        step, pitch, duration = step[~drum], pitch[~drum], duration[~drum]
    per_beat = (x[-1] - x[0]) / max(float(notes.onset[-1] - notes.onset[0]), 1.0)
    length = np.minimum(duration * per_beat, _LONGEST).astype(np.float32)
    length = np.log2(1 + 4 * length)
    features[0] = np.bincount(step, minlength=size)
    features[5] = np.bincount(step[pitch < _LOW_PITCH], minlength=size)
    features[0:6:5] = np.log1p(features[0:6:5])
    if len(step):
        _outer_notes(features[2:5], step, pitch, length, subdivisions)
        _novelty(features[6:9], step, _PITCH_CLASS[pitch], np.sqrt(length), subdivisions)
    heard = features[:, first : size - subdivisions]
    mean, square = heard.mean(1), np.einsum("ij,ij->i", heard, heard) / heard.shape[1]
    weights = _WEIGHT[:, :rows] / (np.sqrt(np.maximum(square - mean**2, 0.0)) + 0.1)
    return weights @ features + (np.array(_BIAS, np.float32) - weights @ mean)[:, None]


def _outer_notes(
    out: np.ndarray, step: np.ndarray, pitch: np.ndarray, length: np.ndarray, sub: int
) -> None:
    """Fills in the longest note of each step, whether its lowest is a bass note, and its length."""
    opening = np.append(0, np.flatnonzero(step[1:] != step[:-1]) + 1)
    at, width = step[opening], 4 * sub + 1
    lowest = np.full(out.shape[1] + width - 1, 128, np.int16)
    lowest[at + width // 2] = np.minimum.reduceat(pitch, opening)
    low = lowest[width // 2 :][: out.shape[1]]
    # Lowest pitch within two beats: minima over 1, 2, 4, ... steps, then over all of `width`.
    floor, reach = lowest, 1
    while 2 * reach <= width:
        floor, reach = np.minimum(floor[:-reach], floor[reach:]), 2 * reach
    floor = np.minimum(floor[: out.shape[1]], floor[width - reach :])
    out[0, at] = np.maximum.reduceat(length, opening)
    out[1] = (low <= floor + 2) & (low < 128)
    out[2, at] = np.maximum.reduceat(length * (pitch == low[step]), opening)
    out[2] *= out[1]


def _novelty(
    out: np.ndarray, step: np.ndarray, pitch_class: np.ndarray, weight: np.ndarray, sub: int
) -> None:
    """Fills in the cosine distances between the pitch classes before and after each step."""
    size, pad = out.shape[1], _WIDTHS[-1] * sub
    row = size + 2 * pad
    total = np.bincount(pitch_class * row + step + pad, weight, 12 * row).astype(np.float32)
    total = total.reshape(12, row)
    half = sub // 2
    parts = [total[:, k : row - half + 1 + k] for k in range(half)]
    total = sum(parts[1:], parts[0])
    for distance, beats in zip(out, _WIDTHS):
        width = beats * sub
        total = total[:, : -width // 2] + total[:, width // 2 :]  # twice the window before
        window = total[:, pad - width : pad + size]
        energy = np.einsum("ij,ij->j", window, window)
        common = np.einsum("ij,ij->j", window[:, :-width], window[:, width:])
        norm = np.sqrt(energy[:-width] * energy[width:])
        np.divide(common, norm, out=distance, where=norm > 0)
        np.subtract(1.0, distance, out=distance, where=norm > 0)


def doubt(notes: Notes, x: np.ndarray, subdivisions: int) -> float:
    """Computes how much likelier a beat another subdivision is than the grid's beats (0: none is).

    Args:
      notes: the piece.
      x: [N] onsets in beats.
      subdivisions: positions in a beat that compete, 4 or 6.

    Returns:
      Difference of mean log-likelihood ratios for each beat, less for pieces of few beats.
    """
    base = np.floor(x[0]) - 1.0
    ratios = accents(notes, x - base, subdivisions)[1]
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
    means = [float(ratios[1, k : last + 1 : sub].mean()) for k in places]
    offset = int(np.argmax(means))
    down = ratios[0, offset : last + 1 : sub].tolist()
    found = {size: _bar_scores(down, size) for size in _BAR_COSTS}
    evidence = {size: max(scores[-size:]) / len(down) for size, scores in found.items()}
    size = max(evidence, key=lambda s: evidence[s] - _METER_COST[s])
    lines = base + offset / sub + _bar_lines(down, found[size], size)
    return Bars(lines, size, evidence[size], means[offset])


def _bar_scores(ratios: list[float], size: int) -> list[float]:
    """Scores, for each beat, the likeliest bar lines that end there, by Viterbi's algorithm.

    The first bar line lies in the first `size` beats. This is the innermost loop of preparing
    music, hence no look at which of the rivals has won.
    """
    scores: list[float] = []

    def before(beats: int, start: float) -> Iterable[float]:  # follows as scores are added
        return itertools.chain([start] * beats, scores)

    (*pair, cost), *rarer = _BAR_COSTS[size]
    usual, near, far = before(size, 0.0), *(before(beats, -np.inf) for beats in pair)
    if not rarer:
        for ratio, top, a, b in zip(ratios, usual, near, far):
            rival = (a if a > b else b) - cost
            scores.append((rival if rival > top else top) + ratio)
        return scores
    (*pair, high) = rarer[0]
    rarest = [before(beats, -np.inf) for beats in pair]
    for ratio, top, a, b, c, d in zip(ratios, usual, near, far, *rarest):
        rival, rare = (a if a > b else b) - cost, (c if c > d else d) - high
        rival = rare if rare > rival else rival
        scores.append((rival if rival > top else top) + ratio)
    return scores


def _bar_lines(ratios: list[float], scores: list[float], size: int) -> np.ndarray:
    """Returns the likeliest bar lines as indices of beats: the way back through the scores.

    The last one lies in the last `size` beats.
    """
    costs = {beats: cost for *pair, cost in _BAR_COSTS[size] for beats in pair}
    t = max(range(max(0, len(scores) - size), len(scores)), key=scores.__getitem__)
    lines = [t]
    while t >= size or scores[t] > ratios[t]:
        if t >= size and scores[t - size] + ratios[t] == scores[t]:
            t -= size
        else:
            t -= max((n for n in costs if n <= t), key=lambda n: scores[t - n] - costs[n])
        lines.append(t)
    return np.array(lines[::-1], np.float64)


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
    """Returns times and their beats, up to a constant phase and factors of two in tempo.

    The onsets' spectrum in short windows is summed over harmonics of each candidate tempo; the
    likeliest path of tempos (Viterbi) is integrated to beats; the phase of the onsets at four
    cycles a beat in each window corrects the remaining drift. A steady tempo becomes a line.
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
    """Estimates beats per second at each of `time`."""
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
    """Computes the unwrapped phase of the sixteenths around each of `time`, in beats."""
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
