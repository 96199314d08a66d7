"""Keys and progressions of chords as musicians type them, and the notes that go with them."""

from __future__ import annotations

import re

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.symbols import pitch_class
from jaxmusic._src.music.notes import CHORD_COUNT, CHORD_QUALITIES, CHORD_TONES, NO_CHORD

_ROOT = r"([A-G])([#b♯♭]*)"

SPELLINGS = {
    "maj": "maj|M|major|6|maj6|M6|add9|add2|6/9|69|",
    "min": "m|min|mi|-|minor|m6|min6|-6|m69|m6/9|madd9|m(add9)|mM7|mmaj7|m(maj7)|-Δ",
    "7": "7|dom7|9|13|7b9|7#9|7#11|7b13|7(b9)|7(#9)|7(#11)|7(b13)",
    "maj7": "maj7|M7|ma7|j7|Δ|Δ7|maj9|M9|Δ9|maj13|M13|maj7#11|maj7(#11)|M7#11",
    "min7": "m7|min7|mi7|-7|m9|min9|mi9|-9|m11|min11|-11|m13",
    "dim": "dim|°|o|dim7|°7|o7|m7b5|m7(b5)|min7b5|-7b5|ø|ø7",
    "sus4": "sus4|sus|7sus4|7sus|9sus4|9sus",
    "aug": "aug|+|aug7|+7|7#5|7(#5)|maj7#5|maj7(#5)",
    "sus2": "sus2|2",
    "5": "5|no3|(no3)",
}
"""How the qualities of chords are written. What is richer counts as the quality that it enriches: a
ninth as the seventh chord, a sixth as the triad, a half-diminished chord as the diminished one."""
_QUALITIES = {
    spelling: CHORD_QUALITIES.index(quality)
    for quality, spellings in SPELLINGS.items()
    for spelling in spellings.split("|")
}

SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 9, 10, 11))
"""Semitones above the tonic of major, and of natural, harmonic and melodic minor together."""


def read_key(text: str) -> int:
    """Reads a key (tonic, 0 is C, + 12 if minor), as in ``C``, ``Bb major`` or ``Am``.

    Raises:
      UserError: it is no key.
    """
    plain = re.sub(r"[ -](sharp|flat)", lambda m: {"s": "#", "f": "b"}[m[1][0]], text.strip())
    match = re.fullmatch(
        rf"{_ROOT}(?: ?(major|maj|M)| ?(minor|min|m))?", plain[:1].upper() + plain[1:]
    )
    if not match:
        raise UserError(f"{text!r} is not a key: write C, Bb major, F# minor or Am")
    return pitch_class(match[1], match[2]) + 12 * bool(match[4])


def read_chord(symbol: str) -> tuple[int, int]:
    """Reads the number of a chord symbol, see `notes.NO_CHORD`, and its bass.

    Returns:
      The chord, and the semitones, 0 to 11, of a bass after a slash above the root; -1 without one.

    Raises:
      UserError: it is no chord, or none that the vocabulary has.
    """
    if symbol.upper().rstrip(".") in ("N.C", "NC"):
        return NO_CHORD, -1
    match = re.fullmatch(rf"{_ROOT}(.*?)(?:/{_ROOT})?", symbol)
    quality = _QUALITIES.get(match[3]) if match else None
    if match is None or quality is None:
        raise UserError(
            f"chord {symbol!r} is not understood: write a root from A to G with # or b, then "
            "nothing, m, 7, maj7, m7, dim, aug, sus4, sus2 or 5, and perhaps a bass, as in Bb, "
            "F#m7 or C/E"
        )
    root = pitch_class(match[1], match[2])
    bass = (pitch_class(match[4], match[5]) - root) % 12 if match[4] else -1
    return quality * 12 + root, bass


def read_progression(text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Reads the chord of each half bar of a progression and its bass, see `read_chord`.

    Each chord fills a bar, as in ``C G/B Am F``. Between bar lines a bar holds one chord or two,
    as in ``C | G Am | F``.

    Raises:
      UserError: a chord cannot be read, or a bar holds more than two.
    """
    if "|" in text:
        bars = [bar.split() for bar in re.split(r"\|+", text.strip().strip("|"))]
    else:
        bars = [[symbol] for symbol in text.replace(",", " ").split()]
    for number, bar in enumerate(bars, 1):
        if not 1 <= len(bar) <= 2:
            raise UserError(
                f"bar {number} of the chords {text!r} holds {len(bar) or 'no'} chords: write one "
                "or two between bar lines"
            )
    found = [read_chord(symbol) for bar in bars for symbol in (bar * 2)[:2]]
    if all(chord == NO_CHORD for chord, _ in found):
        raise UserError(f"the progression {text!r} holds no chord: write one, as in C G Am F")
    return tuple(chord for chord, _ in found), tuple(bass for _, bass in found)


def scale(key: int) -> np.ndarray:
    """Masks the pitch classes of a key, bool [12]."""
    out = np.zeros(12, bool)
    out[(key % 12 + np.array(SCALES[key // 12])) % 12] = True
    return out


def fitting_tones(key: int, by_chord: bool) -> np.ndarray:
    """Returns the pitch classes that go with each chord in a key.

    With a chord go its tones, and its available tensions: notes of the key that lie a whole tone
    above one of its tones (Nettles & Graf, "The Chord Scale Theory and Jazz Harmony", 1997).

    Args:
      key: tonic + 12 if minor.
      by_chord: False lets all notes of the key go with every chord.

    Returns:
      Bool [NO_CHORD + 2, 12], the last row for a place where no chord is known.
    """
    of_key = scale(key)
    out = np.repeat(of_key[None], NO_CHORD + 2, 0)
    if by_chord:
        for chord in range(CHORD_COUNT):
            tones = (chord % 12 + np.array(CHORD_TONES[chord // 12])) % 12
            above = (tones + 2) % 12
            out[chord] = False
            out[chord, above[of_key[above]]] = True
            out[chord, tones] = True
    return out
