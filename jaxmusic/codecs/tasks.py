"""Tasks: which part of a piece is given, and which is to be written.

A task stream of the metrical codec tells first what is given, bar by bar, then, after a ``WRITE``
token, what was left out (see docs/codec.md).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmusic.codecs.layout import TASKS
from jaxmusic.piece import Piece

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
        """Bool [N]: which notes of a piece are given."""
        bar = np.searchsorted(piece.bar_step, piece.onset, side="right") - 1
        return ~self.marked[bar] | self.slots[piece.slot]
