"""Tasks: which part of a piece is given, and which is to be written.

A task stream of the metrical codec tells first what is given, bar by bar, then, after a ``WRITE``
token, what was left out (see docs/codec.md).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxmusic._src.codecs.layout import TASKS
from jaxmusic._src.music.piece import Piece

HOLE = len(TASKS)
"""Value of the task token that marks a bar of which something is to be written."""
WRITE = HOLE + 1
"""Value of the task token after which it is written."""


@dataclasses.dataclass(frozen=True, eq=False)
class Given:
    """What is given of a piece; all else of it is to be written.

    Bars that are not marked are given whole. Of marked bars are given the notes of some slots, the
    chords or not, and always meter, tempo, key and section.

    Attributes:
      task: index into `TASKS`.
      marked: bool [B], bars of which something is to be written.
      slots: bool [16], slots whose notes are given in marked bars.
      chords: whether the chords of marked bars are given.
    """

    task: int
    marked: np.ndarray
    slots: np.ndarray
    chords: bool

    def notes(self, piece: Piece) -> np.ndarray:
        """Masks the given notes of a piece, bool [N]."""
        return ~self.marked[piece.bar_of] | self.slots[piece.slot]


class Holes(NamedTuple):
    """The bars to be written of a piece, as arrays for `codecs.metrical.task_grammar.hole`.

    Attributes:
      bars: bars from the first one on to the end of the piece.
      count: W, the number of bars to be written.
      line, steps, left: int32 [W or more], first step of each, its steps, and how many bars of the
        piece come after it.
      slots: bit s is set where slot s may be written, the drums' (15) included.
      chords: 1 where chords are to be written.
      end: the step that no written note may pass, 0 where the end of the piece is not known.
      ringing: int32 [K, 3], ``slot * 128 + pitch``, first step and end of given notes that ring
        into bars to be written. Meanwhile no note of that slot and pitch may begin: it would cut
        the given one.
    """

    bars: Any
    count: Any
    line: Any
    steps: Any
    left: Any
    slots: Any
    chords: Any
    end: Any
    ringing: Any


def holes(piece: Piece, given: Given) -> Holes:
    """Returns the holes of a piece that needs only its given notes.

    Instruments that are to be written must be among its programs. Both lists are filled up to the
    next power of two, so that programs compiled for them serve other pieces too.
    """
    marked = np.flatnonzero(given.marked)
    writable = ~given.slots & (piece.programs >= 0)
    length = int(piece.bar_step[-1])
    bar = piece.bar_of
    # The line of the first marked bar after each bar.
    lines = np.append(piece.bar_step[marked], length)[np.searchsorted(marked, bar, side="right")]
    rings = given.notes(piece) & writable[piece.slot]
    rings &= piece.onset.astype(np.int64) + piece.duration > lines
    voice = piece.slot[rings].astype(np.int32) * 128 + piece.pitch[rings]
    onset = piece.onset[rings]
    ringing = np.stack([voice, onset, onset + piece.duration[rings]], 1)
    left = piece.bars - 1 - marked + piece.bars_after
    frame = _filled(
        np.stack([piece.bar_step[marked], np.diff(piece.bar_step)[marked], left], axis=1)
    )
    return Holes(
        bars=np.int32(piece.bars + piece.bars_after),
        count=np.int32(len(marked)),
        line=frame[:, 0],
        steps=frame[:, 1],
        left=frame[:, 2],
        slots=np.int32((writable << np.arange(16)).sum()),
        chords=np.int32(not given.chords),
        end=np.int32(0 if piece.bars_after else length),
        ringing=_filled(ringing),
    )


def _filled(rows: np.ndarray) -> np.ndarray:
    """Pads rows with zeros to int32 [2^n, C]."""
    out = np.zeros((1 << max(len(rows) - 1, 0).bit_length(), rows.shape[1]), np.int32)
    out[: len(rows)] = rows
    return out
