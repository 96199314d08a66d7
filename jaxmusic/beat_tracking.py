"""Finds beats and bar lines in notes: phase, tempo and downbeats, all vectorised NumPy.

Positions called `x` are beats on some grid whose phase or bar lines are in question.
"""

from __future__ import annotations

import numpy as np

from jaxmusic.notes import Notes

STEPS_PER_BEAT = 12
"""Steps per beat of the grid that onsets are compared with: sixteenths and triplets."""

_SUB = 4
_METERS = {4: 0.0, 3: -0.1, 2: -0.3}


def grid_error(x: np.ndarray) -> float:
    """Mean distance of onsets from the nearest 12th of a beat, as a share of it (0 to 0.5)."""
    if not len(x):
        return 0.0
    steps = np.asarray(x) * STEPS_PER_BEAT
    return float(np.abs(steps - np.rint(steps)).mean())


def grid_phase(x: np.ndarray) -> tuple[float, float]:
    """Where beats, halves, quarters and thirds of beats lie relative to the given grid.

    Returns:
      The phase in beats, in (-1/8, 1/8] of a beat (known only up to a quarter of a beat), and
      the share of onsets that agree (0 to 1, length of the mean vector at that frequency).
    """
    if not len(x):
        return 0.0, 1.0
    mean = np.exp((2j * np.pi * _SUB) * x).mean()
    phase = float(np.angle(mean)) / (2 * np.pi * _SUB)
    for width in (0.5, 0.25):  # robust refinement on the 12-step grid
        rest = (x - phase) * STEPS_PER_BEAT
        rest -= np.rint(rest)
        near = rest[np.abs(rest) < width]
        if len(near):
            phase += float(np.median(near)) / STEPS_PER_BEAT
    return phase, float(abs(mean))


def downbeats(notes: Notes, x: np.ndarray) -> tuple[np.ndarray, int]:
    """Positions (beats) of downbeats and the usual number of beats in a bar."""
    strong = np.bincount(np.mod(np.rint(x), 4).astype(int), weights=np.log1p(notes.duration))
    start = int(strong.argmax())
    return np.array([float(start)]), 4
