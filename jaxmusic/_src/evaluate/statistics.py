"""The table of statistics of music, and measuring pieces with them.

The modules `pitch`, `rhythm`, `structure` and `sound` define them and name their sources. None of
them is better for being high or low; what counts is how near a set of pieces comes to another
(`evaluate.distance`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from tqdm.auto import tqdm

from jaxmusic._src.evaluate import bars, pitch, rhythm, sound, structure
from jaxmusic._src.formats.instruments import GM_FAMILIES
from jaxmusic._src.music.notes import Notes, check_aligned

Value = float | np.ndarray | None
"""A number, the shares of a histogram (float64 [K]), or None where a statistic is not defined."""


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A property of a piece, as a number or a histogram.

    Attributes:
      title: its name in a report.
      unit: its unit; empty for shares and counts.
      meaning: one plain sentence.
      of: computes it for an aligned piece.
      kinds: names of the entries of a histogram; empty for a number.
    """

    title: str
    unit: str
    meaning: str
    of: Callable[[Notes], Value]
    kinds: tuple[str, ...] = ()


_COMES_BACK = "How exactly a passage of {} comes back elsewhere in the piece, on average."
MEANINGS = {
    "pitch_class_entropy": "How evenly the notes spread over the twelve pitch classes.",
    "scale_consistency": "The share of notes that lie in the scale that holds most of them.",
    "pitches": "How many different pitches there are.",
    "pitch_classes": "How many of the twelve pitch classes there are.",
    "pitch_range": "How far the highest pitch is from the lowest.",
    "polyphony": "How many pitches sound at a time, on average, while any does.",
    "polyphony_rate": "The share of time in which two or more pitches sound.",
    "notes_per_second": "How many notes begin in a second, on average.",
    "notes_per_quarter": "How many notes begin in a quarter note, on average.",
    "durations": "The share of notes of each note value.",
    "inter_onsets": "The share of each note value among the times from one onset to the next.",
    "beat_positions": "The share of notes that begin on each 12th of a quarter note.",
    "bar_positions": "The share of notes that begin on each sixteenth of a bar of four quarters.",
    "groove_consistency": "How alike bars that follow each other are in where notes begin.",
    "groove_similarity": "How alike any two bars are in where notes begin.",
    "empty_beats": "The share of quarter notes in which nothing sounds.",
    "empty_bars": "The share of bars in which nothing sounds.",
    "bar_similarity_4": "How alike bars are that lie four bars apart.",
    "bar_similarity_8": "How alike bars are that lie eight bars apart.",
    "chord_irregularity": "How rarely three chords in a row come back: 1 if they never do.",
    "structureness_short": _COMES_BACK.format("3 to 8 seconds"),
    "structureness_medium": _COMES_BACK.format("8 to 15 seconds"),
    "structureness_long": _COMES_BACK.format("15 seconds or more"),
    "instruments": "How many different instruments play, all drums as one.",
    "instrument_use": "The share of notes of each family of instruments and of drums.",
    "velocity_mean": "How loud notes are, on average.",
    "velocity_range": "How far the loudest note is from the softest.",
    "tempo": "The mean tempo, each for as long as it holds.",
}
"""One plain sentence on each statistic, in the order of reports."""
KINDS = {
    "durations": rhythm.NOTE_VALUE_NAMES,
    "inter_onsets": rhythm.NOTE_VALUE_NAMES,
    "beat_positions": tuple(f"{i}/12" for i in range(12)),
    "bar_positions": tuple(f"{i + 1}" for i in range(16)),
    "instrument_use": (*GM_FAMILIES, "drums"),
}
"""Names of the entries of each histogram."""


def _bar_similarity(lag: int) -> Callable[[Notes], Value]:
    return lambda notes: bars.similarity(notes, (lag,))[lag]


def _structureness(span: str) -> Callable[[Notes], Value]:
    return functools.partial(structure.structureness, span=span)


