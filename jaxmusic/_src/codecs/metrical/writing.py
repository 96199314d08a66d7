"""A piece of the metrical codec to tokens: its header, its bars, its notes."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxmusic._src.codecs.layout import MAX_HOLD, bars_left_index
from jaxmusic._src.codecs.metrical.layout import MetricalLayout
from jaxmusic._src.codecs.tasks import Given
from jaxmusic._src.music import meters
from jaxmusic._src.music.controls import CONTROLS, Control, hidden, stated_at
from jaxmusic._src.music.piece import DRUM_PITCHES, DRUM_SLOT, Piece, changes

POSITION, NOTES = 64, 128
"""Ranks of positions and of notes: those of bars come before, those of half bars between."""


class Run(NamedTuple):
    """Tokens of one kind, in order of time.

    Attributes:
      tokens: int [T]. times: int [T], the step each stands at.
      rank: those of lower rank come first at a step, then those of the run that is named first.
    """

    tokens: np.ndarray
    times: np.ndarray
    rank: int


def header(
    codec: MetricalLayout,
    piece: Piece,
    drop: frozenset[str] = frozenset(),
    given: Given | None = None,
) -> list[int]:
    """Encodes what comes before the first bar."""
    start = codec.vocabulary.start
    tokens = codec.opening(piece, drop, None if given is None else given.task)
    left_out = hidden(drop)
    for control in CONTROLS:
        if control.kind not in left_out and (control.place == "piece" or control.opens):
            value = int(piece.controls[control.kind].flat[0])
            tokens += [start[control.kind] + value] if value >= 0 else []
    tokens += [start["meter"] + int(piece.meter[0]), start["tempo"] + int(piece.tempo[0])]
    of_slots = [c for c in CONTROLS if c.place == "slot" and c.kind not in left_out]
    for slot in np.flatnonzero(piece.programs[:DRUM_SLOT] >= 0):
        tokens.append(start["program"] + int(piece.programs[slot]))
        for control in of_slots:
            value = int(piece.controls[control.kind][slot])
            tokens += [start[control.kind] + value] if value >= 0 else []
    if piece.programs[DRUM_SLOT] >= 0:
        kit = start["program"] + int(piece.programs[DRUM_SLOT])
        tokens += [start["slot"] + DRUM_SLOT, kit]
    return tokens


def restated(codec: MetricalLayout, piece: Piece) -> int:
    """Returns a bound of the tokens that a part has besides those of the whole piece.

    It has a token that says so, restates its slot and the controls of its first bar, and may have
    an end.
    """
    most = 3
    for control in (c for c in CONTROLS if c.place in ("bar", "half")):
        values = piece.controls[control.kind]
        known = values[values >= 0]
        if len(known):
            most += int(np.bitwise_count(known).max()) if control.many else 1
    return most


def body(
    codec: MetricalLayout,
    piece: Piece,
    drop: frozenset[str] = frozenset(),
    given: Given | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Encodes bars; returns tokens [T] and their steps [T].

    For a task these are all bars with what is given, then the rest of some. They are written as a
    piece of twice the length: in the first half is what is given, in the second what is not. One
    silent bar stands between them, the place of the token for writing.
    """
    if given is None:
        runs = [_bars(codec, piece), *_labels(codec, piece, drop), *_music(codec, piece, drop)]
        return _merged(runs)
    hidden, chords = ~given.notes(piece), np.repeat(~given.marked | given.chords, 2)
    order, shown = np.argsort(hidden, kind="stable"), len(piece) - int(hidden.sum())
    end = piece.bar_step[-1]
    later = end + codec.longest_bar
    onset = piece.onset[order]
    onset[shown:] += later
    # A chord that follows one that is left out counts as a change, so it is stated again.
    both = dataclasses.replace(
        piece,
        onset=onset,
        duration=piece.duration[order],
        pitch=piece.pitch[order],
        velocity=piece.velocity[order],
        slot=piece.slot[order],
        bar_step=np.concatenate([piece.bar_step, piece.bar_step + later]),
        controls=piece.controls | _told_and_written(piece, chords),
    )
    bars, marked = _bars(codec, piece), given.marked
    lines = bars.times[marked]
    runs = [
        bars,
        Run(np.full(len(lines), codec.hole), lines, bars.rank),
        *_labels(codec, piece, drop),
        Run(np.array([codec.write]), np.array([end]), bars.rank),
        Run(bars.tokens[marked], lines + later, bars.rank),
        *_music(codec, both, drop, shown),
    ]
    return _merged(runs)


def _told_and_written(piece: Piece, told: np.ndarray) -> dict[str, np.ndarray]:
    """Doubles the controls of half bars: those stated, a silent bar, those to be written.

    Args:
      piece: the piece.
      told: bool [2 B], half bars whose chords are given.
    """
    out: dict[str, np.ndarray] = {}
    for control in stated_at("half"):
        values, silent = piece.controls[control.kind], np.full(2, control.default, np.int16)
        given = np.where(told, values, silent[0])
        written = np.where(told, silent[0], values)
        out[control.kind] = np.concatenate([given, silent, written])
    return out


