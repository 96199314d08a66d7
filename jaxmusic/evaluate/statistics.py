"""The table of statistics of music, and measuring pieces with them.

The modules `pitch`, `rhythm`, `structure` and `sound` define them and name their sources. None of
them is better for being high or low; what counts is how near a set of pieces comes to another
(`jaxmusic.evaluate.distance`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from tqdm.auto import tqdm

from jaxmusic.evaluate import bars, pitch, rhythm, sound, structure
from jaxmusic.formats.instruments import GM_FAMILIES
from jaxmusic.music.notes import Notes, check_aligned

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


def _structureness(span: str, words: str) -> Statistic:
    return Statistic(
        f"structureness, {words}",
        "",
        f"How exactly a passage of {words} comes back elsewhere in the piece, on average.",
        functools.partial(structure.structureness, span=span),
    )


def _bar_similarity(lag: int, words: str) -> Statistic:
    return Statistic(
        f"bar similarity, lag {lag}",
        "",
        f"How alike bars are that lie {words} bars apart.",
        lambda notes: bars.similarity(notes, (lag,))[lag],
    )


STATISTICS: dict[str, Statistic] = {
    "pitch_class_entropy": Statistic(
        "pitch-class entropy",
        "bits",
        "How evenly the notes spread over the twelve pitch classes.",
        pitch.pitch_class_entropy,
    ),
    "scale_consistency": Statistic(
        "scale consistency",
        "",
        "The share of notes that lie in the scale that holds most of them.",
        pitch.scale_consistency,
    ),
    "pitches": Statistic("pitches", "", "How many different pitches there are.", pitch.pitches),
    "pitch_classes": Statistic(
        "pitch classes", "", "How many of the twelve pitch classes there are.", pitch.pitch_classes
    ),
    "pitch_range": Statistic(
        "pitch range",
        "semitones",
        "How far the highest pitch is from the lowest.",
        pitch.pitch_range,
    ),
    "polyphony": Statistic(
        "polyphony",
        "pitches",
        "How many pitches sound at a time, on average, while any does.",
        pitch.polyphony,
    ),
    "polyphony_rate": Statistic(
        "polyphony rate",
        "",
        "The share of time in which two or more pitches sound.",
        pitch.polyphony_rate,
    ),
    "notes_per_second": Statistic(
        "notes per second",
        "1/s",
        "How many notes begin in a second, on average.",
        rhythm.notes_per_second,
    ),
    "notes_per_quarter": Statistic(
        "notes per quarter",
        "1/quarter",
        "How many notes begin in a quarter note, on average.",
        rhythm.notes_per_quarter,
    ),
    "durations": Statistic(
        "durations",
        "",
        "The share of notes of each note value.",
        rhythm.durations,
        rhythm.NOTE_VALUE_NAMES,
    ),
    "inter_onsets": Statistic(
        "times between onsets",
        "",
        "The share of each note value among the times from one onset to the next.",
        rhythm.inter_onsets,
        rhythm.NOTE_VALUE_NAMES,
    ),
    "beat_positions": Statistic(
        "positions in the beat",
        "",
        "The share of notes that begin on each 12th of a quarter note.",
        rhythm.beat_positions,
        tuple(f"{i}/12" for i in range(12)),
    ),
    "bar_positions": Statistic(
        "positions in the bar",
        "",
        "The share of notes that begin on each sixteenth of a bar of four quarters.",
        rhythm.bar_positions,
        tuple(f"{i + 1}" for i in range(16)),
    ),
    "groove_consistency": Statistic(
        "groove consistency",
        "",
        "How alike bars that follow each other are in where notes begin.",
        rhythm.groove_consistency,
    ),
    "groove_similarity": Statistic(
        "groove similarity",
        "",
        "How alike any two bars are in where notes begin.",
        rhythm.groove_similarity,
    ),
    "empty_beats": Statistic(
        "empty beats",
        "",
        "The share of quarter notes in which nothing sounds.",
        rhythm.empty_beats,
    ),
    "empty_bars": Statistic(
        "empty bars", "", "The share of bars in which nothing sounds.", rhythm.empty_bars
    ),
    "bar_similarity_4": _bar_similarity(4, "four"),
    "bar_similarity_8": _bar_similarity(8, "eight"),
    "chord_irregularity": Statistic(
        "chord irregularity",
        "",
        "How rarely three chords in a row come back: 1 if they never do.",
        structure.chord_irregularity,
    ),
    "structureness_short": _structureness("short", "3 to 8 seconds"),
    "structureness_medium": _structureness("medium", "8 to 15 seconds"),
    "structureness_long": _structureness("long", "15 seconds or more"),
    "instruments": Statistic(
        "instruments",
        "",
        "How many different instruments play, all drums as one.",
        sound.instruments,
    ),
    "instrument_use": Statistic(
        "instrument use",
        "",
        "The share of notes of each family of instruments and of drums.",
        sound.instrument_use,
        (*GM_FAMILIES, "drums"),
    ),
    "velocity_mean": Statistic(
        "mean velocity", "MIDI velocity", "How loud notes are, on average.", sound.velocity_mean
    ),
    "velocity_range": Statistic(
        "velocity range",
        "MIDI velocity",
        "How far the loudest note is from the softest.",
        sound.velocity_range,
    ),
    "tempo": Statistic(
        "tempo", "quarters/min", "The mean tempo, each for as long as it holds.", sound.tempo
    ),
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
