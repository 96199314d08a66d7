"""How long a piece is to be, and how many bars that takes."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music import meters

TEMPO_PLAY = 0.01
"""Share by which the tempo may be moved to make whole bars fill a duration."""
SHORTEST, LONGEST = 1.0, 3600.0
"""Durations in seconds that can be asked for."""
COMMON = tuple(meters.METERS_BY_NAME[m] for m in ((4, 4), (3, 4), (2, 4), (6, 8), (12, 8), (2, 2)))
"""Meters that are taken to make bars, tempo and duration agree; others only where asked for."""


def parse_duration(text: str) -> float:
    """Seconds of ``180``, ``3:00`` or ``1:00:00``; raises UserError for anything else."""
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)", text.strip())
    if match:
        hours, minutes, seconds = (float(part or 0) for part in match.groups())
        colons = text.count(":")
        if (colons < 1 or seconds < 60) and (colons < 2 or minutes < 60):
            return check_duration(3600 * hours + 60 * minutes + seconds)
    raise UserError(f"{text!r} is not a duration: write 3:00, 180 or 1:00:00")


def parse_bars(text: str) -> int | None:
    """Reads ``90 bars``; None for other texts; raises UserError for no bars."""
    match = re.fullmatch(r"(\d+) ?bars?", text.strip().lower())
    if match and not int(match[1]):
        raise UserError("a piece has 1 bar or more, not 0")
    return int(match[1]) if match else None


def check_duration(seconds: float) -> float:
    """Returns the seconds; raises UserError where they are out of range."""
    if not SHORTEST <= seconds <= LONGEST:
        raise UserError(
            f"the duration must be {SHORTEST:g} to {LONGEST:g} seconds, not {seconds:g}"
        )
    return seconds


def read_length(duration: str | float) -> tuple[float | None, int]:
    """Returns seconds, None where there are none, and bars, 0 where there are none."""
    if not isinstance(duration, str):
        return check_duration(float(duration)), 0
    if not duration.strip():
        return None, 0
    bars = parse_bars(duration)
    return (parse_duration(duration), 0) if bars is None else (None, bars)


def whole_bars(duration: float, meter: int, tempo: float, steps_per_beat: int) -> tuple[int, int]:
    """Returns the bars that fill a duration, and the steps of the last if it is cut short, else 0.

    Arguments are those of `lengths`; the tempo may be moved by `TEMPO_PLAY`.
    """
    steps = meters.bar_length(meter, steps_per_beat)
    exact = duration * tempo * steps_per_beat / 60.0 / steps
    bars = round(exact)
    if bars and abs(bars / exact - 1) <= TEMPO_PLAY:
        return bars, 0
    bars = math.ceil(exact)
    last = max(1, round((exact - (bars - 1)) * steps))
    return bars, last if last < steps else 0


class Lengths(NamedTuple):
    """What a length comes to in each meter and at each tempo of the grid (all [M, K]).

    Attributes:
      bars: int32, bars of the piece.
      last_bar: int32, steps of the last bar if it is cut short, else 0.
      tempo: float64, quarter notes per minute at which these bars are as long as is asked for.
      allowed: bool, whether meter and tempo are those asked for and can make up that length.
    """

    bars: np.ndarray
    last_bar: np.ndarray
    tempo: np.ndarray
    allowed: np.ndarray


def lengths(
    seconds: float | None, bars: int, meter: int, tempo: float, steps_per_beat: int
) -> Lengths:
    """Computes what a length amounts to for each meter and tempo.

    Args:
      seconds: duration, or None where the number of bars alone is asked for.
      bars: number of bars, 0 where the duration alone is asked for.
      meter: index into `meters.METERS`, -1 for any.
      tempo: quarter notes per minute, 0 for any; moved by no more than `TEMPO_PLAY`.
      steps_per_beat: of the grid.

    Raises:
      UserError: no meter and tempo can make it up.
    """
    shape = len(meters.METERS), len(meters.TEMPOS)
    found = Lengths(*(np.zeros(shape, kind) for kind in (np.int32, np.int32, np.float64, bool)))
    nearest = int(np.abs(np.log(meters.TEMPOS / tempo)).argmin()) if tempo else -1
    for m, k in np.ndindex(*shape):
        played = tempo if k == nearest else float(meters.TEMPOS[k])
        whole = meters.bar_length(m, steps_per_beat)
        count, last = bars, 0
        if seconds is not None and not bars:
            count, last = whole_bars(seconds, m, played, steps_per_beat)
        beats = ((count - 1) * whole + (last or whole)) / steps_per_beat
        exact = played if seconds is None else beats * 60.0 / seconds
        asked = (meter in (m, -1)) and (nearest in (k, -1))
        if seconds is None:
            fits = SHORTEST <= beats * 60.0 / exact <= LONGEST
        else:
            fits = abs(exact / played - 1) <= TEMPO_PLAY + 1e-9 or not (bars or tempo)
            fits &= meter >= 0 or m in COMMON or not (bars and tempo)
        found.bars[m, k], found.last_bar[m, k], found.tempo[m, k] = count, last, exact
        found.allowed[m, k] = asked and fits
    if not found.allowed.any():
        raise UserError(_contradiction(seconds, bars, max(meter, 0), tempo))
    return found


def _contradiction(seconds: float | None, bars: int, meter: int, tempo: float) -> str:
    """Explains why no tempo fits a length, and what would fit."""
    num, den = meters.METERS[meter]
    quarters = num * 4 / den
    low, high = (float(t) for t in meters.TEMPOS[[0, -1]])
    if seconds is None:
        return (
            f"{bars} bars of {num}/{den} do not last {SHORTEST:g} to {LONGEST:g} seconds"
            f"{f' at a tempo of {tempo:g}' if tempo else ''}: write another number of bars"
        )
    if not bars:
        return (
            f"a duration of {seconds:g} seconds is too short to keep a tempo of {tempo:g} within "
            "1 %: ask for ten seconds or more, or leave the tempo out"
        )
    need = bars * quarters * 60 / seconds
    ways = [f"tempo {need:.4g}"] if low <= need <= high else []
    if tempo:
        fit = max(round(seconds * tempo / 60 / quarters), 1)
        if abs(fit * quarters * 60 / seconds / tempo - 1) <= TEMPO_PLAY:
            ways.append(f"{fit} bars")
        ways.append(f"a duration of {bars * quarters * 60 / tempo:.4g} seconds")
    else:
        fewest, most = (seconds * t / 60 / quarters for t in (low, high))
        ways += [f"{math.ceil(fewest)} to {math.floor(most)} bars", "another duration"]
    said = f"{tempo:g}" if tempo else f"{low:.0f} to {high:.0f}"
    return (
        f"the form of {bars} bars, the tempo of {said} and the duration of {seconds:g} seconds "
        f"contradict each other: in {num}/{den} write {', '.join(ways[:-1])} or {ways[-1]}"
    )
