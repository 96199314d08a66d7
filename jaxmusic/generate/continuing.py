"""Going on with a given piece: its first bars are the prompt, and new bars follow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from jaxmusic.codecs.layout import bars_left_index
from jaxmusic.codecs.metrical.grammar import Grammar
from jaxmusic.core.errors import UserError
from jaxmusic.generate.controls import DURATION, Wishes
from jaxmusic.generate.length import SHORTEST, whole_bars
from jaxmusic.generate.merging import Original, merge
from jaxmusic.generate.planning import Plan, Planner
from jaxmusic.music import meters
from jaxmusic.music.controls import of
from jaxmusic.music.notes import Labels, Notes

STEADY_BARS = 4
"""Maximum bars over which the tempo in force is averaged."""


class ContinuingPlanner(Planner):
    """Continues a piece after some of its bars, up to a total length.

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
        self.codec, self.context = grammar.codec, context
        self._measure(wishes, _tempo_in_force(original, count))
        sizes = self.codec.sizes(piece.part(0, count))
        room = context // 2 - int(sizes[0])
        fitting = int((np.cumsum(sizes[:0:-1]) <= room).sum())
        self.first = count - max(fitting, 1)

        start = count - self.first
        # Chords and form are asked of the new bars alone.
        later = {
            kind: (-1,) * start + values if of(kind).place == "bar" else _rolled(values, 2 * start)
            for kind, values in wishes.wanted.items()
            if isinstance(values, tuple) and of(kind).place != "slot"
        }
        super().__init__(
            grammar,
            context,
            dataclasses.replace(
                wishes,
                seconds=DURATION,
                bars=0,
                wanted={**wishes.wanted, **later},
            ),
        )

    def _measure(self, wishes: Wishes, tempo: float) -> None:
        """Finds how many new bars there are, the steps of the last, and their tempo."""
        given, whole, beat = self.original.notes, wishes.seconds, self.codec.config.steps_per_beat
        stop = (given.onset.astype(np.int64) + given.duration)[self.kept].max(initial=0)
        now, stop = float(given.seconds(self.tick)), float(given.seconds(stop))
        bar = meters.bar_length(self.meter, beat) / beat
        if wishes.form_bars or whole is None:
            self.new_bars = wishes.form_bars or wishes.bars - self.bars_given
            self.last_bar, self.tempo = 0, tempo
            fewest = max(1, math.ceil((stop - now) * tempo / 60 / bar))
            if self.new_bars < fewest:
                raise UserError(
                    f"Ask for {self.bars_given + fewest} bars or more: the prompt has "
                    f"{self.bars_given}, and what sounds there has to end."
                )
            return
        least = max(now + SHORTEST, stop)
        if least > whole:
            raise UserError(
                f"Ask for {math.ceil(least)} seconds or more: the prompt of {self.bars_given} bars "
                f"takes up {now:.1f}, and the whole is to be {whole:g} seconds."
            )
        self.new_bars, self.last_bar = whole_bars(whole - now, self.meter, tempo, beat)
        self.tempo = self._quarters() * 60 / (whole - now)

    def _quarters(self) -> float:
        """Quarter notes in the new bars."""
        beat = self.codec.config.steps_per_beat
        bar = meters.bar_length(self.meter, beat)
        return ((self.new_bars - 1) * bar + (self.last_bar or bar)) / beat

    def begin(self, count: int) -> tuple[list[np.ndarray], Plan]:
        """The prompts of `count` pieces, and their plan."""
        piece = self.original.piece
        piece = dataclasses.replace(piece, bars_after=self.bars_given + self.new_bars - piece.bars)
        prompt = self.codec.encode(piece.part(self.first, self.bars_given), self.drop)
        # The next bar is opened, or notes might be added to the last one that is given.
        opened = self.codec.vocabulary.start["bar"] + bars_left_index(self.new_bars - 1)
        return [np.append(prompt, opened).astype(np.int32)] * count, self._plan(count)

    def _plan(self, count: int) -> Plan:
        """The plan of `count` pieces, counted from the first bar of the stream."""
        plan = super()._plan(count)
        plan.bars[:] = self.bars_given - self.first + self.new_bars
        plan.last_bar[:] = self.last_bar
        plan.constraints.given[:] = self.bars_given - self.first
        before = np.unique(self.original.piece.slot[self._of_prompt()]).astype(np.int32)
        plan.constraints.sounded[:] = (1 << before).sum()
        return plan

    def _of_prompt(self) -> np.ndarray:
        """Bool [N]: notes of the piece that are in the prompt."""
        piece = self.original.piece
        return piece.onset < piece.bar_step[self.bars_given]

    def bars(self, stream: np.ndarray) -> int:
        """Bars of the whole so far."""
        return self.first + super().bars(stream)

    def finish(self, stream: np.ndarray) -> Notes:
        """The prompt as it was, and the new notes after it, up to exactly the duration asked."""
        piece, _ = self.codec.decode(stream)
        piece = piece.transpose(-self.original.semitones)
        beat, unit = piece.steps_per_beat, self.original.notes.ticks_per_beat
        length = math.ceil(self._quarters() * unit - 1e-9)
        end = self.tick + length
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
        # Ticks may be too coarse for a last bar that is short.
        tempo = self.tempo * length / unit / self._quarters()
        return self._continued(whole, tempo, new.labels, ticks)

    def _continued(self, whole: Notes, tempo: float, added: Labels, ticks: Any) -> Notes:
        """The notes with what changes where the new bars begin, and with their labels."""
        here = [self.tick]
        num, den = meters.METERS[self.meter]
        labels: dict[str, Any] = {}
        for name in Labels.timelines():
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


def _rolled(values: tuple[int, ...], places: int) -> tuple[int, ...]:
    """A progression that begins later."""
    return tuple(int(value) for value in np.roll(values, places))


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
