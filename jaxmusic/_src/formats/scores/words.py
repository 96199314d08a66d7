"""Chords, keys, sections and titles as the words and numbers of scores give them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jaxmusic._src.formats.symbols import changed, chord_changes, pitch_class
from jaxmusic._src.music.notes import CHORD_QUALITIES, NO_CHORD, Labels

# Degree of the major scale, in semitones, that a mode begins on; and whether its third is minor.
# Three letters tell them apart; what is no mode counts as major.
_MODES = {"m": (9, 1), "min": (9, 1), "aeo": (9, 1), "dor": (2, 1), "phr": (4, 1)}
_MODES |= {"lyd": (5, 0), "mix": (7, 0), "loc": (11, 1)}

_MAJ, _MIN, _7, _MAJ7, _MIN7, _DIM, _SUS4, _AUG, _SUS2, _5 = range(len(CHORD_QUALITIES))
KINDS = {
    **{kind: _MAJ for kind in ("major", "major-sixth")},
    **{kind: _MIN for kind in ("minor", "minor-sixth", "major-minor")},
    **{kind: _7 for kind in ("dominant", "dominant-ninth", "dominant-11th", "dominant-13th")},
    **{kind: _MAJ7 for kind in ("major-seventh", "major-ninth", "major-11th", "major-13th")},
    **{kind: _MIN7 for kind in ("minor-seventh", "minor-ninth", "minor-11th", "minor-13th")},
    **{kind: _DIM for kind in ("diminished", "diminished-seventh", "half-diminished")},
    **{kind: _SUS4 for kind in ("suspended-fourth",)},
    **{"augmented": _AUG, "augmented-seventh": _AUG, "suspended-second": _SUS2, "power": _5},
}
"""MusicXML's kinds of chords by the quality, see `notes.CHORD_QUALITIES`, that is nearest."""

# The rest of a chord symbol decides by how it begins; the first that fits counts.
_SUFFIXES = (
    (r".*sus2", _SUS2),
    (r".*sus", _SUS4),
    (r"(dim|o|°|ø|d$|m7b5|m7-5|min7b5|-7b5)", _DIM),
    (r"(maj|Maj|MAJ|ma|M|Δ|j)(7|9|11|13)|Δ", _MAJ7),
    (r"(maj|Maj|MAJ|M)", _MAJ),
    (r"(min|mi|m|-)(7|9|11|13)", _MIN7),
    (r"(min|mi|m|-)", _MIN),
    (r"aug|\+|a$", _AUG),
    (r"7|9|11|13", _7),
    (r"5$", _5),
    (r"6|add|2|5|$", _MAJ),
)
_NO_TITLE = {"", "title", "untitled", "untitled score", "score", "new score", "no title"}


def chord_of(symbol: str) -> int | None:
    """Number of the chord, see `notes.NO_CHORD`, that is nearest to a chord symbol.

    Bass and added notes are left aside: C/E and C6 are C, C9 is C7, Caug7 is Caug, Cm7b5 is Cdim.
    None for what is no chord symbol.
    """
    symbol = symbol.strip().strip("()").strip()
    if symbol.upper().rstrip(".") in ("N.C", "NC"):
        return NO_CHORD
    match = re.match(r"([A-G])([#b♯♭]*)([^/]*)(/.*)?$", symbol)
    if not match:
        return None
    root = pitch_class(match[1], match[2])
    quality = next((q for pattern, q in _SUFFIXES if re.match(pattern, match[3].strip())), None)
    return None if quality is None else quality * 12 + root


def key_number(fifths: int, mode: str) -> int:
    """Returns the key of a number of sharps (flats below 0): tonic + 12 if its third is minor."""
    degree, minor = _MODES.get(mode.strip().lower()[:3], (0, 0))
    return (7 * fifths + degree) % 12 + 12 * minor


def abc_key(text: str) -> int | None:
    """Key of ABC's field K, as in ``Am`` or ``D mix``; None where it names none."""
    match = re.match(r"\s*([A-G])([#b]?)\s*([A-Za-z]*)", text)
    if not match:
        return 9 if re.match(r"\s*H[Pp]", text) else None  # the pipes' scale is A mixolydian
    _, minor = _MODES.get(match[3].lower()[:3], (0, 0))
    return pitch_class(match[1], match[2]) + 12 * minor


def song_title(text: str) -> str:
    """A title in one line, or nothing where it is what a program writes when none was given."""
    title = " ".join(text.split())
    return "" if title.lower() in _NO_TITLE else title


def labels(
    song: str,
    keys: Iterable[tuple[int, int]],
    chords: Iterable[tuple[int, int, int]],
    sections: Iterable[tuple[int, int]] = (),
    phrases: Iterable[tuple[int, int]] = (),
) -> Labels:
    """Labels from (tick, value) pairs and (tick, chord, bass) triples, all in any order.

    Keys that repeat what holds are left out.
    """
    key = changed(list(dict(sorted(keys, key=lambda pair: pair[0])).items()))
    chord = {row[0]: row for row in sorted(chords, key=lambda row: row[0])}
    changes = {"key": key, "section": sections, "phrase": phrases}
    return Labels.of_changes(changes | chord_changes(chord.values()), song=song)
