"""Chords, keys, sections and names as musicians write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from jaxmusic._src.formats.scores.spelling import STEPS, spell_root
from jaxmusic._src.music.notes import NO_CHORD, PHRASES, PITCH_NAMES, SECTIONS, Labels

_SUFFIXES = ("", "m", "7", "maj7", "m7", "dim", "sus4", "aug", "sus2", "5")
"""In the order of `music.notes.CHORD_QUALITIES`."""
_ALIASES = {
    **{"maj": "", "M": "", "min": "m", "-": "m", "M7": "maj7", "min7": "m7", "-7": "m7"},
    **{"o": "dim", "°": "dim", "sus": "sus4", "+": "aug"},
}
_QUALITIES = {suffix: quality for quality, suffix in enumerate(_SUFFIXES)}
_QUALITIES |= {alias: _QUALITIES[suffix] for alias, suffix in _ALIASES.items()}
SECTION_ALIASES = {
    **{"refrain": "chorus", "hook": "chorus", "strophe": "verse", "middle8": "bridge"},
    **{"opening": "intro", "introduction": "intro", "coda": "outro", "ending": "outro"},
    **{"conclusion": "outro"},
}
"""Other names of sections."""
NEAREST_SECTIONS = {
    **{"prechorus": "verse", "pre-chorus": "verse", "postchorus": "chorus"},
    **{"post-chorus": "chorus", "solo": "bridge", "interlude": "bridge", "instrumental": "bridge"},
    **{"break": "bridge", "breakdown": "bridge", "drop": "chorus", "build": "verse"},
}
"""Sections that models know nothing of, and those that are nearest."""
_SECTIONS = {name: name for name in SECTIONS} | NEAREST_SECTIONS | SECTION_ALIASES
_MOST_WORDS = 3  # of a mark that names a section, as in Last Chorus
_JUMPS = {"to", "al", "da", "scripts"}
"""Words of marks of jumps, the last of them LilyPond's."""
_SIGNS = {"#": 1, "♯": 1, "b": -1, "♭": -1}
_PITCH = r"([A-G])([#b]*)"
_PHRASE = "phrase "
T = TypeVar("T")


def hyphenated(name: str) -> str:
    """Writes a name as one word, as names are compared: ``Slip jig`` as ``slip-jig``."""
    return "-".join(name.lower().replace("_", " ").replace("-", " ").split())


def chord_symbol(chord: int, bass: int = 0, fifths: int | None = None) -> str:
    """Writes a chord as a symbol such as ``Am7`` or ``C/E``; N.C. is none.

    Args:
      chord: its number, see `music.notes.NO_CHORD`.
      bass: semitones, 0 to 11, of the bass above the root.
      fifths: key signature, sharps or flats below 0, in which roots are spelled; None for the
        commonest name of each.
    """
    if chord == NO_CHORD:
        return "N.C."
    quality, root = divmod(int(chord), 12)
    suffix = _SUFFIXES[quality]

    def name(pitch: int) -> str:
        if fifths is None:
            return PITCH_NAMES[pitch % 12]
        return _pitch_name(pitch, fifths, suffix == "dim")

    return name(root) + suffix + (f"/{name(root + int(bass))}" if bass else "")


def _pitch_name(pitch: int, fifths: int, diminished: bool = False) -> str:
    """Names a pitch class in a key signature."""
    step, alter = spell_root(pitch, fifths, diminished)
    return step + ("b", "", "#")[alter + 1]


def read_symbol(symbol: str) -> tuple[int, int] | None:
    """Reads the number of a chord symbol and its bass, see `chord_symbol`; None for others."""
    if symbol == "N.C.":
        return NO_CHORD, 0
    match = re.fullmatch(rf"{_PITCH}([^/]*)(?:/{_PITCH})?", symbol)
    if not match or match[3] not in _QUALITIES:
        return None
    root = pitch_class(match[1], match[2])
    bass = (pitch_class(match[4], match[5]) - root) % 12 if match[4] else 0
    return _QUALITIES[match[3]] * 12 + root, bass


def chord_number(symbol: str) -> int | None:
    """Reads the number of a chord symbol, its bass left aside; None for others."""
    found = read_symbol(symbol)
    return None if found is None else found[0]


def pitch_class(letter: str, signs: str) -> int:
    """Returns the pitch class of a letter from A to G with any number of sharps or flats."""
    return (STEPS[letter] + sum(_SIGNS[sign] for sign in signs)) % 12


