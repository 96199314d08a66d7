"""Planning a piece in bars: how many fill a duration, how to go on past the context, the finish."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmusic import meters
from jaxmusic.codecs.grammar import Grammar, Rules
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.length import whole_bars
from jaxmusic.notes import Notes

SILENT_BARS = 2
"""No more bars than this in a row pass without an onset."""


class Plan(NamedTuple):
    """What the rules of B pieces follow from.

    Attributes:
      bars, last_bar: bars to fill and steps of the last bar, by meter and tempo: int32 [B, M, K].
      tokens: int32 [B], a bar with this many tokens closes as soon as it may.
    """

    bars: Any
    last_bar: Any
    tokens: Any


def rules(state: Any, plan: Plan) -> Rules:
    """Rules of one piece after a state of its grammar (in `jit`)."""
    meter, tempo = jnp.maximum(state.meter, 0), jnp.maximum(state.tempo, 0)
    return Rules(
        bars=plan.bars[meter, tempo],
        last_bar=plan.last_bar[meter, tempo],
        silence=SILENT_BARS,
        steady=1,
        tokens=plan.tokens,
    )


class Planner:
    """One wish for pieces of the metrical codec: how they begin, go on and end.

    Attributes:
      rules: a function of a grammar state and a plan, the same one for all wishes, so that programs
        are compiled once.
    """

    UNIT = "bars"
    rules = staticmethod(rules)

    def __init__(self, grammar: Grammar, context: int, wishes: Wishes):
        """Takes the codec's grammar, the model's context, and what is asked for."""
        self.codec, self.context, self.wishes = grammar.codec, context, wishes

    def begin(self, count: int) -> tuple[list[np.ndarray], Plan]:
        """The prompts of `count` pieces, and their plan."""
        header = [
            self.codec.vocabulary.start["bos"],
            *self.codec.style_tokens(self.wishes.styles),
        ]
        return [np.array(header, np.int32)] * count, self._plan(count)

    def _plan(self, count: int) -> Plan:
        """The plan of `count` pieces, for any meter and tempo."""
        beat = self.codec.config.steps_per_beat
        seconds = self.wishes.seconds
        table = np.array(
            [
                [whole_bars(seconds, m, float(t), beat) for t in meters.TEMPOS]
                for m in range(len(meters.METERS))
            ],
            np.int32,
        )
        bars, last_bar = (np.repeat(table[None, ..., i], count, 0) for i in (0, 1))
        return Plan(bars, last_bar, np.full(count, self.context // 4, np.int32))

    def count(self, state: Any, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Bars finished and bars in all of each piece [B], of what a plan was made for."""
        rows = np.arange(len(plan.bars))
        meter, tempo = (np.maximum(np.asarray(x), 0) for x in (state.meter, state.tempo))
        return np.maximum(np.asarray(state.bar) - 1, 0), plan.bars[rows, meter, tempo]

    def bars(self, stream: np.ndarray) -> int:
        """Bars opened in a stream."""
        return int(self._is_bar(stream).sum())

    def _is_bar(self, stream: np.ndarray) -> np.ndarray:
        return self.codec.vocabulary.kind[stream] == self.codec.vocabulary.kinds["bar"]

    def go_on(self, streams: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray], Plan]:
        """Streams cut to whole bars, prompts for the next stretch, and its plan.

        A prompt is a header, the running state and the last bars of a piece.
        """
        out, prompts, plan = [], [], self._plan(len(streams))
        for row, stream in enumerate(streams):
            if stream[-1] == self.codec.vocabulary.start["eos"]:
                out.append(stream)
                prompts.append(stream[:2])
                plan.bars[row] = 0
                continue
            stream = stream[: np.flatnonzero(self._is_bar(stream))[-1]]
            out.append(stream)
            piece, _ = self.codec.decode(stream)
            total = int(plan.bars[row, piece.meter[0], piece.tempo[0]])
            last = int(plan.last_bar[row, piece.meter[0], piece.tempo[0]])
            piece = dataclasses.replace(piece, bars_after=total - piece.bars)
            sizes = self.codec.sizes(piece)
            room = self.context // 2 - sizes[0]
            kept = int((np.cumsum(sizes[:0:-1]) <= room).sum())
            first = piece.bars - max(kept, 1)
            prompts.append(self.codec.encode(piece.part(first, piece.bars)))
            plan.bars[row], plan.last_bar[row] = total - first, last
        return out, prompts, plan

    def finish(self, stream: np.ndarray) -> Notes:
        """Notes of exactly the duration asked for: one tempo, nothing past the end."""
        duration = self.wishes.seconds
        piece, _ = self.codec.decode(stream)
        beat = self.codec.config.steps_per_beat
        tempo = float(meters.TEMPOS[piece.tempo[0]])
        bars, last = whole_bars(duration, int(piece.meter[0]), tempo, beat)
        steps = (bars - 1) * meters.bar_length(int(piece.meter[0]), beat)
        steps += last or meters.bar_length(int(piece.meter[0]), beat)
        notes = self.codec.dequantise(piece)
        end = steps * notes.ticks_per_beat // beat
        exact = steps / beat * 60.0 / duration
        return notes.replace(
            duration=np.minimum(notes.duration, end - notes.onset),
            tempo_tick=np.zeros(1, np.int32),
            tempo_qpm=np.array([exact]),
            end=end,
        )
