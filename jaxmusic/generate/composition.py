"""A finished piece, and the JSON object that a page or another program reads it from."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from jaxmusic.formats.symbols import chord_symbols, key_name
from jaxmusic.music.notes import PHRASES, SECTIONS, Notes


@dataclasses.dataclass(frozen=True)
class Composition:
    """Notes of exactly the duration that was asked for, and how they were made.

    Attributes:
      notes: the piece.
      tokens: its stream.
      bars: their number, or that of seconds where the codec counts these.
      bits_per_note: surprise of its drawn tokens to the model at temperature 1, among those that
        could follow, in bits for each note; under guidance, to all branches together.
      written: bool [N], which of the notes are new where a piece was given; None for all of them.
      nats: float32 [N], surprise of the tokens of each note in nats; None where a piece was given.
    """

    notes: Notes
    tokens: np.ndarray
    bars: int
    bits_per_note: float = 0.0
    written: np.ndarray | None = None
    nats: np.ndarray | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the piece as an object for JSON; times are in seconds.

        Notes are columns: onset, duration, pitch (MIDI number), velocity, track (index into
        tracks), and where known written and bits. Chords, keys and sections hold from their time
        on.
        """
        notes = self.notes
        onset = notes.seconds(notes.onset)
        columns: dict[str, np.ndarray] = {
            "onset": np.round(onset, 6),
            "duration": np.round(notes.seconds(notes.onset + notes.duration) - onset, 6),
            "pitch": notes.pitch,
            "velocity": notes.velocity,
            "track": notes.track,
        }
        if self.written is not None:
            columns["written"] = self.written
        if self.nats is not None:
            columns["bits"] = np.round(self.nats / np.log(2), 4)
        labels = notes.labels

        def timed(ticks: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
            times = np.round(notes.seconds(ticks), 6).tolist()
            return [{"time": time, "name": name} for time, name in zip(times, names)]

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
            "tempos": [
                {"time": time, "qpm": qpm}
                for time, qpm in zip(
                    np.round(notes.seconds(notes.tempo_tick), 6).tolist(), notes.tempo_qpm.tolist()
                )
            ],
            "chords": timed(*chord_symbols(labels)),
            "keys": timed(labels.key_tick, [key_name(int(k)) for k in labels.key]),
            "sections": timed(labels.section_tick, [SECTIONS[int(s)] for s in labels.section]),
            "phrases": timed(labels.phrase_tick, [PHRASES[int(p)] for p in labels.phrase]),
        }

    def to_json(self) -> str:
        """Returns `as_json` as text."""
        return json.dumps(self.as_json(), allow_nan=False)
