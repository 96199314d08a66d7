"""Composing whole pieces: sampled context after context, the best of several, or bar by bar."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.metrical.grammar import Grammar
from jaxmusic._src.codecs.performance.grammar import PerformanceGrammar
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.generate import draws, streaming
from jaxmusic._src.generate.composition import Composition, Progress
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.generate.performing import PerformancePlanner
from jaxmusic._src.generate.planning import Planner
from jaxmusic._src.generate.sampler import Sampler
from jaxmusic._src.models.params import Params

KINDS: dict[str, tuple[Any, Any]] = {
    "metrical": (Grammar, Planner),
    "fused": (Grammar, Planner),
    "performance": (PerformanceGrammar, PerformancePlanner),
}
"""Grammar of each kind of codec, and what plans its pieces."""
TURNS = 1 << 20
"""More contexts than any piece fills: keys of candidates are numbered from here on."""


class _Draft(NamedTuple):
    """A piece in the making: its stream, and the surprise of each token in nats."""

    tokens: np.ndarray
    nats: np.ndarray


class Composer:
    """Composes pieces with one model under its codec's grammar; compiled programs are kept."""

    def __init__(self, model: config.Model, params: Params | None, codec: Codec, context: int):
        """Takes a model, its parameters by name, and its context.

        Where parameters change while the programs are kept, they are None here and set later by
        `sampler.load`.
        """
        self.codec, self.context = codec, context
        grammar, self._planner = KINDS[codec.config.kind]
        self.grammar = grammar(codec)
        self.sampler = Sampler(model, params, codec, context, self.grammar)

    def planner(self, request: Request) -> Any:
        """Returns what `compose` needs to compose from requested controls alone."""
        return self._planner(self.grammar, self.context, request)

    def compose(
        self,
        planner: Any,
        seed: int = 0,
        count: int = 1,
        sampling: config.Sampling = config.Sampling(),  # noqa: B008
        progress: Progress | None = None,
        rank: Callable[[Composition], float] | None = None,
    ) -> list[Composition]:
        """Composes `count` pieces.

        Each piece has its own random key from (seed, its number), so piece i is the same
        whatever the count, up to rounding. The first of its candidates is the piece that is
        composed where there is but one.

        Args:
          planner: how they begin, continue and end, see `planning.Planner`.
          seed: random seed.
          count: pieces, sampled side by side, with all candidates of each.
          sampling: how tokens are drawn.
          progress: called with (bars finished, bars in all), over all pieces and candidates;
            an exception that it raises stops the composing.
          rank: of the candidates of a piece the one is kept for which it is greatest; None keeps
            the one with the fewest bits per note.

        Raises:
          UserError: where the count or a sampling option is not possible.
        """
        if count < 1:
            raise UserError(f"the count must be at least 1, not {count}")
        if rank and sampling.best_of < 2:
            raise UserError("to rank candidates set best_of to 2 or more")
        settings = draws.settings(sampling, self.codec.vocabulary)
        keys = _keys(seed, count, sampling.best_of)
        ((drafts, _),) = collections.deque(self._drafts(planner, keys, settings, progress), 1)
        pieces = [self._finished(planner, draft) for draft in drafts]
        groups = [pieces[i : i + sampling.best_of] for i in range(0, len(pieces), sampling.best_of)]
        return [max(group, key=rank or (lambda c: -c.bits_per_note)) for group in groups]

    def stream(
        self,
        planner: Any,
        seed: int = 0,
        sampling: config.Sampling = config.Sampling(),  # noqa: B008
    ) -> Iterator[streaming.Bar]:
        """Composes one piece and yields its bars while those to come are still being sampled.

        All together they are the piece that `compose` makes, see `streaming.join`.

        Raises:
          UserError: the codec has no bars, or a sampling option is not possible.
        """
        settings = draws.settings(sampling, self.codec.vocabulary)
        if "bar" not in self.codec.vocabulary.kinds:
            raise UserError(
                f"the {self.codec.config.kind} codec has no bars to stream: compose the whole piece"
            )
        if sampling.best_of > 1:
            raise UserError(
                "the best of several pieces is known at their end: stream with best_of 1"
            )
        made = 0
        for (draft,), total in self._drafts(planner, _keys(seed, 1, 1), settings, None):
            for bar in streaming.finished(self.codec, planner, draft.tokens, total, made):
                yield bar
                made = bar.number

    def _finished(self, planner: Any, draft: _Draft) -> Composition:
        notes, bars = planner.finish(draft.tokens), planner.bars(draft.tokens)
        piece, _ = self.codec.decode(draft.tokens)
        rows = self.codec.note_index(piece, draft.tokens)
        nats = np.bincount(rows[rows >= 0], draft.nats[rows >= 0], len(piece))
        bits = float(draft.nats.sum()) / math.log(2) / max(len(piece), 1)
        return Composition(notes, draft.tokens, bars, bits, nats=nats.astype(np.float32))

    def _drafts(
        self,
        planner: Any,
        keys: jax.Array,
        settings: draws.Settings,
        progress: Progress | None,
    ) -> Iterator[tuple[list[_Draft], int]]:
        """Yields the pieces sampled so far and their number of bars, until all have ended."""
        prompts, plan = planner.begin(len(keys))
        streams, drafts = prompts, [_Draft(s, np.zeros(len(s), np.float32)) for s in prompts]
        for turn in itertools.count():
            earlier = sum(planner.bars(s) - planner.bars(p) for s, p in zip(streams, prompts))
            turn_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, turn)
            for p in self.sampler.fill(prompts, streams, planner, plan, turn_keys, settings):
                made, total = planner.count(p.state, plan)
                made = np.where(np.asarray(p.done), total, made)
                if progress:
                    progress(int(made.sum()) + earlier, int(total.sum()) + earlier)
                rows, nats = (np.asarray(x)[:, : int(p.index) + 1] for x in (p.tokens, p.nats))
                drafts = [
                    self._longer(stream, draft, row[len(prompt) :], new[len(prompt) :])
                    for stream, draft, prompt, row, new in zip(streams, drafts, prompts, rows, nats)
                ]
                yield drafts, int(total.sum()) + earlier
            if bool(np.asarray(p.done).all()):
                return
            streams, prompts, plan = planner.go_on([draft.tokens for draft in drafts])
            drafts = [
                _Draft(s, np.pad(d.nats, (0, max(len(s) - len(d.nats), 0)))[: len(s)])
                for s, d in zip(streams, drafts)
            ]

    def _longer(
        self, stream: np.ndarray, draft: _Draft, row: np.ndarray, nats: np.ndarray
    ) -> _Draft:
        """Returns a draft of a stream with what was sampled after its prompt."""
        end = self.codec.vocabulary.start["eos"]
        if stream[-1] == end:
            return draft
        stop = [*np.flatnonzero(row == end) + 1, len(row)][0]
        tokens = np.concatenate([stream, row[:stop]]).astype(np.int32)
        return _Draft(tokens, np.concatenate([draft.nats[: len(stream)], nats[:stop]]))


def _keys(seed: int, count: int, candidates: int) -> jax.Array:
    """Returns random keys of the candidates of each piece; the first one's is the piece's own."""
    own = [jax.random.fold_in(jax.random.key(seed), piece) for piece in range(count)]
    fold = jax.random.fold_in
    return jnp.stack([fold(k, TURNS + c) if c else k for k in own for c in range(candidates)])
