"""How long a piece is to be, and how many bars that takes."""

from __future__ import annotations

import math
import re

from jaxmusic import meters
from jaxmusic.errors import UserError

TEMPO_PLAY = 0.01
"""Share by which the tempo may be moved to make whole bars fill a duration."""
SHORTEST, LONGEST = 1.0, 3600.0
"""Durations in seconds that can be asked for."""


def parse_duration(text: str) -> float:
    """Seconds of ``180``, ``3:00`` or ``1:00:00``; raises UserError for anything else."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", text.strip())
    if match:
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        colons = text.count(":")
        if (colons < 1 or seconds < 60) and (colons < 2 or minutes < 60):
            return check_duration(3600 * hours + 60 * minutes + seconds)
    raise UserError(f"{text!r} is not a duration: write 3:00, 180 or 1:00:00")


def check_duration(seconds: float) -> float:
    """The same seconds; raises UserError where they are out of range."""
    if not SHORTEST <= seconds <= LONGEST:
        raise UserError(
            f"the duration must be {SHORTEST:g} to {LONGEST:g} seconds, not {seconds:g}"
        )
    return seconds


def whole_bars(duration: float, meter: int, tempo: float, steps_per_beat: int) -> tuple[int, int]:
    """Bars that fill a duration, and the steps of the last if it is cut short, else 0.

    Args:
      duration: seconds.
      meter: index into `meters.METERS`.
      tempo: quarter notes per minute, which may be moved by `TEMPO_PLAY`.
      steps_per_beat: of the grid.
    """
    steps = meters.bar_length(meter, steps_per_beat)
    exact = duration * tempo * steps_per_beat / 60.0 / steps
    bars = round(exact)
    if bars and abs(bars / exact - 1) <= TEMPO_PLAY:
        return bars, 0
    bars = math.ceil(exact)
    last = max(1, round((exact - (bars - 1)) * steps))
    return bars, last if last < steps else 0
