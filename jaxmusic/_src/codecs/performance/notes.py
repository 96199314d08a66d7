"""Performances: notes in steps of 10 ms, and the events that note-seq writes for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic._src.music import piece
from jaxmusic._src.music.notes import Notes

STEPS_PER_SECOND = 100
MAX_SHIFT = 100
"""Steps of the longest shift."""
NOTE_OFF, SHIFT, VELOCITY = 128, 256, 356
"""First tokens of these kinds: pitch 0, one step and level 0. `note_on` has 0 to 127."""


@dataclasses.dataclass(frozen=True, eq=False)
class Performance:
    """Notes of one instrument in steps of 10 ms, in one canonical order.

    What can be cut apart are seconds; they go by the name of bars here, as in `piece.Piece`.
    Notes of one pitch do not overlap, and none ends after the end of the performance.

    Attributes:
      onset: int32 [N], steps from the start. Rows are sorted by onset and pitch.
      duration: int32 [N], steps, at least 1.
      pitch: uint8 [N]. velocity: uint8 [N], loudness level 0 to velocities - 1, which is one less
        than the number that note-seq gives its bins.
      length: steps, at least 1.
      styles: names of styles. song: name of the song.
      bars_before, bars_after: seconds of the whole performance before and after these.
      velocities: number of loudness levels.
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    length: int
    styles: tuple[str, ...] = ()
    song: str = ""
    bars_before: int = 0
    bars_after: int = 0
    velocities: int = 32

    def __len__(self) -> int:
        """Number of notes."""
        return len(self.onset)

    @property
    def bars(self) -> int:
        """Number of seconds; the last one may be shorter."""
        return -(-self.length // STEPS_PER_SECOND)

    @property
    def bar_step(self) -> np.ndarray:
        """Int [B + 1]: the first step of each second, and the end."""
        return np.minimum(np.arange(self.bars + 1) * STEPS_PER_SECOND, self.length)

    @property
    def pitched(self) -> np.ndarray:
        """Bool [N]: the notes that `transpose` moves, which are all."""
        return np.ones(len(self), bool)

    def part(self, start: int, stop: int) -> Performance:
        """Seconds start to stop (from 0, stop excluded) as a performance of their own.

        Notes belong to the second they begin in. What sounds on past the end of the part ends
        there; in the part's stream it is left open.
        """
        first = start * STEPS_PER_SECOND
        last = min(stop * STEPS_PER_SECOND, self.length)
        a, b = np.searchsorted(self.onset, [first, last])
        return dataclasses.replace(
            self,
            onset=self.onset[a:b] - np.int32(first),
            duration=np.minimum(self.duration[a:b], np.int32(last) - self.onset[a:b]),
            pitch=self.pitch[a:b],
            velocity=self.velocity[a:b],
            length=last - first,
            bars_before=self.bars_before + start,
            bars_after=self.bars_after + self.bars - stop,
        )

    def transpose(self, semitones: int) -> Performance:
        """Transposes the performance by semitones; notes that would leave 0-127 fold back."""
        pitch = self.pitch.astype(np.int32) + semitones
        pitch = np.where(pitch < 0, pitch + 12, np.where(pitch > 127, pitch - 12, pitch))
        columns, _, _ = canonical(self.onset, self.duration, pitch, self.velocity, self.length)
        return dataclasses.replace(self, **columns)


def canonical(
    onset: np.ndarray, duration: np.ndarray, pitch: np.ndarray, velocity: np.ndarray, length: int
) -> tuple[dict[str, Any], int, int]:
    """Sorts columns, removes duplicates and overlaps of a pitch, and counts both."""
    columns, duplicate, cut = piece.canonical(
        onset, duration, pitch, velocity, np.zeros(len(onset), np.int64), length
    )
    del columns["slot"]
    return columns, duplicate, cut


def steps(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and last step of each note (int64 [N] each), rounded as note-seq does.

    That is `note_seq.quantize_note_sequence_absolute` at 100 steps a second: to the nearest step;
    a note that would have no length ends one step later.
    """
    onset = nearest_step(notes.seconds(notes.onset))
    ending = nearest_step(notes.seconds(notes.onset.astype(np.int64) + notes.duration))
    return onset, np.maximum(ending, onset + 1)


def nearest_step(seconds: np.ndarray) -> np.ndarray:
    """Returns the step nearest to each time (int64), a half up."""
    return (seconds * STEPS_PER_SECOND + 0.5).astype(np.int64)


def levels(velocity: np.ndarray, velocities: int) -> np.ndarray:
    """Loudness level (int64) of velocities 1-127; the number of note-seq's bin is one more."""
    return (np.asarray(velocity, np.int64) - 1) // (128 // velocities)


def performance_tokens(
    onset: np.ndarray, ending: np.ndarray, pitch: np.ndarray, velocity: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lists the events of notes, overlapping ones too, as note-seq's `Performance` does.

    Args:
      onset, ending: int [N], steps. The rows stand in the order in which note-seq numbers notes,
        by start in seconds and then by pitch: events of one step come in the order of their rows.
      pitch: int [N]. velocity: int [N], loudness levels from 0 on.

    Returns:
      Tokens (int64 [T]) and the step at which each stands (int64 [T]), a shift where it begins.
    """
    pitch, velocity = np.asarray(pitch, np.int64), np.asarray(velocity, np.int64)
    count = len(pitch)
    step = np.concatenate([onset, ending]).astype(np.int64)
    order = np.argsort(step * max(count, 1) + np.tile(np.arange(count), 2), kind="stable")
    step, row, ends = step[order], order % max(count, 1), order >= count
    rest = np.diff(step, prepend=0)
    shifts = -(-rest // MAX_SHIFT)
    starts = np.flatnonzero(~ends)
    changes = starts[np.diff(velocity[row[starts]], prepend=-1) != 0]
    louder = np.zeros(2 * count, np.int64)
    louder[changes] = 1
    size = shifts + louder + 1
    last = np.cumsum(size) - 1
    total = int(size.sum())
    tokens = np.full(total, SHIFT + MAX_SHIFT - 1)
    moved = np.flatnonzero(shifts)
    tokens[(last - louder - 1)[moved]] = SHIFT + (rest[moved] - 1) % MAX_SHIFT
    tokens[last[changes] - 1] = VELOCITY + velocity[row[changes]]
    tokens[last] = pitch[row] + NOTE_OFF * ends
    place = np.arange(total) - np.repeat(last - size + 1, size)
    begins = np.repeat(step - rest, size) + MAX_SHIFT * place
    return tokens, np.minimum(begins, np.repeat(step, size))
