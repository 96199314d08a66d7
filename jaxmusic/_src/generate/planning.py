"""Planning a piece in bars: how many fill a duration, continuing past the context, the finish."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmusic._src.codecs.metrical.grammar import Rules
from jaxmusic._src.codecs.metrical.grammar_tables import (
    IN_HEADER,
    OF_BARS,
    OF_HALVES,
    OF_SLOTS,
    Constraints,
)
from jaxmusic._src.generate.controls import Request, fitting_tones
from jaxmusic._src.generate.length import lengths
from jaxmusic._src.music import meters
from jaxmusic._src.music.controls import density_range
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.music.piece import PITCHED_SLOTS

SILENT_BARS = 2
"""No more bars than this in a row pass without an onset."""


class Plan(NamedTuple):
    """What the rules of B pieces follow from.

    Attributes:
      bars, last_bar: bars to fill and steps of the last bar, by meter and tempo: int32 [B, M, K].
      tokens: int32 [B], a bar with this many tokens closes as soon as it may.
      constraints: further constraints, each with a leading axis B.
    """

    bars: Any
    last_bar: Any
    tokens: Any
    constraints: Constraints


def repeated(plan: Any, count: int) -> Any:
    """Adds a leading axis for `count` pieces to the plan of one."""
    return jax.tree.map(lambda x: np.repeat(np.asarray(x)[None], count, 0), plan)


class Planner:
    """Plans pieces of the metrical codec: how they begin, continue past the context, and end.

    Attributes:
      rules: a function of a grammar state and a plan, the same one for all pieces, so that programs
        are compiled once.
      branches: how the model sees the pieces.
      lengths: what the length comes to in each meter and at each tempo.
    """

    def __init__(self, grammar: Any, context: int, request: Request):
        """Takes the codec's grammar, the model's context, and the requested controls."""
        self.codec, self.context, self.request = grammar.codec, context, request
        self.branches = request.branches
        self._measure()

    def _measure(self) -> None:
        """Finds how long the pieces are; raises UserError where that is impossible."""
        w, beat = self.request, self.codec.config.steps_per_beat
        self.lengths = lengths(w.seconds, w.bars, w.meter, w.tempo, beat)

    @staticmethod
    def rules(state: Any, plan: Plan) -> Rules:
        """Returns the rules of one piece after a state of its grammar (in `jit`)."""
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

    def begin(self, count: int) -> tuple[list[np.ndarray], Any]:
        """Returns the prompts of `count` pieces, and their plan."""
        start = self.codec.vocabulary.start["bos"]
        header = np.array([start, *self.codec.style_tokens(self.request.styles)], np.int32)
        return [header] * count, self._plan(count)

    def _plan(self, count: int) -> Any:
        """Returns the plan of `count` pieces, for any meter and tempo."""
        found, tokens = self.lengths, np.int32(self.context // 4)
        limits = constraints(self.request, found.allowed)
        return repeated(Plan(found.bars, found.last_bar, tokens, limits), count)

    def count(self, state: Any, plan: Any) -> tuple[np.ndarray, np.ndarray]:
        """Counts bars finished and bars in all of each piece [B], of what a plan was made for."""
        rows = np.arange(len(plan.bars))
        meter, tempo = (np.maximum(np.asarray(x), 0) for x in (state.meter, state.tempo))
        return np.maximum(np.asarray(state.bar) - 1, 0), plan.bars[rows, meter, tempo]

    def bars(self, stream: np.ndarray) -> int:
        """Counts the bars opened in a stream."""
        return int(self._is_bar(stream).sum())

    def _is_bar(self, stream: np.ndarray) -> np.ndarray:
        return self.codec.vocabulary.kind[stream] == self.codec.vocabulary.kinds["bar"]

    def go_on(self, streams: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
        """Returns streams cut where they continue, prompts for the next stretch, and its plan."""
        pairs, plan = [], self._plan(len(streams))
        for row, stream in enumerate(streams):
            if stream[-1] == self.codec.vocabulary.start["eos"]:
                pairs.append((stream, stream[:2]))
                plan[0][row] = 0  # nothing is left to fill
            else:
                pairs.append(self._cut(stream, row, plan))
        cut, prompts = zip(*pairs)
        return list(cut), list(prompts), plan

    def _fitting(self, piece: Any) -> int:
        """Counts the last bars of a piece, at least one, that half the context holds."""
        sizes = self.codec.sizes(piece)
        return max(int((np.cumsum(sizes[:0:-1]) <= self.context // 2 - sizes[0]).sum()), 1)

    def _cut(self, stream: np.ndarray, row: int, plan: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns a stream up to the bar that is open, and a prompt; fits its plan to the prompt.

        A prompt is a header, the running state and the last bars of a piece, and the bar token of
        the next: or notes might be added to a bar that is done.
        """
        opened = int(np.flatnonzero(self._is_bar(stream))[-1])
        piece, _ = self.codec.decode(stream[:opened])
        total = int(plan.bars[row, piece.meter[0], piece.tempo[0]])
        last = int(plan.last_bar[row, piece.meter[0], piece.tempo[0]])
        piece = dataclasses.replace(piece, bars_after=total - piece.bars)
        first = piece.bars - self._fitting(piece)
        prompt = self.codec.encode(piece.part(first, piece.bars))
        plan.bars[row], plan.last_bar[row] = total - first, last
        before, limits = piece.onset < piece.bar_step[first], plan.constraints
        limits.first[row] = first
        limits.given[row] = max(int(limits.given[row]) - first, 0)
        limits.steps[row] = piece.bar_step[first]
        limits.notes[row] = before.sum()
        limits.sounded[row] = slot_bits(piece.slot[before])
        return stream[: opened + 1], np.append(prompt, stream[opened])

    def finish(self, stream: np.ndarray) -> Notes:
        """Returns notes of exactly the length asked for: one tempo, nothing past the end."""
        piece, _ = self.codec.decode(stream)
        beat = self.codec.config.steps_per_beat
        bars, last, tempo, _ = (table[piece.meter[0], piece.tempo[0]] for table in self.lengths)
        whole = meters.bar_length(int(piece.meter[0]), beat)
        notes = self.codec.dequantise(piece.transpose(self.request.semitones))
        end = int((bars - 1) * whole + (last or whole)) * notes.ticks_per_beat // beat
        return notes.replace(
            duration=np.minimum(notes.duration, end - notes.onset),
            tempo_tick=np.zeros(1, np.int32),
            tempo_qpm=np.array([tempo], np.float64),
            end=end,
        )


