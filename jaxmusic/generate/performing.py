"""Planning a performance in steps of 10 ms: length, going on past the context, the finish."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxmusic.codecs.performance.grammar import PerformanceGrammar, Rules
from jaxmusic.codecs.performance.notes import NOTE_OFF, SHIFT, STEPS_PER_SECOND, VELOCITY
from jaxmusic.core.errors import UserError
from jaxmusic.generate.controls import Wishes
from jaxmusic.music.notes import Notes

SILENT_SECONDS = 4
"""No more seconds than this pass without an onset."""


class Plan(NamedTuple):
    """What the rules of B pieces follow from.

    Attributes:
      steps: int32 [B], steps of each piece.
      tokens: int32 [B], a second with this many tokens closes as soon as it may.
      styled: int32 [B], 1 where the prompt has all styles and no other may follow.
    """

    steps: Any
    tokens: Any
    styled: Any


def rules(state: Any, plan: Plan) -> Rules:
    """Rules of one piece after a state of its grammar (in `jit`)."""
    silence = SILENT_SECONDS * STEPS_PER_SECOND
    return Rules(steps=plan.steps, silence=silence, tokens=plan.tokens, styled=plan.styled)


class PerformancePlanner:
    """One wish for pieces of the performance codec, of which style and duration count alone.

    See `planning.Planner`.
    """

    UNIT = "seconds"
    rules = staticmethod(rules)

    def __init__(self, grammar: PerformanceGrammar, context: int, wishes: Wishes):
        """Takes the codec's grammar, the model's context, and what is asked for."""
        self.codec, self.context, self.wishes = grammar.codec, context, wishes
        if wishes.seconds is None:
            raise UserError("the performance codec has no bars: give the duration in seconds")
        self.seconds, self.views = wishes.seconds, wishes.views

    def begin(self, count: int) -> tuple[list[np.ndarray], Plan]:
        """The prompts of `count` pieces, and their plan."""
        header = [
            self.codec.vocabulary.start["bos"],
            *self.codec.style_tokens(self.wishes.styles),
        ]
        return [np.array(header, np.int32)] * count, self._plan(count)

    def _plan(self, count: int) -> Plan:
        numbers = _steps(self.seconds), self.context // 4, bool(self.wishes.styles)
        return Plan(*(np.full(count, number, np.int32) for number in numbers))

    def count(self, state: Any, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Seconds finished and seconds in all of each piece [B], of what a plan was made for."""
        return np.asarray(state.time) // STEPS_PER_SECOND, -(-plan.steps // STEPS_PER_SECOND)

    def bars(self, stream: np.ndarray) -> int:
        """Seconds of a stream, a last one that is not whole included."""
        return -(-int(self.codec.events(stream).time[-1]) // STEPS_PER_SECOND)

    def go_on(self, streams: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray], Plan]:
        """Streams cut to whole seconds, prompts for the next stretch, and its plan.

        A prompt is a header and the last seconds of a piece. Notes that began before these seconds
        and still sound end where the stream is cut, because the prompt does not know of them.
        """
        out, prompts, plan = [], [], self._plan(len(streams))
        for row, stream in enumerate(streams):
            if stream[-1] == self.codec.vocabulary.start["eos"]:
                out.append(stream)
                prompts.append(stream[:2])
                plan.steps[row] = 0
                continue
            stream = self._cut(stream)
            piece, _ = self.codec.decode(stream)
            piece = dataclasses.replace(piece, bars_before=0, bars_after=1)
            sizes = self.codec.sizes(piece)
            kept = int((np.cumsum(sizes[:0:-1]) <= self.context // 2 - sizes[0]).sum())
            first = piece.bars - max(kept, 1)
            early = piece.onset < first * STEPS_PER_SECOND
            held = piece.pitch[early & (piece.onset + piece.duration == piece.length)]
            out.append(np.concatenate([_settled(stream), NOTE_OFF + held]).astype(np.int32))
            prompts.append(_settled(self.codec.encode(piece.part(first, piece.bars))))
            plan.steps[row] -= first * STEPS_PER_SECOND
        return out, prompts, plan

    def _cut(self, stream: np.ndarray) -> np.ndarray:
        """A stream up to its last whole second: nothing happens there yet."""
        time = self.codec.events(stream).time
        end = time[-1] // STEPS_PER_SECOND * STEPS_PER_SECOND
        last = int(np.searchsorted(time, end))  # a shift that reaches the second or passes it
        whole = stream[: last + 1].copy()
        if (whole[-1] >= SHIFT) & (whole[-1] < VELOCITY):
            whole[-1] -= time[last] - end
        return whole

    def finish(self, stream: np.ndarray) -> Notes:
        """Notes of exactly the duration asked for."""
        duration = self.seconds
        piece, _ = self.codec.decode(stream)
        notes = self.codec.dequantise(piece)
        # Whole steps become exactly as long as was asked for.
        stretch = _steps(duration) / STEPS_PER_SECOND / duration
        return notes.replace(tempo_qpm=notes.tempo_qpm * stretch)


def _settled(stream: np.ndarray) -> np.ndarray:
    """A stream up to its last event: after a shift that is not whole none may follow."""
    events = np.flatnonzero((stream < SHIFT) | (stream >= VELOCITY))
    return stream[: events[-1] + 1]


def _steps(duration: float) -> int:
    return max(1, round(duration * STEPS_PER_SECOND))
