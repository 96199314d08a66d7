"""Composing whole pieces: sample token after token, go on past the context."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmusic import config
from jaxmusic.codecs.base import Codec
from jaxmusic.codecs.grammar import Grammar
from jaxmusic.codecs.performance_grammar import PerformanceGrammar
from jaxmusic.errors import UserError
from jaxmusic.events import Events
from jaxmusic.generate import decoding
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.performing import PerformancePlanner
from jaxmusic.generate.planning import Planner
from jaxmusic.models import decode as model
from jaxmusic.notes import Notes

KINDS: dict[str, tuple[Any, Any]] = {
    "metrical": (Grammar, Planner),
    "fused": (Grammar, Planner),
    "performance": (PerformanceGrammar, PerformancePlanner),
}
"""Grammar of each kind of codec, and what plans its pieces."""
CHUNK = 64
"""Tokens sampled between two looks from the host."""


class Progress(NamedTuple):
    """Where the sampling of B pieces stands; a pytree."""

    state: Any  # grammar states
    cache: Any
    tokens: Any  # int32 [B, context]
    index: Any  # place of the last token that is known but not yet read by the model
    done: Any  # bool [B]
    keys: Any


@dataclasses.dataclass(frozen=True)
class Composition:
    """What came out: notes of exactly the asked duration, and how they were made.

    `bars` is their number, or that of seconds where the codec counts these.
    """

    notes: Notes
    tokens: np.ndarray
    bars: int


class Composer:
    """Samples pieces from one model under its codec's grammar; compiled programs are kept."""

    def __init__(self, shape: config.Model, weights: model.Weights, codec: Codec, context: int):
        """Takes the model's shape, its weights from `models.decode.prepare`, and the context."""
        self.shape, self.weights, self.codec, self.context = shape, weights, codec, context
        grammar, self._planner = KINDS[codec.config.kind]
        self.grammar = grammar(codec)
        self._extend = jax.jit(self._read, donate_argnums=2, static_argnames="rules")
        self._sample = jax.jit(self._run, donate_argnums=1, static_argnames="rules")

    def planner(self, wishes: Wishes) -> Any:
        """What `compose` needs to compose from nothing but wishes."""
        return self._planner(self.grammar, self.context, wishes)

    def compose(
        self,
        planner: Any,
        seed: int = 0,
        count: int = 1,
        sampling: config.Sampling = config.Sampling(),  # noqa: B008
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Composition]:
        """Composes `count` pieces.

        Each piece has its own random key from (seed, its number), so piece i is the same
        whatever the count, up to rounding.

        Args:
          planner: how they begin, go on and end, see `planning.Planner`.
          seed: random seed.
          count: pieces, sampled side by side.
          sampling: how tokens are drawn.
          progress: called with (bars finished, bars in all), over all pieces.

        Raises:
          UserError: where the count or a sampling option is not possible.
        """
        if count < 1:
            raise UserError(f"the count must be at least 1, not {count}")
        settings = decoding.settings(sampling)
        prompts, plan = planner.begin(count)
        base = jax.random.key(seed)
        keys = jax.vmap(lambda i: jax.random.fold_in(base, i))(jnp.arange(count))
        streams = prompts
        for turn in itertools.count():
            finished = [self._ended(s) for s in streams]
            earlier = sum(planner.bars(s) - planner.bars(p) for s, p in zip(streams, prompts))

            def report(p: Progress, plan: Any = plan, earlier: int = earlier) -> None:
                if progress:
                    made, total = planner.count(p.state, plan)
                    made = np.where(np.asarray(p.done), total, made)
                    progress(int(made.sum()) + earlier, int(total.sum()) + earlier)

            turn_keys = jax.vmap(lambda k, turn=turn: jax.random.fold_in(k, turn))(keys)
            rows, done = self._fill(
                prompts, planner.rules, plan, turn_keys, finished, settings, report
            )
            streams = [
                old if end else np.concatenate([old, row[len(prompt) :]])
                for old, end, row, prompt in zip(streams, finished, rows, prompts)
            ]
            if done:
                break
            streams, prompts, plan = planner.go_on(streams)
        return [
            Composition(planner.finish(stream), stream, planner.bars(stream)) for stream in streams
        ]

    def _ended(self, stream: np.ndarray) -> bool:
        return bool(stream[-1] == self.codec.vocabulary.start["eos"])

    def _fill(
        self,
        prompts: list[np.ndarray],
        rules: Any,
        plan: Any,
        keys: jax.Array,
        finished: list[bool],
        settings: decoding.Settings,
        report: Callable[[Progress], None],
    ) -> tuple[list[np.ndarray], bool]:
        """Samples until all pieces end or the context is full: rows, and whether all ended."""
        lengths = np.array([len(p) for p in prompts])
        forced = np.zeros((len(prompts), self.context), np.int32)
        for row, prompt in zip(forced, prompts):
            row[: len(prompt)] = prompt
        ready = int(lengths[~np.array(finished)].min()) - 1
        room = min(self.context, _bucket(ready + CHUNK))
        cache = model.init_cache(self.shape, len(prompts), room)
        width = min(room, -(-(ready + 1) // CHUNK) * CHUNK)
        state, cache = self._extend(
            self.weights, forced[:, :width], cache, plan, ready, rules=rules
        )
        done: Any = jnp.asarray(finished)
        p = Progress(state, cache, jnp.asarray(forced), jnp.asarray(ready), done, keys)
        while True:
            stop = min(int(p.index) + CHUNK, room - 1)
            p = self._sample(self.weights, p, plan, forced, lengths, settings, stop, rules=rules)
            report(p)
            index, done = int(p.index), np.asarray(p.done)
            if done.all() or index + 1 >= self.context:
                break
            if index + 1 >= room:
                room = min(self.context, 2 * room)
                p = p._replace(cache=model.grow(p.cache, room))
        rows = np.asarray(p.tokens)[:, : index + 1]
        return [self._until_end(r) for r in rows], bool(done.all())

    def _until_end(self, row: np.ndarray) -> np.ndarray:
        ends = np.flatnonzero(row == self.codec.vocabulary.start["eos"])
        return row[: ends[0] + 1] if len(ends) else row

    def _read(
        self, weights: Any, tokens: Any, cache: Any, plan: Any, ready: Any, rules: Any
    ) -> tuple[Any, Any]:
        """Grammar states after token `ready` of each row, and a cache of what comes before it."""

        def walk(row: Any, plan: Any) -> tuple[Any, Events]:
            def one(state: Any, scanned: tuple[Any, Any]) -> tuple[Any, Events]:
                token, i = scanned
                new = self.grammar.advance(state, token, rules(state, plan))
                new = jax.tree.map(lambda a, b: jnp.where(i <= ready, a, b), new, state)
                return new, self.grammar.place(new)

            return jax.lax.scan(one, self.grammar.begin(), (row, jnp.arange(row.shape[0])))

        state, events = jax.vmap(walk)(tokens, plan)
        _, cache = model.extend(self.shape, weights, events, cache, 0, last=0)
        return state, cache

    def _run(
        self,
        weights: Any,
        p: Progress,
        plan: Any,
        forced: Any,
        lengths: Any,
        settings: decoding.Settings,
        stop: Any,
        rules: Any,
    ) -> Progress:
        """Samples until `stop` tokens are known or all pieces have ended."""
        end = self.codec.vocabulary.start["eos"]

        def one(p: Progress) -> Progress:
            events = jax.vmap(self.grammar.place)(p.state)
            events = Events(*(e[:, None] for e in events))
            logits, cache = model.step(self.shape, weights, events, p.cache, p.index)
            kept = jax.vmap(rules)(p.state, plan)
            mask = jax.vmap(self.grammar.mask)(p.state, kept)
            logits = jax.vmap(self.grammar.merge)(logits)
            keys = jax.vmap(jax.random.fold_in, (0, None))(p.keys, p.index)
            drawn = jax.vmap(decoding.draw, (0, 0, 0, None))(keys, logits, mask, settings)
            token = jnp.where(p.index + 1 < lengths, forced[:, p.index + 1], drawn)
            new = jax.vmap(self.grammar.advance)(p.state, token, kept)

            def keep(old: Any, new: Any) -> Any:
                return jnp.where(p.done, old, new)

            token = jnp.where(p.done, self.codec.PAD, token)
            return Progress(
                jax.tree.map(keep, p.state, new),
                cache,
                jax.lax.dynamic_update_slice(p.tokens, token[:, None], (0, p.index + 1)),
                p.index + 1,
                p.done | (token == end),
                p.keys,
            )

        return jax.lax.while_loop(lambda p: (p.index < stop) & ~p.done.all(), one, p)


def _bucket(length: int) -> int:
    """The smallest of 512, 1024, 2048, ... that is at least length."""
    return max(512, 1 << (length - 1).bit_length())
