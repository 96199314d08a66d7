"""A piece on a metrical grid: integers only, in one canonical order."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from jaxmusic.music.notes import NO_CHORD

PITCHED_SLOTS = 15
DRUM_SLOT = 15
DRUM_PITCHES = (27, 87)
"""Lowest and highest drum pitch kept: the drums of General MIDI 2."""
DENSITIES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Quantised notes: integers only, in one canonical order.

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
      key: int16 [B], tonic + 12 if minor, or -1 where unknown.
      section: int16 [B], index into `notes.SECTIONS`, or -1 where unknown.
      chord: int16 [2 B], chord of each half bar (see `notes.NO_CHORD`), -1 where unknown.
      styles: names of styles. song: name of the song.
      density: 0 to 7, notes per beat on a logarithmic scale.
      bars_before, bars_after: bars of the whole piece before and after these.
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
    key: np.ndarray
    section: np.ndarray
    chord: np.ndarray
    styles: tuple[str, ...] = ()
    song: str = ""
    density: int = 0
    bars_before: int = 0
    bars_after: int = 0
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
        """Mask of pitched notes, bool [N]."""
        return self.slot != DRUM_SLOT

    def part(self, start: int, stop: int) -> Piece:
        """Cuts bars start to stop (from 0, stop excluded) out of the piece.

        Notes belong to the bar they begin in; instruments, density and labels stay those of the
        whole piece.
        """
        first, last = int(self.bar_step[start]), int(self.bar_step[stop])
        a, b = np.searchsorted(self.onset, [first, last])
        return dataclasses.replace(
            self,
            onset=self.onset[a:b] - first,
            duration=self.duration[a:b],
            pitch=self.pitch[a:b],
            velocity=self.velocity[a:b],
            slot=self.slot[a:b],
            bar_step=self.bar_step[start : stop + 1] - first,
            meter=self.meter[start:stop],
            tempo=self.tempo[start:stop],
            key=self.key[start:stop],
            section=self.section[start:stop],
            chord=self.chord[2 * start : 2 * stop],
            bars_before=self.bars_before + start,
            bars_after=self.bars_after + self.bars - stop,
        )

    def transpose(self, semitones: int) -> Piece:
        """Transposes the piece; drums stay, notes that would leave 0-127 fold back."""
        pitch = self.pitch + np.int16(semitones) * self.pitched
        folds = len(pitch) > 0 and (pitch.min() < 0 or pitch.max() > 127)
        pitch = np.where(pitch < 0, pitch + 12, np.where(pitch > 127, pitch - 12, pitch))
        root, quality = self.chord % 12, self.chord // 12
        chord = np.where(
            (self.chord < 0) | (self.chord == NO_CHORD),
            self.chord,
            quality * 12 + (root + semitones) % 12,
        )
        tonic = np.where(self.key < 0, -1, self.key // 12 * 12 + (self.key % 12 + semitones) % 12)
        moved: dict[str, Any] = {"chord": chord.astype(np.int16), "key": tonic.astype(np.int16)}
        columns: dict[str, Any] = {"pitch": pitch.astype(np.uint8)}
        if folds:  # or else the order of the notes is as it was
            columns = canonical(
                self.onset, self.duration, pitch, self.velocity, self.slot, int(self.bar_step[-1])
            )[0]
        return dataclasses.replace(self, **columns, **moved)


def density_level(per_quarter: float) -> int:
    """Returns the level of density, 0 to 7, of a mean number of notes (above 0) per quarter note.

    All instruments count together. Each level is √2 times the one before: level 4 is 2 notes.
    """
    return min(max(round(2 * math.log2(per_quarter) + 2), 0), DENSITIES - 1)


def density_range(level: int) -> tuple[float, float]:
    """Returns the fewest and most notes per quarter note of a level of density."""
    least = 2 ** ((level - 2.5) / 2) if level > 0 else 0.0
    return least, 2 ** ((level - 1.5) / 2) if level < DENSITIES - 1 else math.inf


def changes(values: np.ndarray, before: int) -> np.ndarray:
    """Marks values (bool [N]) that differ from their predecessor; `before` precedes the first."""
    out = np.empty(len(values), bool)
    out[:1] = values[:1] != before
    np.not_equal(values[1:], values[:-1], out=out[1:])
    return out


@dataclasses.dataclass(frozen=True)
class Losses:
    """Changes by quantising, in notes, out of `notes` in the file."""

    notes: int = 0
    drum_pitch: int = 0
    """Drum hits outside `DRUM_PITCHES`, dropped."""
    duplicate: int = 0
    """Notes merged with another that begins at the same time on the same pitch and slot."""
    cut: int = 0
    """Notes cut by a step or more because their pitch begins again in the same slot."""
    regrouped: int = 0
    """Notes of tracks that share a slot with another track."""

    @property
    def share(self) -> float:
        """Share of notes that were dropped, merged or cut."""
        return (self.drum_pitch + self.duplicate + self.cut) / max(self.notes, 1)

    def __add__(self, other: Losses) -> Losses:
        """Adds up losses."""
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Losses(*(a + b for a, b in zip(mine, theirs)))


def canonical(
    onset: np.ndarray,
    duration: np.ndarray,
    pitch: np.ndarray,
    velocity: np.ndarray,
    slot: np.ndarray,
    total: int,
    ending: np.ndarray | None = None,
) -> tuple[dict[str, Any], int, int]:
    """Sorts columns without duplicates and overlaps of one pitch, and counts both.

    With `ending`, the true ends of the notes in whole steps, an overlap counts if it takes a step
    or more from a note.
    """
    onset = np.minimum(onset, total - 1).astype(np.int64)
    voice = np.asarray(slot, np.int64) * 128 + pitch
    duration, velocity = np.array(duration, np.int64), np.asarray(velocity)
    moment = onset * (16 * 128) + voice
    longest = 2**20 - 1
    # One key sorts faster: time, then the longest of duplicates first, which is kept.
    order = np.argsort((moment << 20) + longest - np.minimum(duration, longest), kind="stable")
    new = changes(moment[order], -1)
    order = order[new]
    given = onset + duration if ending is None else ending
    unsorted = (onset, duration, velocity, voice, given)
    onset, duration, velocity, voice, given = (c[order] for c in unsorted)
    order = np.argsort(voice.astype(np.int16), kind="stable")
    begins, voices = onset[order], voice[order]
    gap = begins[1:] - begins[:-1]
    overlapped = np.flatnonzero((duration[order[:-1]] > gap) & (voices[1:] == voices[:-1]))
    cut = order[overlapped]
    duration[cut] = gap[overlapped]
    lost = given[cut] > onset[cut] + duration[cut]
    columns = {
        "onset": onset.astype(np.int32),
        "duration": duration.astype(np.int32),
        "pitch": (voice & 127).astype(np.uint8),
        "velocity": velocity.astype(np.uint8),
        "slot": (voice >> 7).astype(np.uint8),
    }
    return columns, int(len(new) - new.sum()), int(lost.sum())
