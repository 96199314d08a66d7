"""Samples beside real songs: pitch-class entropy and scale consistency, trained and untrained.

Pitch-class entropy is in bits over the 12 pitch classes, weighted by the number of notes. Scale
consistency is the best share of a piece's notes in one of 24 scales, major and natural minor on
12 tonics; a natural minor scale holds the pitches of its relative major, so 12 pitch sets are
tried. Drums are left out. What counts is how near the mean over samples is to the mean over real
songs: neither figure is better for being higher or lower.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile

import numpy as np
import tqdm

from benchmarks.runner import Options, Result, Row
from jaxmusic.formats import midi
from jaxmusic.notes import Notes

PIECES = 20
"""Samples of each model unless --count says otherwise."""
SECONDS = 60.0
MAJOR = (0, 2, 4, 5, 7, 9, 11)
SCALES = np.stack([np.isin(np.arange(12), np.add(MAJOR, tonic) % 12) for tonic in range(12)])


def pitch_classes(notes: Notes) -> np.ndarray:
    """Notes of each pitch class (int64 [12], C first) without drums."""
    return np.bincount(notes.pitch[~notes.is_drum] % 12, minlength=12)


def entropy(classes: np.ndarray) -> float:
    """Entropy of counts in bits; 0 of no notes."""
    p = classes[classes > 0] / max(classes.sum(), 1)
    return float(-(p * np.log2(p)).sum())


def scale_consistency(classes: np.ndarray) -> float:
    """Largest share of counts [12] within one of `SCALES`; 0 of no notes."""
    return float((SCALES @ classes).max() / max(classes.sum(), 1))


MEASURES = (
    ("pitch-class entropy (bits)", entropy),
    ("scale consistency", scale_consistency),
)


def opening(notes: Notes, seconds: float) -> Notes:
    """The notes that begin in the first seconds of a piece."""
    chosen = notes.seconds(notes.onset) < seconds
    columns = ("onset", "duration", "pitch", "velocity", "track")
    return notes.replace(**{name: getattr(notes, name)[chosen] for name in columns})
