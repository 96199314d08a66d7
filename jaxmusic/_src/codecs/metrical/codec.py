"""The default codec: bars and positions, fused notes, and a header of controls.

A stream is ``bos [part] style* control* meter tempo (program [role])* [slot-15 program]``, then
bars. Each ``bar`` token says how many bars are left after it. In a bar come what changes with it
(meter, tempo, and the controls of bars in the order of `music.controls.CONTROLS`), then
events in the order of position, slot and pitch: ``position`` only when time moves (a bar opens at
position 0), ``chord`` and its ``bass`` on change at a half bar, ``slot`` only
when the instrument is another than that of the last pitched note, ``pitch`` followed by ``note``
(duration and loudness in one), and one ``drum`` token (pitch and loudness) for each hit. A duration
that has no token of its own is a ``hold`` of some half bars followed by a ``note``.

A task stream names its task after ``bos``. Bars with something to be written have a ``HOLE`` after
their bar token, and after a ``WRITE`` they come again with that.
"""

from __future__ import annotations

from jaxmusic._src.codecs.metrical import events, reading, writing
from jaxmusic._src.codecs.metrical.layout import MetricalLayout
from jaxmusic._src.music import grid
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.music.piece import Losses, Piece


class MetricalCodec(MetricalLayout):
    """Quantised pieces to tokens and back; its tables are those of `MetricalLayout`."""

    def quantise(self, notes: Notes) -> tuple[Piece, Losses]:
        """Quantises aligned notes to this codec's grid, see `music.grid.quantise`."""
        return grid.quantise(notes, self.config.steps_per_beat, self.config.velocities)

    def dequantise(self, piece: Piece) -> Notes:
        """Returns the notes of a piece, see `music.grid.dequantise`."""
        return grid.dequantise(piece)

    header = writing.header
    body = writing.body
    restated = writing.restated
    events = events.events
    decode = reading.read
