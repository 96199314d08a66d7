"""Planning a performance in steps of 10 ms: length, continuing past the context, the finish."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxmusic._src.codecs.performance.grammar import Rules
from jaxmusic._src.codecs.performance.notes import NOTE_OFF, SHIFT, STEPS_PER_SECOND, VELOCITY
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.generate.planning import Planner, repeated
from jaxmusic._src.music.notes import Notes

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


class PerformancePlanner(Planner):
    """Plans pieces of the performance codec, of whose controls style and duration count alone."""

    def _measure(self) -> None:
        if self.request.seconds is None:
            raise UserError("the performance codec has no bars: give the duration in seconds")
        self.seconds = self.request.seconds
        self.steps = max(1, round(self.seconds * STEPS_PER_SECOND))

    @staticmethod
    def rules(state: Any, plan: Any) -> Any:
        """Returns the rules of one piece after a state of its grammar (in `jit`)."""
        silence = SILENT_SECONDS * STEPS_PER_SECOND
        return Rules(steps=plan.steps, silence=silence, tokens=plan.tokens, styled=plan.styled)

    def _plan(self, count: int) -> Plan:
        numbers = self.steps, self.context // 4, bool(self.request.styles)
        return repeated(Plan(*map(np.int32, numbers)), count)

    def count(self, state: Any, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Counts seconds finished and in all of each piece [B], of what a plan was made for."""
        return np.asarray(state.time) // STEPS_PER_SECOND, -(-plan.steps // STEPS_PER_SECOND)

    def bars(self, stream: np.ndarray) -> int:
        """Counts the seconds of a stream, a last one that is not whole included."""
        return -(-int(self.codec.events(stream).time[-1]) // STEPS_PER_SECOND)

    def _cut(self, stream: np.ndarray, row: int, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Returns a stream up to its last whole second, and a prompt; fits its plan to the prompt.

        A prompt is a header and the last seconds of a piece. Notes that began before these seconds
        and still sound end where the stream is cut, because the prompt does not know of them.
        """
        time = self.codec.events(stream).time
        end = time[-1] // STEPS_PER_SECOND * STEPS_PER_SECOND
        last = int(np.searchsorted(time, end))  # a shift that reaches the second or passes it
        stream = stream[: last + 1].copy()
        if SHIFT <= stream[-1] < VELOCITY:
            stream[-1] -= time[last] - end
        piece, _ = self.codec.decode(stream)
        piece = dataclasses.replace(piece, bars_before=0, bars_after=1)
        first = piece.bars - self._fitting(piece)
        early = piece.onset < first * STEPS_PER_SECOND
        held = piece.pitch[early & (piece.onset + piece.duration == piece.length)]
        plan.steps[row] -= first * STEPS_PER_SECOND
        return (
            np.concatenate([_settled(stream), NOTE_OFF + held]).astype(np.int32),
            _settled(self.codec.encode(piece.part(first, piece.bars))),
        )

    def finish(self, stream: np.ndarray) -> Notes:
        """Returns notes of exactly the duration asked for."""
        piece, _ = self.codec.decode(stream)
        notes = self.codec.dequantise(piece)
        # Whole steps become exactly as long as was asked for.
        stretch = self.steps / STEPS_PER_SECOND / self.seconds
        return notes.replace(tempo_qpm=notes.tempo_qpm * stretch)


def _settled(stream: np.ndarray) -> np.ndarray:
    """Cuts a stream after its last event: after a shift that is not whole none may follow."""
    events = np.flatnonzero((stream < SHIFT) | (stream >= VELOCITY))
    return stream[: events[-1] + 1]
