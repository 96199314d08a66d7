"""What a given file says besides notes: kept for the person who gave it, unseen by any model."""

from __future__ import annotations

import dataclasses

import numpy as np

_PEDALS = (64, 65, 66, 67, 68, 69)
"""Controllers that are switches and would hold whatever comes after them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Details:
    """MIDI messages other than notes, programs, tempos and meters, with the layout of tracks.

    A *part* is one channel of one *chunk*, as the tracks of a MIDI file are called; notes of a
    part whose program changes stand in several tracks of `Notes`.

    Attributes:
      part: int16 [T], part of each track of the notes.
      chunk: int16 [P], chunk of each part.
      channel: int16 [P], channel of each part, 0 to 15.
      tick: int32 [M], when each message comes, ascending.
      at: int16 [M], chunk of each message.
      message: M byte strings, a status byte (0xFF for a meta message, then its kind) and data.
    """

    part: np.ndarray
    chunk: np.ndarray
    channel: np.ndarray
    tick: np.ndarray
    at: np.ndarray
    message: tuple[bytes, ...]

    def until(self, end: int) -> Details:
        """Drops the messages from a tick on; pedals that are down then are released there."""
        kept = int(np.searchsorted(self.tick, end))
        held: dict[tuple[int, bytes], bool] = {}
        for at, message in zip(self.at[:kept].tolist(), self.message):
            kind = message[0] >> 4
            if kind == 0xE:
                released = message[:1] + b"\0\x40"
            elif kind == 0xB and message[1] in _PEDALS:
                released = message[:2] + b"\0"
            else:
                continue
            held[at, released] = message != released
        added = [place for place, down in held.items() if down]
        return dataclasses.replace(
            self,
            tick=np.append(self.tick[:kept], np.full(len(added), end, np.int32)),
            at=np.append(self.at[:kept], np.array([at for at, _ in added], np.int16)),
            message=(*self.message[:kept], *(released for _, released in added)),
        )
