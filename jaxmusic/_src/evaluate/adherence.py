"""Measures adherence to controls: length, tempo, meter, instruments, harmony, density.

All functions take an aligned piece (`music.beats.align`), such as any composed one. Measures that
are undefined for a piece, such as the key of drums alone, are None.

Duration, tempo, meter and instruments are read off the piece. Key and chords are inferred from its
notes (`music.harmony`), so their figures measure the piece and the finder together;
compare them with the finder's figures on music with known keys and chords.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jaxmusic._src.data import metadata
from jaxmusic._src.music import harmony
from jaxmusic._src.music.controls import DENSITY_EDGES
from jaxmusic._src.music.notes import CHORD_QUALITIES, NO_CHORD, Notes, check_aligned


def duration_error(notes: Notes, seconds: float) -> float:
    """Computes the error of the duration in seconds: ``|end - asked|``.

    Time 0 opens bar 1 and no note passes the end, so the end alone decides.
    """
    return abs(float(notes.seconds(notes.end)) - seconds)


def opens_and_closes(notes: Notes) -> bool:
    """Returns whether both the first and the last bar hold an onset.

    The last bar is the one in which the piece ends; it may be shorter than a whole one.
    """
    check_aligned(notes)
    if not len(notes):
        return False
    line = harmony.half_bars(notes)[::2]
    first, last = line[1], line[line < notes.end].max()
    return bool(notes.onset[0] < first and notes.onset[-1] >= last)


def tempo_error(notes: Notes, qpm: float) -> float:
    """Computes the largest ``|tempo - asked| / asked`` of all tempos of the piece."""
    inside = (notes.tempo_tick == 0) | (notes.tempo_tick < notes.end)
    return float(np.abs(notes.tempo_qpm[inside] / qpm - 1).max())


def keeps_meter(notes: Notes, meter: tuple[int, int]) -> bool:
    """Returns whether all bars are in the meter (numerator, denominator)."""
    inside = (notes.meter_tick == 0) | (notes.meter_tick < notes.end)
    same = (notes.meter_num == meter[0]) & (notes.meter_den == meter[1])
    return bool(same[inside].all())


def instruments(notes: Notes, asked: Iterable[frozenset[int]]) -> tuple[int, int]:
    """Compares instruments that have notes with those asked for.

    Args:
      notes: the piece.
      asked: for each request the programs that fulfil it: one for an instrument, eight for a
        family; `data.metadata.DRUMS` stands for drums.

    Returns:
      How many that were asked for are silent, and how many other programs sound (drums as one).
    """
    requests = list(asked)
    sounding = np.unique(notes.track)
    heard = {metadata.DRUMS if notes.drum[t] else int(notes.program[t]) for t in sounding}
    missing = sum(not (request & heard) for request in requests)
    return missing, len(heard.difference(*requests))


def main_key(notes: Notes) -> int | None:
    """Returns the inferred key (tonic + 12 if minor) that lasts longest; labels are ignored."""
    found = harmony.infer(notes)
    return metadata.main_key(notes.replace(labels=found)) if len(found.key) else None


def key_score(asked: int, found: int) -> float:
    """Scores a found key by the rules of MIREX's audio key detection.

    1 for the key itself, 0.5 for the key a fifth above in the same mode, 0.3 for the relative key,
    0.2 for the parallel key, else 0; weights and direction of the fifth as in mir_eval (Raffel et
    al., "mir_eval: A Transparent Implementation of Common MIR Metrics", ISMIR 2014).

    Args:
      asked: tonic + 12 if minor.
      found: likewise.
    """
    minor = asked >= 12
    distance = (found - asked) % 12
    if minor == (found >= 12):
        return {0: 1.0, 7: 0.5}.get(distance, 0.0)
    return {3 if minor else 9: 0.3, 0: 0.2}.get(distance, 0.0)


def chords(notes: Notes, asked: np.ndarray) -> tuple[float | None, float | None]:
    """Compares the inferred chord of each half bar with the one asked for.

    Args:
      notes: the piece.
      asked: chords (see `music.notes.NO_CHORD`) of its half bars from the first on, int [H],
        H >= 1; begun again from the first where the piece has more.

    Returns:
      Two shares, None without any such half bar. Of those asked to have a chord with a major or
      minor third, or none: the same root and third, or none; a seventh makes no difference
      (mir_eval's ``majmin``). Of all half bars: the same root, or none (mir_eval's ``root``).
    """
    found = _chord_row(notes)
    if not len(found):
        return None, None
    wanted = np.resize(np.asarray(asked, np.int64), len(found))
    ours, theirs = _triads(found), _triads(wanted)
    comparable = theirs >= 0
    root = np.where(wanted == NO_CHORD, -1, wanted % 12)
    found_root = np.where(found == NO_CHORD, -1, found % 12)
    triads = float((ours == theirs)[comparable].mean()) if comparable.any() else None
    return triads, float((root == found_root).mean())


def _chord_row(notes: Notes) -> np.ndarray:
    """Infers the chord of each half bar before the end; empty without pitched notes."""
    found = harmony.infer(notes)
    tick, chord = found.chord_tick, found.chord
    if not len(chord):
        return chord.astype(np.int64)
    line = harmony.half_bars(notes)[:-1]
    at = np.searchsorted(tick, line[line < notes.end], side="right") - 1
    return chord[at].astype(np.int64)


def _triads(chord: np.ndarray) -> np.ndarray:
    """Returns 0-11 for major and 12-23 for minor by root, 24 for no chord, -1 for other triads."""
    thirds = {"maj": 0, "7": 0, "maj7": 0, "min": 1, "min7": 1}
    kinds = np.array([thirds.get(quality, -1) for quality in CHORD_QUALITIES])
    kind = kinds[np.minimum(chord // 12, len(kinds) - 1)]
    return np.where(chord == NO_CHORD, 24, np.where(kind < 0, -1, kind * 12 + chord % 12))


def density_error(notes: Notes, asked: float) -> float | None:
    """Computes by how many levels of density the piece is fuller (above 0) or sparser than asked.

    ``level(found) - level(asked)`` on the scale of `music.controls.DENSITY_EDGES`, with the place
    between two edges as a fraction, clipped to the last edge. None for a piece
    without notes.

    Args:
      notes: the piece.
      asked: notes per quarter note, above 0.
    """
    check_aligned(notes)
    if not len(notes):
        return None
    return _level(len(notes) * notes.ticks_per_beat / notes.end) - _level(asked)


def _level(per_quarter: float) -> float:
    edges = (0.0, *DENSITY_EDGES)
    return float(np.interp(per_quarter, edges, range(len(edges))))
