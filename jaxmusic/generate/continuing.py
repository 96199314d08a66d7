"""Going on with a given piece: its first bars are the prompt, and new bars follow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from jaxmusic import meters
from jaxmusic.codecs.grammar import Grammar
from jaxmusic.errors import UserError
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.length import SHORTEST, whole_bars
from jaxmusic.generate.merging import Original, merge
from jaxmusic.generate.planning import Plan, Planner
from jaxmusic.notes import Labels, Notes

STEADY_BARS = 4
"""The tempo in force is the mean over up to so many bars before."""


class ContinuingPlanner(Planner):
    """Goes on with a piece after some of its bars, up to a length of the whole.

    New bars have the meter and the tempo in force where they begin. The tempo is moved, by at most
    `length.TEMPO_PLAY`, so that whole bars fill the time that is left, or else the last bar is
    shorter.

    Attributes:
      first: bar of the piece with which the stream opens: what does not fit into half of the
        context is left out of the prompt.
      bars_given: bars of the prompt.
      tick: tick of the original at which the new bars begin.
    """

    def __init__(
        self,
        grammar: Grammar,
        context: int,
        wishes: Wishes,
        original: Original,
        bars: int = 0,
        drop: frozenset[str] = frozenset(),
    ):
        """Takes the given piece besides what every planner takes.

        Args:
          grammar: the codec's grammar.
          context: of the model.
          wishes: what is asked for; their duration is that of the whole.
          original: the given piece.
          bars: bars of it that are the prompt; 0 for all.
          drop: names of controls that are left out of the prompt.

        Raises:
          UserError: the piece has fewer bars, or the whole is to be no longer than the prompt.
        """
        super().__init__(grammar, context, wishes)
        piece = original.piece
        if not 0 <= bars <= piece.bars:
            raise UserError(
                f"Ask for a prompt of 1 to {piece.bars} bars: the piece has no more, and {bars} "
                "were asked for."
            )
        self.original, self.drop = original, drop
        self.bars_given = count = bars or piece.bars
        self.kept = original.bar < count
        self.tick = int(original.ticks(piece.bar_step[count]))
        self.meter = int(piece.meter[count - 1])
        self.seconds_left = self._seconds_left()
        self.new_bars, self.last_bar = whole_bars(
            self.seconds_left, self.meter, _tempo_in_force(original, count), piece.steps_per_beat
        )
        sizes = self.codec.sizes(piece.part(0, count))
        room = context // 2 - int(sizes[0])
        fitting = int((np.cumsum(sizes[:0:-1]) <= room).sum())
        self.first = count - max(fitting, 1)

    def _seconds_left(self) -> float:
        """Seconds from the end of the prompt to the end of the whole."""
        given, whole = self.original.notes, self.wishes.seconds
        stop = (given.onset.astype(np.int64) + given.duration)[self.kept].max(initial=0)
        now = float(given.seconds(self.tick))
        least = max(now + SHORTEST, float(given.seconds(stop)))
        if least > whole:
            raise UserError(
                f"Ask for {math.ceil(least)} seconds or more: the prompt of {self.bars_given} bars "
                f"takes up {now:.1f}, and the whole is to be {whole:g} seconds."
            )
        return whole - now

    def begin(self, count: int) -> tuple[list[np.ndarray], Plan]:
        """The prompts of `count` pieces, and their plan."""
        piece = self.original.piece
        piece = dataclasses.replace(piece, bars_after=self.bars_given + self.new_bars - piece.bars)
        prompt = self.codec.encode(piece.part(self.first, self.bars_given), self.drop)
        return [prompt] * count, self._plan(count)

    def _plan(self, count: int) -> Plan:
        """The plan of `count` pieces, counted from the first bar of the stream."""
        plan = super()._plan(count)
        plan.bars[:] = self.bars_given - self.first + self.new_bars
        plan.last_bar[:] = self.last_bar
        return plan

    def bars(self, stream: np.ndarray) -> int:
        """Bars of the whole so far."""
        return self.first + super().bars(stream)

    def finish(self, stream: np.ndarray) -> Notes:
        """The prompt as it was, and the new notes after it, up to exactly the duration asked."""
        piece, _ = self.codec.decode(stream)
        beat, unit = piece.steps_per_beat, self.original.notes.ticks_per_beat
        bar = meters.bar_length(self.meter, beat)
        steps = (self.new_bars - 1) * bar + (self.last_bar or bar)
        end = self.tick + -(-steps * unit // beat)
        new = self.codec.dequantise(piece)
        line = int(piece.bar_step[self.bars_given - self.first]) * new.ticks_per_beat // beat

        def ticks(at: np.ndarray) -> np.ndarray:
            return np.rint(self.tick + (at - line) / new.ticks_per_beat * unit).astype(np.int64)

        later = new.onset >= line
        onset, stop = ticks(new.onset), ticks(new.onset + new.duration)
        written = new.replace(
            onset=onset[later],
            duration=np.maximum(stop - onset, 1)[later],
            **{name: getattr(new, name)[later] for name in ("pitch", "velocity", "track")},
        )
        slots = np.flatnonzero(piece.programs >= 0)
        whole = merge(self.original, self.kept, written, slots, end)
        tempo = (end - self.tick) / unit * 60 / self.seconds_left
        return self._continued(whole, tempo, new.labels, ticks)

    def _continued(self, whole: Notes, tempo: float, added: Labels, ticks: Any) -> Notes:
        """The notes with what changes where the new bars begin, and with their labels."""
        here = [self.tick]
        num, den = meters.METERS[self.meter]
        labels: dict[str, np.ndarray] = {}
        for name in ("key", "chord", "section"):
            old = getattr(whole.labels, f"{name}_tick"), getattr(whole.labels, name)
            at, values = ticks(getattr(added, f"{name}_tick")), getattr(added, name)
            new = at >= self.tick
            labels[f"{name}_tick"], labels[name] = _after(self.tick, *old, at[new], values[new])
        tempo_tick, tempo_qpm = _after(self.tick, whole.tempo_tick, whole.tempo_qpm, here, [tempo])
        meter_tick, meter_num = _after(self.tick, whole.meter_tick, whole.meter_num, here, [num])
        _, meter_den = _after(self.tick, whole.meter_tick, whole.meter_den, here, [den])
        return whole.replace(
            tempo_tick=tempo_tick,
            tempo_qpm=tempo_qpm,
            meter_tick=meter_tick,
            meter_num=meter_num,
            meter_den=meter_den,
            labels=dataclasses.replace(whole.labels, **labels),
        )


def _tempo_in_force(original: Original, count: int) -> float:
    """Quarter notes per minute where `count` bars end: of the last few that have one tempo."""
    piece = original.piece
    same = np.flatnonzero(piece.tempo[:count] != piece.tempo[count - 1])
    first = max(count - STEADY_BARS, int(same[-1]) + 1 if len(same) else 0)
    span = piece.bar_step[[first, count]].astype(np.int64)
    ticks = span * (original.aligned.ticks_per_beat // piece.steps_per_beat)
    seconds = np.diff(original.aligned.seconds(ticks))[0]
    return float(np.diff(span)[0] / piece.steps_per_beat * 60 / seconds)


def _after(
    tick: int, old_tick: np.ndarray, old: np.ndarray, new_tick: Any, new: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Ticks and values of changes: old ones before a tick, and new ones from there on."""
    before = old_tick < tick
    return (
        np.append(old_tick[before], new_tick).astype(old_tick.dtype),
        np.append(old[before], new).astype(old.dtype),
    )
