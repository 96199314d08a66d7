"""Bars as people count them: those that a file states, where its music bears them out.

The beats and bars on which a model reads a piece are found in the music (`beats.align`). People
count the bars of their sequencer, which are the file's own. Both begin bars at the same moments in
most files; but a file may state half bars, begin with empty bars, or state bars that have nothing
to do with what was played.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music import beats
from jaxmusic._src.music.beat_grid import ticks_at
from jaxmusic._src.music.meters import bars_of, first_number
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Labels, Notes

NEAR = 0.125
"""Quarter notes by which a bar line of a file may miss one of the music."""
MOST_NEAR = 0.8
"""Least share of bar lines that must be as near."""
_PLACE = r"\d+(?::\d\d){1,2}(?:\.\d+)?"
_BARS = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")
_TIMES = re.compile(rf"\s*({_PLACE})\s*-\s*({_PLACE})\s*")


@dataclasses.dataclass(frozen=True, eq=False)
class BarCount:
    """The bars of a piece that people count, beside those that were found in the music.

    Attributes:
      line: float64 [K + 1], seconds at which the counted bars begin, and at which the last ends.
      found: float64 [B + 1], the same for the bars that were found.
      stated: whether the counted bars are those of the file; else they are the found ones.
      meters: the usual meter of the file and that of the music, as in 2/4.
      number: that of the first counted bar.
    """

    line: np.ndarray
    found: np.ndarray
    stated: bool
    meters: tuple[str, str]
    number: int = 1

    @property
    def last(self) -> int:
        """Number of the last counted bar."""
        return self.number + len(self.line) - 2

    def chosen(self, text: str) -> tuple[np.ndarray, list[str]]:
        """Finds the bars of the music that ``9-16``, ``7``, ``1-4,9-12`` or ``0:10-0:16`` name.

        Returns:
          Bool [B], whole bars of the music; and what a person should know of each part of the
          text, where bars or their limits are not those that the file states.

        Raises:
          UserError: the text names no bars, or none that the piece has.
        """
        chosen, remarks = np.zeros(len(self.found) - 1, bool), []
        for part in text.split(","):
            start, stop = self._asked(part, text)
            here = self._whole(start, stop)
            if not here.any():
                raise UserError(f"Name other bars than {part.strip()}: no music is there.")
            chosen |= here
            first, last = np.flatnonzero(here)[[0, -1]]
            held = float(self.found[first]), float(self.found[last + 1])
            remarks += self._remarks(part.strip(), (start, stop), held)
        return chosen, remarks

    def first(self, bars: int) -> int:
        """Returns how many bars of the music lie in the first counted ones, in whole bars.

        A pick-up is one of them.

        Raises:
          UserError: the piece has fewer.
        """
        if not 0 < bars < len(self.line):
            raise UserError(
                f"Ask for a prompt of 1 to {len(self.line) - 1} bars: the piece has no more, and "
                f"{bars} were asked for."
            )
        here = self._whole(-np.inf, float(self.line[bars]))
        if not here.any():
            raise UserError(f"Ask for a longer prompt: no music is in the first {bars} bars.")
        return int(here.sum())

    def _asked(self, part: str, text: str) -> tuple[float, float]:
        if match := _TIMES.fullmatch(part):
            start, stop = (_seconds(place) for place in match.groups())
            if not start < stop:
                raise UserError(f"Name an earlier time before a later one, not {part.strip()}.")
            return start, stop
        if not (match := _BARS.fullmatch(part)):
            raise UserError(
                f"{text!r} does not name bars: write 9-16, 7 or 1-4,9-12, or times as in 0:10-0:16"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not self.number <= first <= last <= self.last:
            raise UserError(
                f"bars {part.strip()} are not in the piece: it has bars {self.number} to "
                f"{self.last} ({_clock(self.line[0])}-{_clock(self.line[-1])}), and the first one "
                "named must not come after the last"
            )
        start, stop = self.line[first - self.number], self.line[last - self.number + 1]
        return float(start), float(stop)

    def _whole(self, start: float, stop: float) -> np.ndarray:
        """Returns the bars of the music (bool [B]) of which more than a sixteenth is meant."""
        shared = np.minimum(self.found[1:], stop) - np.maximum(self.found[:-1], start)
        return shared > np.diff(self.found) / 16

    def _remarks(
        self, part: str, asked: tuple[float, float], held: tuple[float, float]
    ) -> list[str]:
        file, music = self.meters
        near = 2 * (self.found[1] - self.found[0]) / 16
        rounded = max(abs(a - b) for a, b in zip(asked, held)) > near
        times, wider = ("-".join(map(_clock, pair)) for pair in (asked, held))
        if ":" in part:
            return [f"{part} is rounded out to {wider}, whole bars of the music"] if rounded else []
        if not self.stated:
            said = f"the bars of the file ({file}) are not those of its music ({music}), and"
            return [f"bars {part} = {times}: {said} are not counted"]
        if file == music and not rounded:
            return []
        why = f"the music is in {music}, the file says {file}"
        if file == music:
            why = "bars of the music begin at other times than those of the file"
        return [
            f"bars {part} = {times}: {why}"
            + (f"; rounded out to {wider}, whole bars of the music" if rounded else "")
        ]


def count(notes: Notes, aligned: Notes, offset: float, found: np.ndarray) -> BarCount:
    """Chooses the bars that people count.

    Those of the file are chosen if it states bars of more than one beat, and nearly all of the
    coarser ones of both begin within `NEAR` quarter notes of one of the others.

    Args:
      notes: the piece in the ticks of its file.
      aligned: the same on its beats.
      offset: seconds in `notes` at which `aligned` begins.
      found: float64 [B + 1], seconds of the bar lines of `aligned`.
    """
    ticks, meters = bars_of(notes)
    line = notes.seconds(ticks)
    meter = _usual(meters)
    names = f"{meter[0]}/{meter[1]}", "{}/{}".format(*_usual(bars_of(aligned)[1]))
    starts, others = line[:-1], found[:-1]
    starts = starts[(starts > found[0] - 1e-3) & (starts < found[-1])]
    quarter = (found[-1] - found[0]) * TICKS_PER_BEAT / max(aligned.end, 1)
    fine, coarse = (starts, others) if len(starts) > len(others) else (others, starts)
    if meter[0] > 1 and len(coarse):
        far = np.abs(coarse[:, None] - fine).min(1)
        if (far < NEAR * quarter).mean() >= MOST_NEAR:
            # The last bar of the music may go on after the last note.
            line[-1] = max(line[-1], found[-1])
            return BarCount(line, found, True, names, first_number(notes))
    return BarCount(found, found, False, names)


def count_bars(notes: Notes) -> BarCount:
    """Chooses the bars of a piece, in the ticks of its file, that people count; see `count`."""
    return _counted(notes)[0]


def as_counted(notes: Notes, score: bool = False) -> Notes:
    """Returns a piece with the bars that people count, for a picture or a score.

    Args:
      notes: a piece in the ticks of its file.
      score: whether it is to lie on the beats of its music; where the bars of the file count, a
        piece comes back as it is otherwise.
    """
    bars, aligned, offset = _counted(notes)
    if not bars.stated:
        return aligned
    return (_with_bars(notes, aligned, offset) or aligned) if score else notes


def _counted(notes: Notes) -> tuple[BarCount, Notes, float]:
    aligned, _ = beats.align(notes)
    offset = beats.offset(notes, aligned)
    found = offset + aligned.seconds(bars_of(aligned)[0])
    return count(notes, aligned, offset, found), aligned, offset


def _with_bars(notes: Notes, aligned: Notes, offset: float) -> Notes | None:
    """Returns an aligned piece with the bars of its file, those before the first note included.

    None where a bar of the file has another number of beats in the music than it states.
    """
    changes = notes.seconds(notes.meter_tick) - offset
    sixteenth = TICKS_PER_BEAT // 4
    at = np.rint(ticks_at(aligned, changes) / sixteenth).astype(int) * sixteenth
    length = 4 * TICKS_PER_BEAT * notes.meter_num.astype(int) // notes.meter_den
    line = notes.seconds(bars_of(notes)[0]) - offset
    ticks = ticks_at(aligned, line[:2])
    if at[0] > 0 or abs(float(ticks[1] - ticks[0]) - length[0]) > 2 * NEAR * TICKS_PER_BEAT:
        return None
    shift = -int(at[0])
    labels = aligned.labels
    moved = {f"{n}_tick": getattr(labels, f"{n}_tick") + shift for n in Labels.timelines()}
    tempo = aligned.tempo_tick + shift
    tempo[0] = 0
    return aligned.replace(
        onset=aligned.onset + shift,
        tempo_tick=tempo,
        meter_tick=(at + shift).astype(np.int32),
        meter_num=notes.meter_num,
        meter_den=notes.meter_den,
        end=aligned.end + shift,
        labels=dataclasses.replace(labels, **moved),
        details=aligned.details and aligned.details.moved(aligned.details.tick + shift),
    )


def _usual(meters: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Returns the meter of most bars."""
    return max(dict.fromkeys(meters), key=meters.count)


def _seconds(place: str) -> float:
    """Seconds of a time, as in 1:23.5."""
    total = 0.0
    for part in place.split(":"):
        total = 60 * total + float(part)
    return total


def _clock(seconds: float) -> str:
    """Writes a time to a tenth of a second, as in 1:23.5."""
    tenths = round(max(seconds, 0.0) * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