def slot_bits(slots: np.ndarray) -> int:
    """Returns a number with a bit for each of these slots."""
    return (1 << np.unique(slots).astype(np.int32)).sum()


def constraints(request: Request, tempos: np.ndarray) -> Constraints:
    """Returns requested controls as the grammar takes them, with few lengths of arrays.

    `tempos` (bool [M, K]) are the meters and tempos that may be drawn.
    """
    band = request.band
    programs = np.ones((PITCHED_SLOTS, 128), bool)
    programs[:, list(band.without)] = False
    for slot, those in enumerate(band.slots or ()):
        programs[slot] = np.isin(np.arange(128), list(those))
    level = request.density if request.strict else -1
    least, most = density_range(level) if level >= 0 else (0.0, np.inf)
    number = {
        "styled": int(bool(request.styles)),
        "pitched": -1 if band.slots is None else len(band.slots),
        "drums": -1 if band.drums is None else int(band.drums),
        "loop": len(request.chords),
        "ending": int(request.ending),
    }
    number |= dict.fromkeys(("first", "steps", "notes", "sounded", "deadline", "given"), 0)
    wanted = request.wanted
    slots = {c.kind: (*wanted.get(c.kind, ()), *[-1] * PITCHED_SLOTS) for c in OF_SLOTS}
    return Constraints(
        header={c.kind: np.int32(wanted.get(c.kind, -1)) for c in IN_HEADER},
        slots={kind: np.array(values[:PITCHED_SLOTS], np.int32) for kind, values in slots.items()},
        tempos=tempos,
        programs=programs,
        bars={c.kind: _rounded_up(wanted.get(c.kind, ())) for c in OF_BARS if not c.opens},
        halves={c.kind: _rounded_up(wanted.get(c.kind, ())) for c in OF_HALVES},
        tones=fitting_tones(request),
        least=np.float32(least),
        most=np.float32(most * (1 - 1e-6)),  # which belongs to the next level
        **{name: np.int32(value) for name, value in number.items()},
    )


def _rounded_up(values: tuple[int, ...]) -> np.ndarray:
    """Pads values with -1 to a length of 64, 128, 256, ..., int32."""
    size = max(64, 1 << (len(values) - 1).bit_length()) if values else 64
    return np.array([*values, *[-1] * (size - len(values))], np.int32)
