"""Planning a performance in steps of 10 ms: length, going on past the context, the finish."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxmusic.codecs.performance import PerformanceCodec
from jaxmusic.codecs.performance_grammar import PerformanceGrammar, Rules
from jaxmusic.codecs.performance_notes import NOTE_OFF, SHIFT, STEPS_PER_SECOND, VELOCITY
from jaxmusic.notes import Notes

SILENT_SECONDS = 4
"""No more seconds than this pass without an onset."""


class PerformancePlanner:
    """What composing must know of the performance codec; see `planning.Planner`.

    A plan is the number of steps of each piece: int32 [B].
    """

    UNIT = "seconds"

    def __init__(self, codec: PerformanceCodec, context: int):
        """Takes the codec and the model's context."""
        self.codec, self.context = codec, context
        self.grammar = PerformanceGrammar(codec)

    def plan(self, duration: float, count: int) -> np.ndarray:
        """The plan of `count` pieces of `duration` seconds."""
        return np.full(count, _steps(duration), np.int32)

    def rules(self, state: Any, plan: Any) -> Rules:
        """Rules of one piece after a state of its grammar (in `jit`)."""
        silence = SILENT_SECONDS * STEPS_PER_SECOND
        return Rules(steps=plan, silence=silence, tokens=self.context // 4)

    def count(self, state: Any, plan: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Seconds finished and seconds in all of each piece [B], of what a plan was made for."""
        return np.asarray(state.time) // STEPS_PER_SECOND, -(-plan // STEPS_PER_SECOND)

    def bars(self, stream: np.ndarray) -> int:
        """Seconds of a stream, a last one that is not whole included."""
        return -(-int(self.codec.events(stream).time[-1]) // STEPS_PER_SECOND)

    def go_on(
        self, streams: list[np.ndarray], duration: float
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Streams cut to whole seconds, prompts for the next stretch, and its plan.

        A prompt is a header and the last seconds of a piece. Notes that began before these seconds
        and still sound end where the stream is cut, because the prompt does not know of them.
        """
        out, prompts, plan = [], [], self.plan(duration, len(streams))
        for row, stream in enumerate(streams):
            if stream[-1] == self.codec.vocabulary.start["eos"]:
                out.append(stream)
                prompts.append(stream[:2])
                plan[row] = 0
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
            plan[row] -= first * STEPS_PER_SECOND
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

    def finish(self, stream: np.ndarray, duration: float) -> Notes:
        """Notes of exactly `duration` seconds."""
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
