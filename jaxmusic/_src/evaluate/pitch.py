"""Statistics of pitch: the pitches of a piece, and how many sound at a time.

Drums are ignored. Without pitched notes, these statistics are undefined.
"""

from __future__ import annotations

import numpy as np

from jaxmusic._src.music.notes import Notes

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_SCALES = np.stack([np.isin(np.arange(12), np.add(_MAJOR, tonic) % 12) for tonic in range(12)])
"""Bool [12, 12], tonic and pitch class; a natural minor scale is that of its relative major."""


def pitch_class_entropy(notes: Notes) -> float | None:
    """Computes the pitch-class entropy, ``-sum p_c log2 p_c``, in bits: 0 to log2(12) = 3.585.

    ``p_c`` is the share of notes of pitch class c, of any length. Wu and Yang, "The Jazz
    Transformer on the Front Line", 2020.
    """
    count = np.bincount(_pitches(notes) % 12, minlength=12)
    if not count.any():
        return None
    share = count[count > 0] / count.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0  # of one pitch class 0, not -0


def scale_consistency(notes: Notes) -> float | None:
    """Computes the largest share of notes in one scale, ``max_s sum_(c in s) p_c``: 7 / 12 to 1.

    Over the major and natural minor scales on all tonics, ``p_c`` as in `pitch_class_entropy`.
    Mogren, "C-RNN-GAN", 2016.
    """
    count = np.bincount(_pitches(notes) % 12, minlength=12)
    return float((_SCALES @ count).max() / count.sum()) if count.any() else None


def pitches(notes: Notes) -> float | None:
    """Counts the different pitches, 1 to 128. Yang and Lerch, 2020 (there PC)."""
    return float(len(np.unique(_pitches(notes)))) or None


def pitch_classes(notes: Notes) -> float | None:
    """Counts the different pitch classes, 1 to 12. Dong et al., "MuseGAN", 2018 (there UPC)."""
    return float(len(np.unique(_pitches(notes) % 12))) or None


def pitch_range(notes: Notes) -> float | None:
    """Computes the range of pitches in semitones, 0 to 127. Yang and Lerch, 2020 (there PR)."""
    pitch = _pitches(notes)
    return float(pitch.max() - pitch.min()) if len(pitch) else None


def polyphony(notes: Notes) -> float | None:
    """Computes the mean number of sounding pitches, where any sound: 1 to 128.

    ``sum_t n_t / #{t: n_t > 0}`` over ticks t, where ``n_t`` pitches sound; a pitch of two
    instruments counts once. Dong et al., "MusPy", 2020.
    """
    count, ticks = sounding(notes)
    heard = ticks[count > 0].sum()
    return float(count @ ticks / heard) if heard else None


def polyphony_rate(notes: Notes) -> float | None:
    """Computes the share of time in which two pitches or more sound, 0 to 1.

    ``#{t: n_t >= 2} / end``, with ``n_t`` as in `polyphony`. Dong et al., "MuseGAN", 2018.
    """
    count, ticks = sounding(notes)
    return float(ticks[count >= 2].sum() / notes.end) if len(count) else None


def sounding(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers of sounding pitches (int64 [S]) and how long each lasts (ticks, int64 [S]).

    From the first pitched note to the end of the last.
    """
    chosen = ~notes.is_drum
    if not chosen.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    pitch, onset = notes.pitch[chosen].astype(np.int64), notes.onset[chosen].astype(np.int64)
    # Pitch after pitch on one axis, so that adjacent notes of one pitch merge.
    span = int((onset + notes.duration[chosen]).max()) + 1
    start = pitch * span + onset
    order = np.argsort(start, kind="stable")
    start, stop = start[order], (start + notes.duration[chosen])[order]
    stop = np.maximum.accumulate(stop)
    begins = np.append(True, start[1:] > stop[:-1])
    edges = np.concatenate([start[begins], stop[np.append(begins[1:], True)]]) % span
    change = np.repeat([1, -1], begins.sum())
    order = np.argsort(edges, kind="stable")
    return np.cumsum(change[order])[:-1], np.diff(edges[order])


def _pitches(notes: Notes) -> np.ndarray:
    """Returns the pitches of the pitched notes, int64."""
    return notes.pitch[~notes.is_drum].astype(np.int64)
