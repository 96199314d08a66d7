"""Control accuracy: controls taken from real songs, and figures for how well pieces follow them.

A control has one or more figures; the first is the main one. They are computed from the notes of a
piece and the true value of the control (`evaluate.adherence`). Key and chords are inferred
from notes, so compare their figures with those of `finder` on songs with known keys and chords.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmusic._src.data import metadata
from jaxmusic._src.evaluate import adherence
from jaxmusic._src.formats.instruments import GM_PROGRAMS
from jaxmusic._src.formats.symbols import chord_symbol
from jaxmusic._src.music import harmony
from jaxmusic._src.music.grid import quantise
from jaxmusic._src.music.notes import NO_CHORD, PITCH_NAMES, TICKS_PER_BEAT, Notes
from jaxmusic._src.music.piece import PITCHED_SLOTS

WITHIN_SECONDS, WITHIN_TEMPO = 0.05, 0.01
BARS = 8
"""Bars of chords taken from a song."""
LEARNED = ("key", "density", "chords")
"""Controls that a model follows as far as it has learned; the others hold by construction."""


class ControlRequest(NamedTuple):
    """A control with its value.

    Attributes:
      fields: fields of `jaxmusic.config.Controls`.
      truth: their meaning, for the figures of `FIGURES`.
    """

    fields: dict[str, Any]
    truth: Any


class Figure(NamedTuple):
    """A figure of a piece and a request's truth.

    Attributes:
      name: its name in a table.
      of: computes it; None if it is undefined.
      combine: reduces the figures of several pieces to one.
    """

    name: str
    of: Callable[[Notes, Any], float | None]
    combine: Callable[[Any], Any] = np.mean

    def over(self, pairs: Iterable[tuple[Notes, Any]]) -> tuple[float | None, int]:
        """Reduces the figure over pieces (None if undefined), and counts the defined ones."""
        values = [self.of(notes, truth) for notes, truth in pairs]
        known = [value for value in values if value is not None]
        return (float(self.combine(known)) if known else None), len(known)


def number(control: str, value: float) -> ControlRequest:
    """Asks for a control by its number: tempo (qpm), density (notes per quarter), duration (s)."""
    return ControlRequest({control: value}, value)


def meter(num: int, den: int) -> ControlRequest:
    """Asks for a time signature."""
    return ControlRequest({"meter": f"{num}/{den}"}, (num, den))


def instruments(programs: Iterable[int]) -> ControlRequest:
    """Asks for General MIDI programs, and `data.metadata.DRUMS` for drums, and no others.

    A repeated program asks for several instruments, as in a song with a track for each hand, which
    a model trained on such songs plays differently from one.
    """
    count = collections.Counter(programs)
    names = [
        "drums" if p == metadata.DRUMS else f"{n} {GM_PROGRAMS[p]}" if n > 1 else GM_PROGRAMS[p]
        for p, n in sorted(count.items())
    ]
    return ControlRequest(
        {"instruments": ", ".join(names)}, [frozenset({p}) for p in sorted(count)]
    )


def key(number: int) -> ControlRequest:
    """Asks for a key: tonic + 12 if minor."""
    return ControlRequest({"key": PITCH_NAMES[number % 12] + ("m" if number >= 12 else "")}, number)


def chords(half_bars: Sequence[int] | np.ndarray) -> ControlRequest:
    """Asks for chords (see `music.notes.NO_CHORD`) of half bars, int [2 B], B >= 1."""
    symbols = [chord_symbol(int(chord)) for chord in half_bars]
    bars = [[a] if a == b else [a, b] for a, b in zip(symbols[::2], symbols[1::2])]
    if all(len(bar) == 1 for bar in bars):
        text = " ".join(bar[0] for bar in bars)
    else:
        text = f"| {' | '.join(' '.join(bar) for bar in bars)} |"
    return ControlRequest({"chords": text}, np.asarray(half_bars))


def of_song(notes: Notes) -> dict[str, ControlRequest]:
    """Returns requests for a piece like a song, by control, without its length.

    Tempo, meter, instruments and density come from the notes, key and chords from the labels if
    there are any. Chords are those of the first `BARS` bars from the first chord on, as far as
    they are known.

    Args:
      notes: an aligned song (`music.beats.align`) that has notes.
    """
    known, (piece, _) = metadata.describe(notes), quantise(notes)
    played = piece.programs[:PITCHED_SLOTS]
    programs = [int(p) for p in played if p >= 0] + [metadata.DRUMS] * bool(notes.is_drum.any())
    requests = {
        "tempo": number("tempo", known.tempo),
        "meter": meter(*known.meter),
        "instruments": instruments(programs),
        "density": number("density", len(notes) * TICKS_PER_BEAT / notes.end),
    }
    if known.key >= 0:
        requests["key"] = key(known.key)
    chord = piece.chord.reshape(-1, 2)
    there = np.flatnonzero(((chord >= 0) & (chord != NO_CHORD)).any(1))
    first = int(there[0]) if len(there) else len(chord)
    unknown = np.flatnonzero((chord[first : first + BARS] < 0).any(1))
    progression = chord[first : first + (int(unknown[0]) if len(unknown) else BARS)]
    if len(progression):
        requests["chords"] = chords(progression.ravel())
    return requests


def finder(control: str, songs: Sequence[Notes]) -> list[float | None]:
    """Computes a control's `FIGURES` on songs with labelled keys or chords.

    The finder sees only their notes; it makes similar errors on composed pieces. None without
    labels of another origin.

    Args:
      control: ``key`` or ``chords``.
      songs: aligned songs of one dataset.
    """
    truth = metadata.main_key if control == "key" else lambda notes: quantise(notes)[0].chord
    pairs = [(notes, truth(notes)) for notes in _annotated(control, songs)]
    return [figure.over(pairs)[0] for figure in FIGURES[control]]


def _annotated(control: str, songs: Sequence[Notes]) -> list[Notes]:
    """Returns the songs whose key or chord labels do not come from our own chord recogniser.

    Datasets do not record the origin of labels. If those of all songs equal, to the tick, the ones
    that `music.harmony` infers, they were inferred and cannot test the finder.
    """
    column = "key" if control == "key" else "chord"
    known = [notes for notes in songs if len(getattr(notes.labels, column))]

    def inferred(notes: Notes) -> bool:
        found, labels = harmony.infer(notes), notes.labels
        pairs = ((getattr(found, c), getattr(labels, c)) for c in (column, f"{column}_tick"))
        return all(np.array_equal(ours, theirs) for ours, theirs in pairs)

    return [] if all(map(inferred, known)) else known


def _key(score: Callable[[int, int], float]) -> Callable[[Notes, int], float | None]:
    def of(notes: Notes, asked: int) -> float | None:
        found = _main_key(notes)
        return None if found is None else score(asked, found)

    return of


@functools.lru_cache(maxsize=1024)  # a piece is compared with many requests
def _main_key(notes: Notes) -> int | None:
    return adherence.main_key(notes)


def _levels(notes: Notes, asked: float) -> float | None:
    error = adherence.density_error(notes, asked)
    return None if error is None else abs(error)


def _fills(notes: Notes, seconds: float) -> float:
    exact = adherence.duration_error(notes, seconds) <= WITHIN_SECONDS
    return float(exact and adherence.opens_and_closes(notes))


FIGURES: dict[str, list[Figure]] = {
    "duration": [
        Figure(f"within {WITHIN_SECONDS} s, sounds in the first and last bar", _fills),
        Figure("off by (s, most)", adherence.duration_error, max),
    ],
    "tempo": [
        Figure(
            f"within {WITHIN_TEMPO:.0%}",
            lambda n, t: float(adherence.tempo_error(n, t) <= WITHIN_TEMPO),
        ),
        Figure("off by (share, most)", adherence.tempo_error, max),
    ],
    "meter": [Figure("all bars in it", lambda n, m: float(adherence.keeps_meter(n, m)))],
    "instruments": [
        Figure("every one and no other", lambda n, a: float(adherence.instruments(n, a) == (0, 0))),
        Figure("silent, per piece", lambda n, a: float(adherence.instruments(n, a)[0])),
        Figure("others, per piece", lambda n, a: float(adherence.instruments(n, a)[1])),
    ],
    "key": [
        Figure("main key is the same", _key(lambda a, b: float(a == b))),
        Figure("weighted for near keys", _key(adherence.key_score)),
    ],
    "chords": [
        Figure("half bars with the same triad", lambda n, c: adherence.chords(n, c)[0]),
        Figure("half bars with the same root", lambda n, c: adherence.chords(n, c)[1]),
    ],
    "density": [
        Figure("off by (levels, mean)", _levels),
        Figure("within a level", lambda n, d: None if (off := _levels(n, d)) is None else off <= 1),
    ],
}
"""Figures of each control."""
