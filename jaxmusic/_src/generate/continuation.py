"""Going on with a given piece: its first bars are the prompt, and new bars follow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from jaxmusic._src.codecs.layout import bars_left_index
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.generate.length import SHORTEST, whole_bars
from jaxmusic._src.generate.planning import Plan, Planner, constraints, repeated, slot_bits
from jaxmusic._src.generate.splice import SourcePiece, merge
from jaxmusic._src.music import meters
from jaxmusic._src.music.controls import of
from jaxmusic._src.music.notes import Labels, Notes

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
      kept: bool [N], notes of the given piece that are in the prompt.
      tick: tick of the source at which the new bars begin.
    """

    def __init__(
        self,
        grammar: Any,
        context: int,
        request: Request,
        source: SourcePiece,
        bars: int = 0,
        drop: frozenset[str] = frozenset(),
    ):
        """Takes the given piece besides what every planner takes.

        Args:
          grammar, context: as in every planner.
          request: the requested controls; their duration is that of the whole.
          source: the given piece.
          bars: of it that are the prompt; 0 for all.
          drop: names of controls that are left out of the prompt.

        Raises:
          UserError: the piece has fewer bars, or the whole is to be no longer than the prompt.
        """
        self.source, self.drop, piece = source, drop, source.piece
        if not 0 <= bars <= piece.bars:
            raise UserError(
                f"Ask for a prompt of 1 to {piece.bars} bars: the piece has no more, and {bars} "
                "were asked for."
            )
        self.bars_given = count = bars or piece.bars
        self.kept = source.bar < count
        self.tick = int(source.ticks(piece.bar_step[count]))
        self.meter = int(piece.meter[count - 1])
        super().__init__(grammar, context, request)
        self.first = count - self._fitting(piece.part(0, count))
        start = count - self.first
        # Chords and form are asked of the new bars alone.
        later = {
            kind: (-1,) * start + values
            if of(kind).place == "bar"
            else tuple(np.roll(values, 2 * start).tolist())
            for kind, values in request.wanted.items()
            if isinstance(values, tuple) and of(kind).place != "slot"
        }
        self.request = dataclasses.replace(request, wanted={**request.wanted, **later})

    def _measure(self) -> None:
        """Finds how many new bars there are, the steps of the last, and their tempo."""
        given, whole, beat = self.source.notes, self.request.seconds, self._beat
        tempo = _tempo_in_force(self.source, self.bars_given)
        stop = (given.onset.astype(np.int64) + given.duration)[self.kept].max(initial=0)
        now, stop = float(given.seconds(self.tick)), float(given.seconds(stop))
        if self.request.form_bars or whole is None:
            self.new_bars = self.request.form_bars or self.request.bars - self.bars_given
            self.last_bar, self.tempo = 0, tempo
            bar = meters.bar_length(self.meter, beat) / beat
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

    @property
    def _beat(self) -> int:
        return self.codec.config.steps_per_beat

    def _quarters(self) -> float:
        """Counts the quarter notes in the new bars."""
        bar = meters.bar_length(self.meter, self._beat)
        return ((self.new_bars - 1) * bar + (self.last_bar or bar)) / self._beat

    def begin(self, count: int) -> tuple[list[np.ndarray], Plan]:
        """Returns the prompts of `count` pieces, and their plan."""
        piece = self.source.piece
        piece = dataclasses.replace(piece, bars_after=self.bars_given + self.new_bars - piece.bars)
        prompt = self.codec.encode(piece.part(self.first, self.bars_given), self.drop)
        # The next bar is opened, or notes might be added to the last one that is given.
        opened = self.codec.vocabulary.start["bar"] + bars_left_index(self.new_bars - 1)
        return [np.append(prompt, opened).astype(np.int32)] * count, self._plan(count)

    def _plan(self, count: int) -> Plan:
        """Returns the plan of `count` pieces, counted from the first bar of the stream."""
        shape, piece = (len(meters.METERS), len(meters.TEMPOS)), self.source.piece
        start, opened = self.bars_given - self.first, piece.onset < piece.bar_step[self.bars_given]
        limits = constraints(self.request, np.ones(shape, bool))._replace(
            given=np.int32(start), sounded=np.int32(slot_bits(piece.slot[opened]))
        )
        bars, last_bar = (
            np.full(shape, n, np.int32) for n in (start + self.new_bars, self.last_bar)
        )
        return repeated(Plan(bars, last_bar, np.int32(self.context // 4), limits), count)

    def bars(self, stream: np.ndarray) -> int:
        """Counts the bars of the whole so far."""
        return self.first + super().bars(stream)

    def finish(self, stream: np.ndarray) -> Notes:
        """Returns the prompt as it was, and the new notes, up to exactly the duration asked for."""
        piece, _ = self.codec.decode(stream)
        piece = piece.transpose(-self.source.semitones)
        unit = self.source.notes.ticks_per_beat
        length = math.ceil(self._quarters() * unit - 1e-9)
        new = self.codec.dequantise(piece)
        line = int(piece.bar_step[self.bars_given - self.first]) * new.ticks_per_beat // self._beat

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
        whole = merge(self.source, self.kept, written, slots, self.tick + length)
        changes: dict[str, Any] = {}
        if given := self.source.notes.details:
            changes["details"] = given.until(self.tick)
        num, den = meters.METERS[self.meter]
        # Ticks may be too coarse for a last bar that is short.
        tempo = self.tempo * length / unit / self._quarters()
        for at, name, value in (
            ("tempo_tick", "tempo_qpm", tempo),
            ("meter_tick", "meter_num", num),
            ("meter_tick", "meter_den", den),
        ):
            changes |= self._changed(whole, at, name, [self.tick], [value])
        labels: dict[str, Any] = {}
        for name in Labels.timelines():
            at = f"{name}_tick"
            when = ticks(getattr(new.labels, at))
            here = when >= self.tick
            values = getattr(new.labels, name)[here]
            labels |= self._changed(whole.labels, at, name, when[here], values)
        return whole.replace(labels=dataclasses.replace(whole.labels, **labels), **changes)

    def _changed(self, old: Any, at: str, name: str, ticks: Any, values: Any) -> dict[str, Any]:
        """Returns columns of ticks and values: old ones before the new bars, then new ones."""
        tick, value = getattr(old, at), getattr(old, name)
        before = tick < self.tick
        return {
            at: np.append(tick[before], ticks).astype(tick.dtype),
            name: np.append(value[before], values).astype(value.dtype),
        }


def _tempo_in_force(source: SourcePiece, count: int) -> float:
    """Returns the tempo at the end of `count` bars: that of the last few with a steady one."""
    piece = source.piece
    same = np.flatnonzero(piece.tempo[:count] != piece.tempo[count - 1])
    first = max(count - STEADY_BARS, int(same[-1]) + 1 if len(same) else 0)
    span = piece.bar_step[[first, count]].astype(np.int64)
    ticks = span * (source.aligned.ticks_per_beat // piece.steps_per_beat)
    seconds = np.diff(source.aligned.seconds(ticks))[0]
    return float(np.diff(span)[0] / piece.steps_per_beat * 60 / seconds)
