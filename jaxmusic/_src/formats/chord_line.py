"""The chords of a picture: those that sound, and beside them those asked for where they differ."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxmusic._src.formats.scores.spelling import fifths_of
from jaxmusic._src.formats.symbols import chord_symbol, chords_over_basses, signatures
from jaxmusic._src.music import harmony
from jaxmusic._src.music.notes import CHORD_QUALITIES, NO_CHORD, TICKS_PER_BEAT, Notes

_TRIADS = {"7": "maj", "maj7": "maj", "min7": "min", "sus2": "sus4"}
"""Qualities of which a triad cannot or need not be told from another."""
_OPEN = ("aug", "5")
"""Qualities that are never inferred: only their root is compared."""


class Change(NamedTuple):
    """A change of chord.

    Attributes:
      tick: where.
      sounding: symbol of the chord that sounds.
      asked: symbol of the chord that the piece is labelled with, empty where it is the same triad.
    """

    tick: int
    sounding: str
    asked: str = ""


def chord_line(notes: Notes) -> list[Change]:
    """Lists the changes of chord, inferred from the notes.

    A melody alone, or drums, have no chords that sound: the labels stand for them there.
    """
    asked = chords_over_basses(notes.labels)
    heard = _sounding(notes) or asked
    ticks = sorted({row[0] for row in (*heard, *asked)})
    usual = fifths_of(notes.pitch[~notes.is_drum])
    out = []
    for tick, fifths in zip(ticks, signatures(notes.labels, np.array(ticks), usual)):
        chord, bass = _at(heard, tick) or (NO_CHORD, 0)
        wanted = _at(asked, tick)
        differs = wanted is not None and not _same(chord, wanted[0])
        beside = chord_symbol(*wanted, fifths) if wanted and differs else ""
        out.append(Change(tick, chord_symbol(chord, bass, fifths), beside))
    return _changes(out)


def _sounding(notes: Notes) -> list[tuple[int, int, int]]:
    """Infers (tick, chord, bass), in the ticks of the piece; nothing where too few notes sound."""
    rows = np.flatnonzero(~notes.is_drum & (notes.duration > 0))
    if not len(rows) or _voices(notes.onset[rows], notes.duration[rows]) < harmony.VOICES:
        return []
    scale = TICKS_PER_BEAT / notes.ticks_per_beat

    def scaled(ticks: np.ndarray) -> np.ndarray:
        return np.rint(ticks * scale).astype(ticks.dtype)

    fitted = notes
    if scale != 1:
        fitted = notes.replace(
            ticks_per_beat=TICKS_PER_BEAT,
            end=round(notes.end * scale),
            **{name: scaled(getattr(notes, name)) for name in ("onset", "duration", "meter_tick")},
        )
    found = chords_over_basses(harmony.infer(fitted))
    return [(round(tick / scale), chord, bass) for tick, chord, bass in found]


def _voices(onset: np.ndarray, duration: np.ndarray) -> float:
    """Mean number of notes that sound at once, over the time in which any does."""
    end = np.maximum.accumulate((onset + duration)[order := np.argsort(onset, kind="stable")])
    start = onset[order]
    silent = np.maximum(start[1:] - end[:-1], 0).sum()
    return float(duration.sum() / (end[-1] - start[0] - silent))


def _at(rows: list[tuple[int, int, int]], tick: int) -> tuple[int, int] | None:
    """The chord and bass in force at a tick; None before the first."""
    before = [row for row in rows if row[0] <= tick]
    return before[-1][1:] if before else None


def _same(one: int, other: int) -> bool:
    """Tells whether two chords are the same triad, as far as inference tells triads apart."""
    if NO_CHORD in (one, other):
        return one == other
    kinds = [CHORD_QUALITIES[chord // 12] for chord in (one, other)]
    triads = {_TRIADS.get(kind, kind) for kind in kinds}
    return one % 12 == other % 12 and (len(triads) == 1 or not triads.isdisjoint(_OPEN))


def _changes(rows: list[Change]) -> list[Change]:
    """Leaves out what repeats the chords before."""
    return [row for i, row in enumerate(rows) if not i or row[1:] != rows[i - 1][1:]]
