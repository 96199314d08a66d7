"""A piece of the metrical codec to tokens: its header, its bars, its notes."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxmusic.codecs.layout import MAX_HOLD, bars_left_index
from jaxmusic.codecs.metrical.layout import MetricalLayout
from jaxmusic.codecs.tasks import Given
from jaxmusic.music import meters
from jaxmusic.music.piece import DRUM_PITCHES, DRUM_SLOT, Piece, changes


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
    codec: MetricalLayout, piece: Piece, drop: frozenset[str] = frozenset(), task: int | None = None
) -> list[int]:
    """Tokens before the first bar."""
    start = codec.vocabulary.start
    tokens = [start["bos"]]
    if task is not None:
        tokens.append(start["task"] + task)
    if piece.bars_before:
        tokens.append(start["part"])
    if "styles" not in drop:
        tokens += codec.style_tokens(piece.styles)
    if "key" not in drop and piece.key[0] >= 0:
        tokens.append(start["key"] + int(piece.key[0]))
    if "density" not in drop and piece.density >= 0:
        tokens.append(start["density"] + piece.density)
    tokens += [start["meter"] + int(piece.meter[0]), start["tempo"] + int(piece.tempo[0])]
    tokens += [start["program"] + int(p) for p in piece.programs[:DRUM_SLOT] if p >= 0]
    if piece.programs[DRUM_SLOT] >= 0:
        kit = start["program"] + int(piece.programs[DRUM_SLOT])
        tokens += [start["slot"] + DRUM_SLOT, kit]
    return tokens


def body(
    codec: MetricalLayout, piece: Piece, drop: frozenset[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens from the first bar on [T], and the step each stands at [T]."""
    return _merged([_bars(codec, piece), *_labels(codec, piece, drop), *_music(codec, piece, drop)])


def task_body(
    codec: MetricalLayout, piece: Piece, drop: frozenset[str], given: Given
) -> np.ndarray:
    """Tokens from the first bar on [T]: all bars with what is given, then the rest of some.

    The bars are written as a piece of twice the length: in the first half is what is given, in the
    second what is not. One silent bar stands between them, the place of the token for writing.
    """
    hidden, chords = ~given.notes(piece), np.repeat(~given.marked | given.chords, 2)
    order, shown = np.argsort(hidden, kind="stable"), len(piece) - int(hidden.sum())
    end = piece.bar_step[-1]
    later = end + codec.longest_bar
    onset = piece.onset[order]
    onset[shown:] += later
    # A chord that follows one that is left out counts as a change, so it is stated again.
    unknown = np.int16(-1)
    told, written = np.where(chords, piece.chord, unknown), np.where(chords, unknown, piece.chord)
    both = dataclasses.replace(
        piece,
        onset=onset,
        duration=piece.duration[order],
        pitch=piece.pitch[order],
        velocity=piece.velocity[order],
        slot=piece.slot[order],
        bar_step=np.concatenate([piece.bar_step, piece.bar_step + later]),
        chord=np.concatenate([told, [unknown, unknown], written]),
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
    return _merged(runs)[0]


def _merged(runs: list[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [T] of all runs in order, and their times [T]."""
    tokens = np.concatenate([run.tokens for run in runs])
    times = np.concatenate([run.times for run in runs])
    ranks = np.repeat([run.rank for run in runs], [len(run.tokens) for run in runs])
    order = np.argsort(times.astype(np.int64) * 8 + ranks, kind="stable")
    return tokens[order], times[order]


def _bars(codec: MetricalLayout, piece: Piece) -> Run:
    """The bar tokens."""
    left = np.arange(piece.bars - 1, -1, -1) + piece.bars_after
    tokens = codec.vocabulary.start["bar"] + bars_left_index(left)
    return Run(tokens, piece.bar_step[:-1], 0)


def _labels(codec: MetricalLayout, piece: Piece, drop: frozenset[str]) -> list[Run]:
    """Changes of meter, tempo, key and section."""
    start, lines, runs = codec.vocabulary.start, piece.bar_step[:-1], []
    for rank, name, values in (
        (1, "meter", piece.meter),
        (2, "tempo", piece.tempo),
        (3, "key", None if "key" in drop else piece.key),
        (4, "section", None if "sections" in drop else piece.section),
    ):
        if values is not None:
            opening = -1 if name == "section" else values[0]
            new = changes(values, opening) & (values >= 0)
            runs.append(Run(start[name] + values[new], lines[new], rank))
    return runs


def _music(
    codec: MetricalLayout, piece: Piece, drop: frozenset[str], restart: int = 0
) -> list[Run]:
    """Writes chords, positions and notes; note `restart` and later name their slot again."""
    start, runs = codec.vocabulary.start, []
    moments = piece.onset[changes(piece.onset, -1)]
    if "chords" not in drop and (piece.chord >= 0).any():
        halves = meters.halves(piece.bar_step)
        new = changes(piece.chord, -1) & (piece.chord >= 0)
        runs.append(Run(start["chord"] + piece.chord[new], halves[new], 6))
        moments = np.union1d(moments, halves[new])
    place = moments - piece.bar_step[np.searchsorted(piece.bar_step, moments, side="right") - 1]
    runs.append(Run((start["position"] + place - 1)[place > 0], moments[place > 0], 5))
    return [*runs, Run(*_notes(codec, piece, restart), 7)]


def _notes(codec: MetricalLayout, piece: Piece, restart: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of the notes alone [T], and the step each stands at [T]."""
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
