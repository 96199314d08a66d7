"""Chords, keys and sections as musicians write them."""

from __future__ import annotations

import re

from jaxmusic.music.notes import NO_CHORD, PITCH_NAMES

_SUFFIXES = ("", "m", "7", "maj7", "m7", "dim", "sus4")  # in the order of notes.CHORD_QUALITIES
_ALIASES = dict(maj=0, M=0, min=1, M7=3, min7=4, o=5, sus=6) | {"-": 1, "-7": 4, "°": 5}
_QUALITIES = {suffix: quality for quality, suffix in enumerate(_SUFFIXES)} | _ALIASES
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def chord_symbol(chord: int) -> str:
    """Chord number, see `music.notes.NO_CHORD`, as a symbol such as ``Am7``; N.C. is none."""
    if chord == NO_CHORD:
        return "N.C."
    quality, root = divmod(int(chord), 12)
    return PITCH_NAMES[root] + _SUFFIXES[quality]


def chord_number(symbol: str) -> int | None:
    """Number of a chord symbol, its bass left aside; None for chords that have no number."""
    if symbol == "N.C.":
        return NO_CHORD
    match = re.fullmatch(r"([A-G])([#b]*)([^/]*)(/[A-G][#b]*)?", symbol)
    if not match or match[3] not in _QUALITIES:
        return None
    root = _LETTERS[match[1]] + match[2].count("#") - match[2].count("b")
    return _QUALITIES[match[3]] * 12 + root % 12


def key_name(key: int) -> str:
    """Returns a key (tonic, + 12 if minor) as in ``A minor``."""
    return f"{PITCH_NAMES[key % 12]} {'minor' if key >= 12 else 'major'}"


def key_fifths(key: int) -> tuple[int, bool]:
    """Key signature of a key (tonic, + 12 if minor): sharps, or flats below 0; and if minor."""
    key = int(key)
    minor = key >= 12
    relative_major = (key + 3) % 12 if minor else key
    # Each sharp raises the tonic by a fifth, 7 semitones; 7 is its own inverse modulo 12. What
    # comes out is -5 (D flat) to 6 (F sharp).
    return (relative_major * 7 + 5) % 12 - 5, minor


def fifths_key(fifths: int, minor: bool) -> int:
    """The key of a key signature, see `key_fifths`."""
    return (fifths * 7 + 9 * minor) % 12 + 12 * minor