_ROWS: tuple[tuple[str, str, str, Callable[[Notes], Value]], ...] = (
    ("pitch_class_entropy", "pitch-class entropy", "bits", pitch.pitch_class_entropy),
    ("scale_consistency", "scale consistency", "", pitch.scale_consistency),
    ("pitches", "pitches", "", pitch.pitches),
    ("pitch_classes", "pitch classes", "", pitch.pitch_classes),
    ("pitch_range", "pitch range", "semitones", pitch.pitch_range),
    ("polyphony", "polyphony", "pitches", pitch.polyphony),
    ("polyphony_rate", "polyphony rate", "", pitch.polyphony_rate),
    ("notes_per_second", "notes per second", "1/s", rhythm.notes_per_second),
    ("notes_per_quarter", "notes per quarter", "1/quarter", rhythm.notes_per_quarter),
    ("durations", "durations", "", rhythm.durations),
    ("inter_onsets", "times between onsets", "", rhythm.inter_onsets),
    ("beat_positions", "positions in the beat", "", rhythm.beat_positions),
    ("bar_positions", "positions in the bar", "", rhythm.bar_positions),
    ("groove_consistency", "groove consistency", "", rhythm.groove_consistency),
    ("groove_similarity", "groove similarity", "", rhythm.groove_similarity),
    ("empty_beats", "empty beats", "", rhythm.empty_beats),
    ("empty_bars", "empty bars", "", rhythm.empty_bars),
    ("bar_similarity_4", "bar similarity, lag 4", "", _bar_similarity(4)),
    ("bar_similarity_8", "bar similarity, lag 8", "", _bar_similarity(8)),
    ("chord_irregularity", "chord irregularity", "", structure.chord_irregularity),
    ("structureness_short", "structureness, 3 to 8 seconds", "", _structureness("short")),
    ("structureness_medium", "structureness, 8 to 15 seconds", "", _structureness("medium")),
    ("structureness_long", "structureness, 15 seconds or more", "", _structureness("long")),
    ("instruments", "instruments", "", sound.instruments),
    ("instrument_use", "instrument use", "", sound.instrument_use),
    ("velocity_mean", "mean velocity", "MIDI velocity", sound.velocity_mean),
    ("velocity_range", "velocity range", "MIDI velocity", sound.velocity_range),
    ("tempo", "tempo", "quarters/min", sound.tempo),
)
STATISTICS = {
    name: Statistic(title, unit, MEANINGS[name], of, KINDS.get(name, ()))
    for name, title, unit, of in _ROWS
}
"""All statistics in the order of reports."""


def measure(notes: Notes) -> dict[str, Value]:
    """Computes all `STATISTICS` of an aligned piece by name; None if undefined.

    Raises:
      UserError: the piece is not aligned.
    """
    check_aligned(notes)
    return {name: statistic.of(notes) for name, statistic in STATISTICS.items()}


def measure_all(pieces: Iterable[Notes], progress: bool = False) -> dict[str, list[Value]]:
    """Computes all `STATISTICS` by name for each of N pieces, in order.

    Args:
      pieces: aligned pieces.
      progress: show a progress bar on stderr if it takes over two seconds.

    Raises:
      UserError: a piece is not aligned.
    """
    shown = tqdm(pieces, desc="measuring", unit=" pieces", delay=2, disable=not progress)
    rows = [measure(notes) for notes in shown]
    return {name: [row[name] for row in rows] for name in STATISTICS}


def mean_and_deviation(values: Sequence[Value]) -> tuple[Value, Value]:
    """Computes mean and standard deviation over the pieces with a defined statistic.

    Returns:
      Both None without pieces; the deviation (of the sample: n - 1) is None for a single one.
    """
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return None, None
    return _plain(known.mean(0)), _plain(known.std(0, ddof=1)) if len(known) > 1 else None


def _plain(value: np.ndarray) -> Value:
    return value if value.ndim else float(value)
