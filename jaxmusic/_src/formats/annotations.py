"""Reads annotations that lie beside music as text: beats, chords and keys, as POP909 has them."""

from __future__ import annotations

import os
import re

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.saving import load
from jaxmusic._src.formats.symbols import chord_number
from jaxmusic._src.music.beats import BeatLabels
from jaxmusic._src.music.notes import NO_CHORD

NEAREST = {
    **{"": "maj", "maj": "maj", "maj6": "maj", "6": "maj", "aug": "aug"},
    **{"min": "min", "min6": "min", "minmaj7": "min"},
    **{"7": "7", "9": "7", "maj7": "maj7", "maj9": "maj7", "min7": "min7", "min9": "min7"},
    **{"dim": "dim", "dim7": "dim", "hdim7": "dim", "sus4": "sus4", "sus2": "sus2"},
    **{"5": "5", "1": "5", "sus4(b7)": "sus4", "sus4(b7,9)": "sus4"},
}
"""Quality of `music.notes.CHORD_QUALITIES` that stands for each quality of an annotation: the
one on the same root that shares most notes, the triad where several do."""
_DEGREES = {1: 0, 2: 2, 3: 4, 4: 5, 5: 7, 6: 9, 7: 11, 9: 2, 11: 5, 13: 9}
"""Semitones of the degrees of a major scale, in which annotations name a bass."""
_OVERLAP = 1e-3  # seconds: annotations are rounded


def read_beats(path: str | os.PathLike[str]) -> BeatLabels:
    """Reads a ``beat_midi.txt``: times of quarters, flags of two-beat and of four-beat bars.

    The second column marks every second (in triple time every third) beat, the third column every
    second of these. So bars open at the third column's marks, in triple time at the second's.

    Raises:
      UserError: the file cannot be read or is no such table.
    """
    table = _numbers(path, _rows(path, "a time in seconds and two flags"), "a time and two flags")
    marks = np.diff(np.flatnonzero(table[:, 1]))
    triple = len(marks) > 0 and np.median(marks) == 3
    return BeatLabels(table[:, 0], table[:, 1 if triple else 2] > 0)


def read_chords(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads a ``chord_midi.txt``: start, end and symbol of a chord on each line.

    Symbols are a root and a quality of `NEAREST` and perhaps a bass as a degree above the root,
    such as ``B:maj7`` or ``Eb:maj/3``, or ``N`` for no chord.

    Returns:
      Seconds [C] float64, chords [C] uint8 and semitones [C] uint8 of the bass above the root from
      there on, one for each change; there is no chord where the file names none, so the last is
      `NO_CHORD`.

    Raises:
      UserError: the file cannot be read, is no such table, or holds a chord of unknown quality.
    """
    start, end, symbols = _spans(path)
    chords = [_chord(path, symbol) for symbol in symbols]
    # Every end is a change to no chord, unless another chord begins there.
    silent = [t for t, after in zip(end, [*start[1:], np.inf]) if t < after]
    time = np.array([*start, *silent])
    chord = np.array(chords + [(NO_CHORD, 0)] * len(silent), np.uint8)
    order = np.argsort(time, kind="stable")
    time, chord = time[order], chord[order]
    new = np.append(True, (chord[1:] != chord[:-1]).any(1))
    return time[new], *chord[new].T


def read_keys(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads a ``key_audio.txt``: start, end and key, such as ``Gb:maj``, on each line.

    Returns:
      Seconds [K] float64 and keys [K] uint8 from there on: tonic + 12 if minor.

    Raises:
      UserError: the file cannot be read, is no such table, or holds what is no key.
    """
    start, _, symbols = _spans(path)
    keys = []
    for symbol in symbols:
        number = chord_number(symbol.replace(":maj", "").replace(":min", "m"))
        if number is None or number >= 24 or not symbol.endswith((":maj", ":min")):
            raise UserError(f"{path} holds {symbol}, which is no key: write it as C:maj or A:min.")
        keys.append(number)
    return start, np.array(keys, np.uint8)


def _chord(path: str | os.PathLike[str], symbol: str) -> tuple[int, int]:
    """Number of an annotated chord, and semitones of its bass above the root."""
    if symbol == "N":
        return NO_CHORD, 0
    match = re.fullmatch(r"([A-G][#b]*)(?::([^/]*))?(?:/([#b]*)(\d+))?", symbol)
    quality = NEAREST.get(match[2] or "") if match else None
    number = chord_number(match[1] + quality) if match and quality else None
    if match is None or number is None:
        known = ", ".join(filter(None, NEAREST))
        raise UserError(f"{path} holds the chord {symbol}, whose quality is none of {known}.")
    signs, degree = match[3] or "", int(match[4] or 1)
    if degree not in _DEGREES:
        raise UserError(f"{path} holds the chord {symbol}: write its bass as 3, b7 or 5.")
    return number, (_DEGREES[degree] + signs.count("#") - signs.count("b")) % 12


def _spans(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Starts, ends and symbols; starts ascend, and an end is no later than the next start."""
    rows = _rows(path, "a start, an end and a symbol")
    start, end = _numbers(path, [row[:2] for row in rows], "start, end and symbol").T
    earliest = np.append(0, end[:-1]) - _OVERLAP
    for k in np.flatnonzero(~((earliest <= start) & (start < end) & (end < np.inf))):
        raise UserError(
            f"{path} does not go forward in time at {rows[k][0]}: each line must end after it "
            "starts and start where the one before it ends, or later."
        )
    return start, end, [row[2] for row in rows]


def _numbers(path: str | os.PathLike[str], rows: list[list[str]], columns: str) -> np.ndarray:
    """Words as float64 [rows, columns]."""
    try:
        return np.array(rows, np.float64)
    except ValueError as error:
        raise UserError(
            f"{path} holds a word where a number belongs: give {columns} on each line."
        ) from error


def _rows(path: str | os.PathLike[str], columns: str) -> list[list[str]]:
    """Words of the lines that are not empty, three in each."""
    data = load(path)
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: give an annotation file.") from error
    rows = [line.split() for line in lines if line.strip()]
    if not rows or any(len(row) != 3 for row in rows):
        raise UserError(f"{path} is not a table of three columns: put {columns} on each line.")
    return rows
