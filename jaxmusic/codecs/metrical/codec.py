"""The default codec: bars and positions, fused notes, and a header of controls.

A stream is ``bos [part] style* control* meter tempo (program [role])* [slot-15 program]``, then
bars. Each ``bar`` token says how many bars are left after it. In a bar come what changes with it
(meter, tempo, and the controls of bars in the order of `jaxmusic.music.controls.CONTROLS`), then
events in the order of position, slot and pitch: ``position`` only when time moves (a bar opens at
position 0), ``chord`` and its ``bass`` on change at a half bar, ``slot`` only
when the instrument is another than that of the last pitched note, ``pitch`` followed by ``note``
(duration and loudness in one), and one ``drum`` token (pitch and loudness) for each hit. A duration
that has no token of its own is a ``hold`` of some half bars followed by a ``note``.

A task stream names its task after ``bos``. Bars with something to be written have a ``HOLE`` after
their bar token, and after a ``WRITE`` they come again with that.
"""

from __future__ import annotations

import numpy as np

from jaxmusic.codecs.metrical import events, reading, writing
from jaxmusic.codecs.metrical.layout import MetricalLayout
from jaxmusic.codecs.tasks import Given
from jaxmusic.core.events import Events
from jaxmusic.music import grid
from jaxmusic.music.notes import Notes
from jaxmusic.music.piece import Losses, Piece


class MetricalCodec(MetricalLayout):
    """Quantised pieces to tokens and back; its tables are those of `MetricalLayout`."""

    def quantise(self, notes: Notes) -> tuple[Piece, Losses]:
        """Aligned notes on this codec's grid, see `jaxmusic.music.grid.quantise`."""
        return grid.quantise(notes, self.config.steps_per_beat, self.config.velocities)

    def dequantise(self, piece: Piece) -> Notes:
        """The notes of a piece, see `jaxmusic.music.grid.dequantise`."""
        return grid.dequantise(piece)

    def header(self, piece: Piece, drop: frozenset[str] = frozenset()) -> list[int]:
        """Tokens before the first bar."""
        return writing.header(self, piece, drop)

    def encode(
        self, piece: Piece, drop: frozenset[str] = frozenset(), given: Given | None = None
    ) -> np.ndarray:
        """Tokens of a piece or part of one (int32 [T]); see `Codec.encode`."""
        if given is not None:
            header = writing.header(self, piece, drop, given.task)
            body, ends = writing.task_body(self, piece, drop, given), True
        else:
            header = writing.header(self, piece, drop)
            body, ends = writing.body(self, piece, drop)[0], piece.bars_after == 0
        end = [self.vocabulary.start["eos"]] if ends else []
        return np.concatenate([header, body, end]).astype(np.int32)

    def sizes(self, piece: Piece) -> np.ndarray:
        """Bounds of the number of tokens of plain streams (int32 [B + 1]); see `Codec.sizes`."""
        _, times = writing.body(self, piece, frozenset())
        bar = np.searchsorted(piece.bar_step, times, side="right") - 1
        # A part has a token that says so, restates its slot and controls, and may have an end.
        header = len(self.header(piece)) + 3 + writing.most_restated(piece)
        return np.concatenate([[header], np.bincount(bar, minlength=piece.bars)]).astype(np.int32)

    def events(self, tokens: np.ndarray) -> Events:
        """Event tensors of a stream that opens with a header (see `core.events.Events`)."""
        return events.events(self, tokens)

    def decode(self, tokens: np.ndarray) -> tuple[Piece, int]:
        """The piece that a stream stands for, and the number of tokens that made no sense.

        Of a task stream that is the whole piece: what is given, untouched, and what is written.
        Never raises: what has no meaning where it stands is left out and counted.
        """
        return reading.read(self, tokens)
