"""Planning a piece in bars: how many fill a duration, how to go on past the context, the finish."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmusic.codecs.metrical.grammar import Grammar, Rules
from jaxmusic.codecs.metrical.grammar_tables import (
    IN_HEADER,
    OF_BARS,
    OF_HALVES,
    OF_SLOTS,
    Constraints,
)
from jaxmusic.generate.controls import Wishes, fitting_tones
from jaxmusic.generate.length import lengths
from jaxmusic.music import meters
from jaxmusic.music.controls import density_range
from jaxmusic.music.notes import Notes
from jaxmusic.music.piece import PITCHED_SLOTS

SILENT_BARS = 2
"""No more bars than this in a row pass without an onset."""


class Plan(NamedTuple):
    """What the rules of B pieces follow from.

    Attributes:
      bars, last_bar: bars to fill and steps of the last bar, by meter and tempo: int32 [B, M, K].
      tokens: int32 [B], a bar with this many tokens closes as soon as it may.
      asked: what else is asked for, each with a leading axis B.
    """

    bars: Any
    last_bar: Any
    tokens: Any
    constraints: Constraints


def rules(state: Any, plan: Plan) -> Rules:
    """Rules of one piece after a state of its grammar (in `jit`)."""
    meter, tempo = jnp.maximum(state.meter, 0), jnp.maximum(state.tempo, 0)
    bars, first = plan.bars[meter, tempo], plan.constraints.first
    return Rules(
        bars=bars,
        last_bar=plan.last_bar[meter, tempo],
        silence=SILENT_BARS,
        steady=1,
        tokens=plan.tokens,
        # Every instrument has entered where the second half of the piece begins.
        constraints=plan.constraints._replace(deadline=(first + bars) // 2 + 1 - first),
    )


class Planner:
    """One wish for pieces of the metrical codec: how they begin, go on and end.

    Attributes:
      rules: a function of a grammar state and a plan, the same one for all wishes, so that programs
        are compiled once.
      views: how the model sees the pieces.
      lengths: what the length comes to in each meter and at each tempo.
    """

    UNIT = "bars"
    rules = staticmethod(rules)

    def __init__(self, grammar: Grammar, context: int, wishes: Wishes):
        """Takes the codec's grammar, the model's context, and what is asked for."""
        self.codec, self.context, self.wishes = grammar.codec, context, wishes
        self.lengths = lengths(
            wishes.seconds,
            wishes.bars,
            wishes.meter,
            wishes.tempo,
            self.codec.config.steps_per_beat,
        )
        self.views = wishes.views

    def begin(self, count: int) -> tuple[list[np.ndarray], Plan]:
        """The prompts of `count` pieces, and their plan."""
        header = [
            self.codec.vocabulary.start["bos"],
            *self.codec.style_tokens(self.wishes.styles),
        ]
        return [np.array(header, np.int32)] * count, self._plan(count)

    def _plan(self, count: int) -> Plan:
        """The plan of `count` pieces, for any meter and tempo."""
        bars, last_bar = (np.repeat(table[None], count, 0) for table in self.lengths[:2])
        one = asked(self.wishes, self.lengths.allowed)
        many = jax.tree.map(lambda x: np.repeat(np.asarray(x)[None], count, 0), one)
        return Plan(bars, last_bar, np.full(count, self.context // 4, np.int32), many)

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
        """Streams cut where a bar opens, prompts for the next stretch, and its plan.

        A prompt is a header, the running state and the last bars of a piece, and the bar token of
        the next: or notes might be added to a bar that is done.
        """
        out, prompts, plan = [], [], self._plan(len(streams))
        for row, stream in enumerate(streams):
            if stream[-1] == self.codec.vocabulary.start["eos"]:
                out.append(stream)
                prompts.append(stream[:2])
                plan.bars[row] = 0
                continue
            opened = int(np.flatnonzero(self._is_bar(stream))[-1])
            out.append(stream[: opened + 1])
            piece, _ = self.codec.decode(stream[:opened])
            total = int(plan.bars[row, piece.meter[0], piece.tempo[0]])
            last = int(plan.last_bar[row, piece.meter[0], piece.tempo[0]])
            piece = dataclasses.replace(piece, bars_after=total - piece.bars)
            sizes = self.codec.sizes(piece)
            room = self.context // 2 - sizes[0]
            kept = int((np.cumsum(sizes[:0:-1]) <= room).sum())
            first = piece.bars - max(kept, 1)
            prompt = self.codec.encode(piece.part(first, piece.bars))
            prompts.append(np.append(prompt, stream[opened]))
            plan.bars[row], plan.last_bar[row] = total - first, last
            before = piece.onset < piece.bar_step[first]
            plan.constraints.first[row] = first
            plan.constraints.given[row] = max(int(plan.constraints.given[row]) - first, 0)
            plan.constraints.steps[row] = piece.bar_step[first]
            plan.constraints.notes[row] = before.sum()
            plan.constraints.sounded[row] = (
                1 << np.unique(piece.slot[before]).astype(np.int32)
            ).sum()
        return out, prompts, plan

    def finish(self, stream: np.ndarray) -> Notes:
        """Notes of exactly the length asked for: one tempo, nothing past the end."""
        piece, _ = self.codec.decode(stream)
        beat = self.codec.config.steps_per_beat
        bars, last, tempo, _ = (table[piece.meter[0], piece.tempo[0]] for table in self.lengths)
        whole = meters.bar_length(int(piece.meter[0]), beat)
        notes = self.codec.dequantise(piece.transpose(self.wishes.semitones))
        end = int((bars - 1) * whole + (last or whole)) * notes.ticks_per_beat // beat
        return notes.replace(
            duration=np.minimum(notes.duration, end - notes.onset),
            tempo_tick=np.zeros(1, np.int32),
            tempo_qpm=np.array([tempo], np.float64),
            end=end,
        )


def asked(wishes: Wishes, tempos: np.ndarray) -> Constraints:
    """Wishes as the grammar takes them; lengths of arrays are rounded up, to compile seldom.

    Args:
      wishes: what is asked for.
      tempos: bool [M, K], meters and tempos that may be drawn.
    """
    band = wishes.band
    programs = np.ones((PITCHED_SLOTS, 128), bool)
    programs[:, list(band.without)] = False
    for slot, those in enumerate(band.slots or ()):
        programs[slot] = np.isin(np.arange(128), list(those))
    level = wishes.density if wishes.strict else -1
    least, most = density_range(level) if level >= 0 else (0.0, np.inf)
    number = {
        "styled": int(bool(wishes.styles)),
        "pitched": -1 if band.slots is None else len(band.slots),
        "drums": -1 if band.drums is None else int(band.drums),
        "loop": len(wishes.chords),
        "ending": int(wishes.ending),
    }
    number |= dict.fromkeys(("first", "steps", "notes", "sounded", "deadline", "given"), 0)
    wanted = wishes.wanted
    slots = {c.kind: (*wanted.get(c.kind, ()), *[-1] * PITCHED_SLOTS) for c in OF_SLOTS}
    return Constraints(
        header={c.kind: np.int32(wanted.get(c.kind, -1)) for c in IN_HEADER},
        slots={kind: np.array(values[:PITCHED_SLOTS], np.int32) for kind, values in slots.items()},
        tempos=tempos,
        programs=programs,
        bars={c.kind: _rounded_up(wanted.get(c.kind, ())) for c in OF_BARS if not c.opens},
        halves={c.kind: _rounded_up(wanted.get(c.kind, ())) for c in OF_HALVES},
        tones=fitting_tones(wishes),
        least=np.float32(least),
        most=np.float32(most * (1 - 1e-6)),  # which belongs to the next level
        **{name: np.int32(value) for name, value in number.items()},
    )


def _rounded_up(values: tuple[int, ...]) -> np.ndarray:
    """Int32 [64, 128, 256, ...]: the values, then -1."""
    size = max(64, 1 << (len(values) - 1).bit_length()) if values else 64
    return np.array([*values, *[-1] * (size - len(values))], np.int32)