def chords_over_basses(labels: Labels) -> list[tuple[int, int, int]]:
    """Lists the (tick, chord, bass) at which chord or bass changes, see `chord_symbol`."""
    ticks = np.union1d(labels.chord_tick, labels.bass_tick)
    ticks = ticks[ticks >= labels.chord_tick[0]] if len(labels.chord) else ticks[:0]
    chord = labels.chord[np.searchsorted(labels.chord_tick, ticks, side="right") - 1]
    at = np.searchsorted(labels.bass_tick, ticks, side="right") - 1
    bass = np.append(labels.bass, 0)[at]  # -1 stands for none yet
    return list(zip(ticks.tolist(), chord.tolist(), bass.tolist()))


def chord_symbols(labels: Labels) -> tuple[np.ndarray, list[str]]:
    """Writes the chords of a piece: ticks [S] at which chord or bass changes, and symbols."""
    rows = chords_over_basses(labels)
    ticks = np.array([tick for tick, _, _ in rows], np.int32)
    fifths = signatures(labels, ticks, None)
    return ticks, [chord_symbol(chord, bass, f) for f, (_, chord, bass) in zip(fifths, rows)]


def signatures(labels: Labels, ticks: np.ndarray, otherwise: T) -> list[int | T]:
    """Returns the key signature at each tick [N], see `key_fifths`, `otherwise` without a key."""
    fifths: list[int | T] = [otherwise, *(key_fifths(key)[0] for key in labels.key)]
    return [fifths[i] for i in np.searchsorted(labels.key_tick, ticks, side="right")]


def chord_changes(chords: Iterable[tuple[int, int, int]]) -> dict[str, list[tuple[int, int]]]:
    """Sorts (tick, chord, bass) triples into changes for `Labels.of_changes`.

    Basses are labelled only where some chord has another bass than its root.
    """
    rows = list(chords)
    chord, bass = [(t, c) for t, c, _ in rows], [(t, b) for t, _, b in rows]
    if not any(above for _, above in bass):
        return {"chord": chord}
    return {"chord": changed(chord), "bass": changed(bass)}


def changed(pairs: Sequence[tuple[int, T]]) -> list[tuple[int, T]]:
    """Leaves out (tick, value) pairs that repeat the value before."""
    return [pair for i, pair in enumerate(pairs) if not i or pair[1] != pairs[i - 1][1]]


def phrase_mark(phrase: int) -> str:
    """Writes the label of a phrase, as in ``phrase A``."""
    return f"{_PHRASE}{PHRASES[phrase]}"


def read_phrase(text: str) -> int | None:
    """Reads the number of a phrase, see `phrase_mark`; None for other texts."""
    name = text.removeprefix(_PHRASE)
    return PHRASES.index(name) if name != text and name in PHRASES else None


def read_section(text: str) -> int | None:
    """Reads the section that a marker or rehearsal mark names; None for others.

    The first word that names one counts, with or without a number: ``Verse 2``, ``[Chorus]``,
    ``Guitar Solo`` and ``Pre-Chorus`` do. Sentences and jumps such as ``To Coda`` name none.
    """
    joined = re.sub(r"\b(?:(pre|post)[ _-]+(?=chorus)|(middle) (?=8))", r"\1\2", text.lower())
    words = re.findall(r"middle8|[^\W\d_]+", joined)
    names = [_SECTIONS[word] for word in words if word in _SECTIONS]
    if not names or len(words) > _MOST_WORDS or not _JUMPS.isdisjoint(words):
        return None
    return SECTIONS.index(names[0])


def form(labels: Labels) -> list[tuple[int, str]]:
    """Lists the sections and phrases of a piece: (tick, name), as in ``verse`` or ``verse A``."""
    names: dict[int, list[str]] = {}
    for tick, section in labels.changes("section"):
        names.setdefault(tick, []).append(SECTIONS[section])
    for tick, phrase in labels.changes("phrase"):
        names.setdefault(tick, []).append(PHRASES[phrase])
    return [(tick, " ".join(words)) for tick, words in sorted(names.items())]


def key_name(key: int) -> str:
    """Returns a key (tonic, + 12 if minor) as in ``A minor``."""
    fifths, minor = key_fifths(key)
    return f"{_pitch_name(key, fifths)} {'minor' if minor else 'major'}"


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
