"""Quantised notes: integer columns on a metrical grid, with bars, in one canonical order."""

from __future__ import annotations

import dataclasses

import numpy as np

PITCHED_SLOTS = 15
DRUM_SLOT = 15
DRUM_PITCHES = (27, 87)
"""Lowest and highest drum pitch kept: the drums of General MIDI 2."""


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """Notes on a grid of steps, with their instruments and bars.

    Slots: the tracks of a piece that sound, sorted by General MIDI program and then by their
    order in the file, take slots 0, 1, ... 14; all drums share slot 15.

    Attributes:
      onset: int32 [N], steps from the start of bar 1. Rows are sorted by onset, slot, pitch.
      duration: int32 [N], steps, at least 1; drum hits have 1.
      pitch: uint8 [N]. velocity: uint8 [N], loudness level 0 to velocities - 1.
      slot: uint8 [N].
      programs: int16 [16], General MIDI program of each slot, -1 for a slot that is not used.
      bar_step: int32 [B + 1], first step of each bar, and the end of the last.
      meter, tempo: int16 [B], index into `METERS` and `TEMPOS` of each bar.
      steps_per_beat, velocities: the resolution.
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    slot: np.ndarray
    programs: np.ndarray
    bar_step: np.ndarray
    meter: np.ndarray
    tempo: np.ndarray
    steps_per_beat: int = 12
    velocities: int = 8

    def __len__(self) -> int:
        """Number of notes."""
        return len(self.onset)

    @property
    def bars(self) -> int:
        """Number of bars."""
        return len(self.meter)

    @property
    def pitched(self) -> np.ndarray:
        """Bool [N]: notes that are not drum hits."""
        return self.slot != DRUM_SLOT

    @property
    def quarters(self) -> float:
        """Length in quarter notes, at least 1."""
        return max(float(self.bar_step[-1]) / self.steps_per_beat, 1.0)

    @property
    def bar_of(self) -> np.ndarray:
        """Int [N]: the bar that each note begins in."""
        return np.searchsorted(self.bar_step, self.onset, side="right") - 1


def changes(values: np.ndarray, before: int) -> np.ndarray:
    """Returns which of N values differ from the one before them (bool [N]).

    Args:
      values: int [N].
      before: what the first value is compared with.
    """
    return np.append(values[:1] != before, values[1:] != values[:-1])