def _merged(runs: list[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Merges runs in order; returns tokens [T] and their times [T]."""
    tokens = np.concatenate([run.tokens for run in runs])
    times = np.concatenate([run.times for run in runs])
    ranks = np.repeat([run.rank for run in runs], [len(run.tokens) for run in runs])
    order = np.argsort(times.astype(np.int64) * (NOTES + 1) + ranks, kind="stable")
    return tokens[order], times[order]


def _bars(codec: MetricalLayout, piece: Piece) -> Run:
    """Returns the bar tokens."""
    left = np.arange(piece.bars - 1, -1, -1) + piece.bars_after
    tokens = codec.vocabulary.start["bar"] + bars_left_index(left)
    return Run(tokens, piece.bar_step[:-1], 0)


def _labels(codec: MetricalLayout, piece: Piece, drop: frozenset[str]) -> list[Run]:
    """Changes of meter, tempo and the controls of bars."""
    start, lines, runs = codec.vocabulary.start, piece.bar_step[:-1], []
    left_out = hidden(drop)
    for rank, (name, values) in enumerate((("meter", piece.meter), ("tempo", piece.tempo)), 1):
        new = changes(values, values[0])
        runs.append(Run(start[name] + values[new], lines[new], rank))
    for rank, control in enumerate(stated_at("bar"), 3):
        if control.kind in left_out:
            continue
        values = piece.controls[control.kind]
        if values.max(initial=-1) < 0:
            continue
        new = stated(control, piece)
        if control.many:
            bar, value = np.nonzero(
                new[:, None] & (values[:, None] >> np.arange(control.values)) & 1
            )
        else:
            bar = np.flatnonzero(new)
            value = values[bar]
        runs.append(Run(start[control.kind] + value, lines[bar], rank))
    return runs


def stated(control: Control, piece: Piece) -> np.ndarray:
    """Returns where a stream states a control of bars or half bars: bool [B] or [2 B].

    It does where the value is another than the one before. Where a control changes that this one
    stands under, the default is the value before.
    """
    values = piece.controls[control.kind]
    before = np.roll(values, 1)
    before[0] = values[0] if control.opens else control.default
    for kind in control.under:
        above = piece.controls[kind]
        before[changes(above, -1)] = control.default
    return (values != before) & (values >= 0)


def _music(
    codec: MetricalLayout, piece: Piece, drop: frozenset[str], restart: int = 0
) -> list[Run]:
    """Writes chords, positions and notes; note `restart` and later name their slot again."""
    start, runs = codec.vocabulary.start, []
    moments = piece.onset[changes(piece.onset, -1)]
    halves, left_out = meters.halves(piece.bar_step), hidden(drop)
    for rank, control in enumerate(stated_at("half"), POSITION + 1):
        if control.kind in left_out or not (new := stated(control, piece)).any():
            continue
        runs.append(Run(start[control.kind] + piece.controls[control.kind][new], halves[new], rank))
        moments = np.union1d(moments, halves[new])
    place = moments - piece.bar_step[np.searchsorted(piece.bar_step, moments, side="right") - 1]
    runs.append(Run((start["position"] + place - 1)[place > 0], moments[place > 0], POSITION))
    return [*runs, Run(*_notes(codec, piece, restart), NOTES)]


def _notes(codec: MetricalLayout, piece: Piece, restart: int) -> tuple[np.ndarray, np.ndarray]:
    """Encodes the notes alone; returns tokens [T] and their steps [T]."""
    start = codec.vocabulary.start
    drum = piece.slot == DRUM_SLOT
    pitch, velocity = piece.pitch.astype(np.int64), piece.velocity.astype(np.int64)
    slot = piece.slot.astype(np.int64)
    named = np.zeros(len(piece), bool)
    pitched = np.flatnonzero(~drum)
    if codec.fused:
        pitch = pitch + 128 * slot * ~drum
    else:
        named[pitched] = changes(slot[pitched], -1)
        named[pitched[np.searchsorted(pitched, restart) :][:1]] = True
    index = codec.duration_index[np.minimum(piece.duration, len(codec.duration_index) - 1)]
    short = (index >= 0) & (piece.duration < len(codec.duration_index))
    holds = np.where(short | drum, 0, (piece.duration - 1) // codec.half)
    base = np.where(short, index, piece.duration - holds * codec.half - 1)
    hold_tokens = -(-holds // MAX_HOLD)
    count = np.where(drum, 1, 2 + named + hold_tokens)
    first = np.cumsum(count) - count
    tokens = np.zeros(int(count.sum()), np.int64)
    levels = codec.config.velocities
    hit = (pitch - DRUM_PITCHES[0]) * levels + velocity
    tokens[first[drum]] = start["drum"] + hit[drum]
    tokens[first[named]] = start["slot"] + slot[named]
    tokens[(first + named)[~drum]] = start["pitch"] + pitch[~drum]
    last = first + count - 1
    tokens[last[~drum]] = start["note"] + (base * levels + velocity)[~drum]
    one = holds > 0
    tokens[last[one] - 1] = start["hold"] + (holds[one] - 1) % MAX_HOLD
    for i in np.flatnonzero(hold_tokens > 1):
        tokens[last[i] - hold_tokens[i] : last[i] - 1] = start["hold"] + MAX_HOLD - 1
    return tokens, np.repeat(piece.onset, count)
