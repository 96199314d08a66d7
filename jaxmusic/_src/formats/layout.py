"""Where a piano roll's bars, pitches and drums stand on the page."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxmusic._src.formats.instruments import DRUMS, OTHER_DRUM, drum_name
from jaxmusic._src.music.meters import bars_of
from jaxmusic._src.music.notes import Notes

_LANE = 2.4  # semitones that a row of drums is as high as
_BEATS = 96  # quarter notes in a system, about: 24 bars of 4/4
_MOST_SYSTEMS = 40  # longer pieces get longer systems


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where things are: ticks across, semitones up, drums in rows below the lowest pitch.

    Attributes:
      bar: int [B + 1], first tick of each bar, and the end.
      meter: numerator and denominator of each bar [B].
      first: first bar of each system, and the number of bars.
      low, high: lowest and highest pitch that has a row; high is below low where none has.
      drums: names of the drums that have rows, from the bottom up.
    """

    bar: np.ndarray
    meter: list[tuple[int, int]]
    first: list[int]
    low: int
    high: int
    drums: list[str]

    @property
    def bottom(self) -> float:
        """Where the lowest row begins."""
        return self.low - (0.5 + _LANE * len(self.drums) if self.drums else 0)

    def drum_row(self, name: str) -> float:
        """Middle of a drum's row."""
        return self.bottom + _LANE * (self.drums.index(name) + 0.5)


def lay_out(notes: Notes) -> Layout:
    """Divides a piece into systems of about equal length, in fours of bars, and finds its rows."""
    bar, meter = bars_of(notes)
    systems = min(max(round(bar[-1] / notes.ticks_per_beat / _BEATS), 1), _MOST_SYSTEMS)
    first = [0]
    for system in range(1, systems):
        fair = int(np.searchsorted(bar, bar[-1] * system / systems))
        # Musicians count in fours.
        first.append(fair if len(meter) < 4 * systems else min(round(fair / 4) * 4, len(meter)))
    first = sorted({*first, len(meter)})
    pitched = notes.pitch[~notes.is_drum].tolist()
    low, high = min(pitched, default=60), max(pitched, default=60)
    # Two octaves at least, so that a short melody does not fill the page with its steps.
    spare = max(0, 24 - (high - low))
    low, high = max(0, low - 1 - spare // 2), min(127, high + 1 + spare // 2)
    used = {drum_name(pitch) for pitch in np.unique(notes.pitch[notes.is_drum])}
    drums = [name for name in [*(name for name, _ in DRUMS), OTHER_DRUM] if name in used]
    if drums and not len(pitched):
        low, high = 60, 59  # drums alone: no roll
    return Layout(bar, meter, first, low, high, drums)
