"""How pitches are spelled and on which staff they stand."""

from __future__ import annotations

import numpy as np

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""Semitones of the natural notes above C."""
_FIFTHS = "FCGDAEB"  # steps in the order of fifths; F is -1 when C is 0
_KEYBOARDS = (*range(9), *range(16, 24), 46)  # pianos and their kin, organs, the harp
_BASSES = (*range(32, 40), 43)
_MIDDLE, _UNSURE = 60, 7
"""Pitch between two hands, and semitones around it where the nearer hand plays."""
_DIATONIC = np.array([0, 2, 4, 5, 7, 9, 11])


def fifths_of(pitch: np.ndarray) -> int:
    """The key signature, -5 to 6 sharps, that most of the pitches [N] belong to."""
    count = np.bincount(np.asarray(pitch, int) % 12, minlength=12)
    inside = {f: int(count[(_DIATONIC + 7 * f) % 12].sum()) for f in range(-5, 7)}
    return max(inside, key=lambda f: (inside[f], -abs(f)))


def spell(pitch: int, fifths: int) -> tuple[str, int, int]:
    """Returns step, alteration and octave of a pitch in a key signature.

    Of the names that a pitch has, the one nearest on the line of fifths is taken: in C major E
    flat, B flat, F sharp, C sharp and G sharp.
    """
    step, alter = _name(pitch, fifths - 3)
    return step, alter, (pitch - alter - STEPS[step]) // 12 - 1


def spell_root(pitch: int, fifths: int, diminished: bool = False) -> tuple[str, int]:
    """Returns step and alteration of the root or bass of a chord in a key signature.

    In C major D flat, E flat, F sharp, A flat and B flat; but C sharp and G sharp of diminished
    chords, whose roots are leading notes. No root has two signs.
    """
    return _name(pitch, min(max(fifths - (3 if diminished else 5), -7), 0))


def _name(pitch: int, lowest: int) -> tuple[str, int]:
    """Step and alteration, of the twelve names that are `lowest` or more fifths above C."""
    # 7 is its own inverse modulo 12.
    place = (7 * (pitch % 12) - lowest) % 12 + lowest
    return _FIFTHS[(place + 1) % 7], (place + 1) // 7


def accidental(
    step: str, alter: int, octave: int, fifths: int, signs: dict[str, int], tied: bool
) -> str:
    """Name of the accidental to print, or nothing where it is understood.

    Args:
      step, alter, octave: the note.
      fifths: the key signature.
      signs: accidentals in force in the bar; changed by what is printed.
      tied: whether the note is tied to the one before, whose accidental it keeps.
    """
    place = f"{step}{octave}"
    usual = (fifths - _FIFTHS.index(step) + 6) // 7
    if tied or signs.get(place, usual) == alter:
        return ""
    signs[place] = alter
    names = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
    return names[alter]


def hands(onset: np.ndarray, pitch: np.ndarray, program: int) -> np.ndarray:
    """Staff of each note [N], 0 above and 1 below, of a keyboard; 0 for what needs one staff.

    Notes near the middle belong to the hand that played nearest to them before.
    """
    staff = np.zeros(len(pitch), int)
    if program not in _KEYBOARDS or not (pitch.min() < _MIDDLE - 5 and pitch.max() >= _MIDDLE):
        return staff
    near = [float(_MIDDLE + 12), float(_MIDDLE - 12)]
    for i in np.lexsort((-pitch, onset)).tolist():
        height = float(pitch[i])
        if abs(height - _MIDDLE) >= _UNSURE:
            staff[i] = int(height < _MIDDLE)
        else:
            staff[i] = int(abs(height - near[1]) < abs(height - near[0]))
        near[staff[i]] += (height - near[staff[i]]) / 4
    return staff * (not staff.all())


def clef(pitch: np.ndarray, program: int, drum: bool) -> tuple[str, int, int]:
    """Sign, line and octave change of the clef for pitches [N] of one staff."""
    if drum:
        return "percussion", 0, 0
    if program in _BASSES:
        return "F", 4, -1
    return ("F", 4, 0) if np.median(pitch) < 57 else ("G", 2, 0)
