"""Infers chords and keys of a piece from its notes: a chord for each half bar, a key for each bar.

A conditional random field over half bars (Lafferty et al. 2001): the evidence for a chord is linear
in the features of the notes, relative to the chord's root, plus how common the chord is in the key;
a change of chord or key costs, and Viterbi's algorithm finds the likeliest sequence. Pitch classes
are counted from that of the first note, so that a transposed piece gets, to the bit, transposed
chords and keys.

The weights, in `harmony_weights.npz`, were fitted by maximum likelihood with a little weight decay,
on music whose chords and keys are known. Chords, with equal weight for every half bar: every second
song of POP909 with its ``chord_midi.txt`` (where the notes are plainly those of a seventh chord,
which POP909 annotates in about half of the cases, it counts as one), every fourth tune of
Nottingham with its chord track, 150 songs of `examples/starter` (seed 1), and diatonic chords in
random order and plain textures. Keys, with equal weight for every piece: the same songs of POP909
with ``key_audio.txt``, the same starter songs, and the key signatures of every second piece of
Nottingham and of Mutopia. The weights of chords in keys were fitted last, on the inferred keys.
Songs are counted in the order of their file names, from the first on.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from typing import NamedTuple

import numpy as np

from jaxmusic._src.music.meters import bar_lines, halves
from jaxmusic._src.music.notes import (
    CHORD_TONES,
    NO_CHORD,
    TICKS_PER_BEAT,
    Labels,
    Notes,
    check_aligned,
    transposed,
)

VOICES = 1.5
"""Mean number of simultaneous pitched notes that is needed to infer chords: a melody alone has
none."""
_FITTED = 84
"""Chords that the weights know: those of the first seven qualities. In the arrays of this module
the number after them stands for no chord."""
_NEAREST = np.array([0, 1, 2, 3, 4, 5, 6, 0, 6, 0])
"""The quality among these that stands for each of `CHORD_QUALITIES`."""
_STEPS_PER_BEAT = 12
_EARLY = 30  # ticks by which a note may come before its bar line: a quarter of a sixteenth
_LONGEST = 64 * TICKS_PER_BEAT  # longer notes, or notes without an end, add nothing
_SILENT = 128  # above every pitch


class _Weights(NamedTuple):
    """Fitted weights, in nats.

    Attributes:
      chords: float32 [48, 84], evidence of each feature of `Heard` for each chord.
      qualities: float32 [84], evidence for each chord whatever sounds.
      no_chords: evidence for `NO_CHORD`: constant, per sounding note, and for silence.
      chord_stays: gain of a chord that stays over a bar line, and within a bar.
      chords_in_keys: float32 [24, 85], evidence for each chord in each key.
      keys: float32 [120, 24], evidence of each feature of `key_evidence` for each key.
      minor: evidence for minor, in each bar.
      key_stays: gain of a key that stays over a bar line.
    """

    chords: np.ndarray
    qualities: np.ndarray
    no_chords: list[float]
    chord_stays: list[float]
    chords_in_keys: np.ndarray
    keys: np.ndarray
    minor: float
    key_stays: float


@functools.cache
def _weights() -> _Weights:
    """Reads the fitted weights, which are tables by interval above the root or tonic."""
    with np.load(pathlib.Path(__file__).with_name("harmony_weights.npz")) as fitted:
        above = (np.arange(12)[:, None] - np.arange(12)) % 12  # [pitch class, root] -> interval
        degrees = fitted["degrees"][:, :, above].transpose(0, 3, 1, 2).reshape(24, -1)
        return _Weights(
            chords=fitted["chords"][:, :, above].transpose(1, 2, 0, 3).reshape(-1, _FITTED),
            qualities=np.repeat(fitted["qualities"], 12),
            no_chords=fitted["no_chords"].tolist(),
            chord_stays=fitted["chord_stays"].tolist(),
            chords_in_keys=np.pad(degrees, ((0, 0), (0, 1))),
            keys=fitted["keys"][:, :, above].transpose(1, 2, 0, 3).reshape(-1, 24),
            minor=float(fitted["minor"]),
            key_stays=float(fitted["key_stays"]),
        )


def infer(notes: Notes) -> Labels:
    """Infers chords and keys together.

    Args:
      notes: an aligned piece (`music.beats.align`); drums and labels are ignored.

    Returns:
      Labels with keys that change at bar lines, and chords and basses that change there and in
      the middle of bars. The first of each is at 0; there are none without pitched notes.

    Raises:
      UserError: the piece is not aligned.
    """
    check_aligned(notes)
    pitched = np.flatnonzero(~notes.is_drum)
    if not len(pitched):
        return Labels()
    weights, line = _weights(), half_bars(notes)
    first = int(notes.pitch[pitched[0]]) % 12
    heard = _hear(notes, pitched, line, first)
    evidence = chord_evidence(heard)
    key = likeliest(key_evidence(heard, evidence), np.full(len(line) // 2, weights.key_stays))
    evidence += weights.chords_in_keys[np.repeat(key, 2)]
    chord = likeliest(evidence, np.resize(weights.chord_stays, len(evidence)))
    found = {
        "key": (line[:-1:2], transposed(key, first)),
        "chord": (line[:-1], np.where(chord == _FITTED, NO_CHORD, transposed(chord, first))),
        "bass": (line[:-1], _inversions(chord, heard.bass)),
    }
    changes = {}
    for name, (tick, value) in found.items():
        there = (np.diff(value, prepend=-1) != 0) & (tick < notes.end)
        changes[name] = zip(tick[there].tolist(), value[there].tolist())
    return Labels.of_changes(changes)


def with_harmony(notes: Notes) -> Notes:
    """Adds inferred chords and keys to an aligned piece where its labels have none."""
    labels = notes.labels
    if len(labels.key) and len(labels.chord):
        return notes
    found = infer(notes)
    missing: tuple[str, ...] = () if len(labels.key) else ("key_tick", "key")
    missing += () if len(labels.chord) else ("chord_tick", "chord", "bass_tick", "bass")
    added = {name: getattr(found, name) for name in missing}
    return notes.replace(labels=dataclasses.replace(labels, **added))


def half_bars(notes: Notes) -> np.ndarray:
    """Returns ticks of half bars and the end of the last bar [2 B + 1], as in `grid`."""
    scale = TICKS_PER_BEAT // _STEPS_PER_BEAT
    steps = max(-(-notes.end // scale), 1)
    line = bar_lines(notes, steps, _STEPS_PER_BEAT)[1].astype(np.int64) * scale
    return np.append(halves(line), line[-1])


def _inversions(chord: np.ndarray, bass: np.ndarray) -> np.ndarray:
    """Semitones of the bass above the root of each chord: 0 where it is no other tone of the chord.

    Args:
      chord: int [S], chords as the weights number them.
      bass: int [S], pitch class of the bass, counted like the roots of the chords; -1 for none.
    """
    above = np.where((bass >= 0) & (chord < _FITTED), (bass - chord) % 12, 0)
    tones = np.zeros((len(CHORD_TONES), 12), bool)
    for quality, intervals in enumerate(CHORD_TONES):
        tones[quality, list(intervals)] = True
    return np.where(tones[np.minimum(chord // 12, len(tones) - 1), above], above, 0)


class Heard(NamedTuple):
    """Sounding notes of half bars; pitch classes are relative to that of the first note.

    Attributes:
      features: float32 [S, 48], by pitch class: square root of its share of the sounding time,
        log(1 + onsets), whether it is the bass, whether it is the bass where the half bar begins.
      bass: int [S], pitch class of the bass, -1 for none.
      fullness: float32 [S], notes that sound on average, at most 4.
    """

    features: np.ndarray
    bass: np.ndarray
    fullness: np.ndarray


def _hear(notes: Notes, pitched: np.ndarray, line: np.ndarray, first: int) -> Heard:
    """Computes the features of the half bars between the ticks `line`."""
    size = len(line) - 1
    start, pitch = notes.onset[pitched].astype(np.int64), notes.pitch[pitched].astype(np.int64)
    end = start + np.minimum(notes.duration[pitched], _LONGEST)
    length = np.diff(line)
    line = line - _EARLY
    line[-1] = max(line[-1], end.max())
    # A note counts in every half bar in which it sounds: one row for each.
    half = np.searchsorted(line, start, side="right") - 1
    count = np.searchsorted(line, end, side="left") - half
    row = np.repeat(np.arange(len(start)), count)
    at = np.arange(len(row)) + np.repeat(half - np.cumsum(count) + count, count)
    begin = np.maximum(start[row], line[at])
    ticks = np.minimum(end[row], line[at + 1]) - begin
    name = (pitch - first) % 12
    time = np.bincount(at * 12 + name[row], ticks, 12 * size).reshape(size, 12)
    total = time.sum(1)
    onsets = np.bincount(half * 12 + name, minlength=12 * size).reshape(size, 12)
    features = np.zeros((size, 4, 12), np.float32)
    features[:, 0] = np.sqrt(time / np.maximum(total, 1)[:, None])
    features[:, 1] = np.log1p(onsets)
    # Ornaments and late entries are not the bass.
    bass = _lowest(at, pitch[row], 8 * ticks >= length[at], size)
    opening = _lowest(at, pitch[row], 4 * (begin - line[at]) < length[at], size)
    for feature, low in ((features[:, 2], bass), (features[:, 3], opening)):
        there = np.flatnonzero(low < _SILENT)
        feature[there, (low[there] - first) % 12] = 1
    return Heard(
        features=features.reshape(size, -1),
        bass=np.where(bass < _SILENT, (bass - first) % 12, -1),
        fullness=np.minimum(total / length, 4).astype(np.float32),
    )


def _lowest(at: np.ndarray, pitch: np.ndarray, keep: np.ndarray, size: int) -> np.ndarray:
    """Returns the lowest pitch of the kept rows in each of `size` half bars, or `_SILENT`."""
    low = np.full(size, _SILENT)
    np.minimum.at(low, at[keep], pitch[keep])
    return low


def chord_evidence(heard: Heard) -> np.ndarray:
    """Computes evidence for each chord in each half bar: float32 [S, 85], in nats."""
    weights = _weights()
    out = np.empty((len(heard.bass), _FITTED + 1), np.float32)
    out[:, :_FITTED] = heard.features @ weights.chords + weights.qualities
    none, fullness, silence = weights.no_chords
    out[:, _FITTED] = none + fullness * heard.fullness + silence * (heard.fullness == 0)
    return out


def key_evidence(heard: Heard, evidence: np.ndarray) -> np.ndarray:
    """Computes evidence for each key in each bar: float32 [B, 24], in nats.

    The features are, by pitch class: probability that it is the root of a chord of each quality;
    its share of the sounding time; whether it is the first and the last bass.
    """
    likely = np.exp(evidence - evidence.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    features = np.zeros((len(evidence) // 2, 10, 12), np.float32)
    features[:, :7] = (likely[::2, :-1] + likely[1::2, :-1]).reshape(-1, 7, 12) / 2
    share = heard.features[:, :12] ** 2
    features[:, 7] = (share[::2] + share[1::2]) / 2
    there = np.flatnonzero(heard.bass >= 0)
    if len(there):
        features[there[0] // 2, 8, heard.bass[there[0]]] = 1
        features[there[-1] // 2, 9, heard.bass[there[-1]]] = 1
    weights = _weights()
    out = features.reshape(len(features), -1) @ weights.keys
    out[:, 12:] += weights.minor
    return out


def key_of_chords(chord: np.ndarray) -> int:
    """Returns the likeliest key (tonic + 12 if minor) of a progression.

    Args:
      chord: int [2 B], chord of each half bar, played in root position; not all `NO_CHORD`.
    """
    chord = np.asarray(chord, np.int64)
    root, quality = (chord % 12)[chord != NO_CHORD], (chord // 12)[chord != NO_CHORD]
    features = np.zeros((10, 12), np.float32)
    np.add.at(features, (_NEAREST[quality], root), 0.5)
    for r, q in zip(root, quality):
        tones = (r + np.array(CHORD_TONES[q])) % 12
        features[7, tones] += 0.5 / len(tones)
    features[8, root[0]] = features[9, root[-1]] = 1
    weights = _weights()
    evidence = features.ravel() @ weights.keys
    evidence[12:] += weights.minor * len(chord) / 2
    return int(evidence.argmax())


def likeliest(evidence: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Finds the likeliest states by Viterbi with the same cost for every change.

    Args:
      evidence: float [T, S], of each state at each position, in nats.
      stays: float [T], gain of keeping the previous state.

    Returns:
      States, int [T].
    """
    score = evidence.astype(np.float64)
    best, floor, kept = [], [], np.empty_like(score[0])
    for before, now, gain in zip(score, score[1:], stays[1:].tolist()):
        # Each state follows itself or the best one; the common gain is subtracted.
        best.append(int(before.argmax()))
        floor.append(before.item(best[-1]) - gain)
        now += np.maximum(before, floor[-1], out=kept)
    path = [int(score[-1].argmax())]
    for before, top, least in zip(score[-2::-1], best[::-1], floor[::-1]):
        path.append(path[-1] if before[path[-1]] >= least else top)
    return np.array(path[::-1])
