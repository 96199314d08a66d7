"""A piece on a metrical grid: integers only, in one canonical order."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic._src.music.columns import DRUM_PITCHES, DRUM_SLOT, PITCHED_SLOTS, Columns, changes
from jaxmusic._src.music.controls import CONTROLS

__all__ = ["DRUM_PITCHES", "DRUM_SLOT", "PITCHED_SLOTS", "Columns", "Losses", "Piece", "changes"]


@dataclasses.dataclass(frozen=True, eq=False)
class Piece(Columns):
    """Quantised notes with what is known about them.

    Attributes:
      controls: values of each kind of `music.controls.CONTROLS`, -1 where unknown: for the
        piece (int []), each slot [16], bar [B] or half bar [2 B].
      styles: names of styles. song: name of the song.
      bars_before, bars_after: bars of the whole piece before and after these.
    """

    controls: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    styles: tuple[str, ...] = ()
    song: str = ""
    bars_before: int = 0
    bars_after: int = 0

    def __post_init__(self) -> None:
        """Fills in unknown values for the controls that are not given."""
        for control in CONTROLS:
            if control.kind not in self.controls:
                self.controls[control.kind] = control.unknown(self.bars)

    @property
    def key(self) -> np.ndarray:
        """Int16 [B], tonic + 12 if minor, or -1."""
        return self.controls["key"]

    @property
    def chord(self) -> np.ndarray:
        """Int16 [2 B], chord of each half bar (see `notes.NO_CHORD`), or -1."""
        return self.controls["chord"]

    @property
    def section(self) -> np.ndarray:
        """Int16 [B], index into `notes.SECTIONS`, or -1."""
        return self.controls["section"]

    @property
    def density(self) -> int:
        """Level of `controls.density_level`, or -1."""
        return int(self.controls["density"])

    def with_controls(self, **values: Any) -> Piece:
        """Returns the piece with other values of some kinds of controls."""
        return dataclasses.replace(self, controls=self.controls | values)

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
            controls={c.kind: c.part(self.controls[c.kind], start, stop) for c in CONTROLS},
            bars_before=self.bars_before + start,
            bars_after=self.bars_after + self.bars - stop,
        )

    def transpose(self, semitones: int) -> Piece:
        """Transposes the piece; drums stay, notes that would leave 0-127 fold back."""
        pitch = self.pitch + np.int16(semitones) * self.pitched
        folds = len(pitch) > 0 and (pitch.min() < 0 or pitch.max() > 127)
        pitch = np.where(pitch < 0, pitch + 12, np.where(pitch > 127, pitch - 12, pitch))
        moved = {
            c.kind: c.transpose(self.controls[c.kind], semitones).astype(np.int16)
            for c in CONTROLS
            if c.transpose
        }
        columns: dict[str, Any] = {"pitch": pitch.astype(np.uint8)}
        if folds:  # or else the order of the notes is as it was
            columns = canonical(
                self.onset, self.duration, pitch, self.velocity, self.slot, int(self.bar_step[-1])
            )[0]
        return dataclasses.replace(self, **columns, controls=self.controls | moved)


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
