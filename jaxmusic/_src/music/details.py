"""What a given file says besides notes: kept for the person who gave it, unseen by any model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

_PEDALS = (64, 65, 66, 67, 68, 69)
"""Controllers that are switches and would hold whatever comes after them."""
DRUM_CHANNEL = 9
PITCHED_CHANNELS = [c for c in range(16) if c != DRUM_CHANNEL]
_META, _NAME = 0xFF, 3


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
      score: whether a score says them, whose first bar may be a pick-up.
    """

    part: np.ndarray
    chunk: np.ndarray
    channel: np.ndarray
    tick: np.ndarray
    at: np.ndarray
    message: tuple[bytes, ...]
    score: bool = False

    @classmethod
    def of_tracks(
        cls,
        tracks: Sequence[tuple[int, int, bool]],
        rows: Iterable[tuple[int, tuple[int, bool] | None, bytes]],
        score: bool = False,
    ) -> Details:
        """Lays out tracks that have no chunks and channels: chunk 0 is for the whole piece.

        Each part begins with the program of its first track. Parts that come after the fifteenth
        join one of their program where there is one.

        Args:
          tracks: instrument, program, and whether it is drums, of each track of the notes. A part
            is all tracks of an instrument that are drums, or that are not.
          rows: tick, part as (instrument, drums) or None for the whole piece, and message of each
            detail; channels are filled in.
          score: as the attribute.
        """
        program = {(i, drum): program for i, program, drum in reversed(tracks)}
        rows = list(rows)
        parts = [*((i, d) for i, _, d in tracks), *(part for _, part, _ in rows if part)]
        number = {part: k for k, part in enumerate(dict.fromkeys(parts))}
        channel: list[int] = []
        of_program: dict[int | None, int] = {}
        for place, k in number.items():
            free = PITCHED_CHANNELS[k % 15]
            shared = free if k < 15 else of_program.get(program.get(place), free)
            channel.append(DRUM_CHANNEL if place[1] else shared)
            of_program.setdefault(program.get(place), channel[-1])
        rows = [*((0, part, bytes([0xC0, p])) for part, p in program.items()), *rows]
        held: list[tuple[int, int, bytes]] = []
        for tick, part, message in sorted(rows, key=lambda row: row[0]):
            if part is None:
                held.append((tick, 0, message))
            else:
                status = message[0] | (channel[number[part]] if message[0] < 0xF0 else 0)
                held.append((tick, number[part] + 1, bytes([status]) + message[1:]))
        return cls(
            part=np.array([number[i, drum] for i, _, drum in tracks], np.int16),
            chunk=np.arange(1, len(number) + 1, dtype=np.int16),
            channel=np.array(channel, np.int16),
            tick=np.array([tick for tick, _, _ in held], np.int32),
            at=np.array([chunk for _, chunk, _ in held], np.int16),
            message=tuple(message for _, _, message in held),
            score=score,
        )

    def texts(self, kind: int) -> list[tuple[int, str]]:
        """Returns the chunk and the text of each meta message of a kind."""
        start = bytes([_META, kind])
        found = zip(self.at.tolist(), self.message)
        return [(chunk, decoded(m[2:])) for chunk, m in found if m.startswith(start)]

    def names(self) -> tuple[str, list[str]]:
        """Returns the title, and the name of each part; empty where there is none.

        Parts of one chunk have no names of their own, and the first chunk's is the title then, as
        it is where that chunk has no notes.
        """
        named = dict(reversed(self.texts(_NAME)))
        chunks = self.chunk.tolist()
        title = "" if chunks.count(0) == 1 else named.get(0, "")
        return title, [named.get(c, "") if chunks.count(c) == 1 else "" for c in chunks]

    def moved(self, tick: np.ndarray) -> Details:
        """Puts the messages at other ticks [M]."""
        return dataclasses.replace(self, tick=tick.astype(np.int32))

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


def decoded(text: bytes) -> str:
    """Decodes the text of a MIDI file: UTF-8, or Latin-1 as the format says."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
