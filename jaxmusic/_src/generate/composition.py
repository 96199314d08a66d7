"""A finished piece, and the JSON object that a page or another program reads it from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from jaxmusic._src.formats.symbols import chord_symbols, key_name
from jaxmusic._src.music.notes import PHRASES, SECTIONS, Notes

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (bars finished, bars in all) while composing."""


@dataclasses.dataclass(frozen=True, repr=False)
class Composition:
    """Notes of exactly the duration that was asked for, and how they were made.

    Attributes:
      notes: the piece.
      tokens: its stream.
      bars: their number, or that of seconds where the codec counts these.
      bits_per_note: surprise of its drawn tokens to the model at temperature 1, among those that
        could follow, in bits for each note; under guidance, to all branches together.
      written: bool [N], which of the notes are new where a piece was given; None for all of them.
      seed: random seed of the pieces that were composed together.
      nats: float32 [N], surprise of the tokens of each note in nats; None where a piece was given.
    """

    notes: Notes
    tokens: np.ndarray
    bars: int
    bits_per_note: float = 0.0
    written: np.ndarray | None = None
    nats: np.ndarray | None = None
    seed: int | None = None

    def __repr__(self) -> str:
        """Says what it is in a line."""
        tracks, seconds = len(np.unique(self.notes.track)), self.notes.seconds(self.notes.end)
        minutes, rest = divmod(round(float(seconds), 1), 60)
        return (
            f"Composition({int(minutes)}:{rest:04.1f}, {len(self.notes)} notes in {tracks} tracks, "
            f"{self.bars} bars, {self.bits_per_note:.2f} bits per note, seed {self.seed})"
        )

    def as_json(self) -> dict[str, Any]:
        """Returns the piece as an object for JSON; times are in seconds.

        Notes are columns: onset, duration, pitch (MIDI number), velocity, track (index into
        tracks), and where known written and bits. Chords, keys and sections hold from their time
        on.
        """
        notes, labels = self.notes, self.notes.labels

        def seconds(ticks: np.ndarray) -> np.ndarray:
            return np.round(notes.seconds(ticks), 6)

        def timed(ticks: np.ndarray, what: str, values: list[Any]) -> list[dict[str, Any]]:
            return [{"time": t, what: v} for t, v in zip(seconds(ticks).tolist(), values)]

        length = notes.seconds(notes.onset + notes.duration) - notes.seconds(notes.onset)
        columns: dict[str, np.ndarray] = {
            "onset": seconds(notes.onset),
            "duration": np.round(length, 6),
            "pitch": notes.pitch,
            "velocity": notes.velocity,
            "track": notes.track,
        }
        if self.written is not None:
            columns["written"] = self.written
        if self.nats is not None:
            columns["bits"] = np.round(self.nats / np.log(2), 4)
        chord_tick, chords = chord_symbols(labels)
        return {
            "seconds": float(notes.seconds(notes.end)),
            "bars": self.bars,
            "bits_per_note": round(self.bits_per_note, 4),
            "styles": list(labels.styles),
            "tracks": [
                {"program": int(program), "drum": bool(drum)}
                for program, drum in zip(notes.program, notes.drum)
            ],
            "notes": {name: column.tolist() for name, column in columns.items()},
            "tempos": timed(notes.tempo_tick, "qpm", notes.tempo_qpm.tolist()),
            "chords": timed(chord_tick, "name", chords),
            "keys": timed(labels.key_tick, "name", [key_name(k) for k in labels.key.tolist()]),
            "sections": timed(
                labels.section_tick, "name", [SECTIONS[s] for s in labels.section.tolist()]
            ),
            "phrases": timed(
                labels.phrase_tick, "name", [PHRASES[p] for p in labels.phrase.tolist()]
            ),
        }

    def to_json(self) -> str:
        """Returns `as_json` as text."""
        return json.dumps(self.as_json(), allow_nan=False)
