"""The compiled loop: the model, the grammar and the draw, token after token on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmusic import config
from jaxmusic.codecs.base import Codec
from jaxmusic.core.events import Events
from jaxmusic.generate import decoding, repetition, views
from jaxmusic.generate.views import View
from jaxmusic.models import decode as model

CHUNK = 64
"""Tokens sampled between two looks from the host."""


class Looks(NamedTuple):
    """What V > 1 views of B pieces see, row after row, the views of a piece together (R = B V).

    Attributes:
      weight: float32 [V], how much the word of each view counts.
      table: int32 [V, vocabulary], see `views.table`.
      lonely: bool [V], whether positions are hidden that name a hidden chord alone.
      tokens: int32 [R, context], the prompts as they are seen.
    """

    weight: Any
    table: Any
    lonely: Any
    tokens: Any


class Sights(NamedTuple):
    """Where the views stand (R rows).

    Attributes:
      hidden: bool [R, context], places that are skipped.
      count: int32 [R], tokens seen.
      says: float32 [R, vocabulary], log-probabilities of the token after the last one seen.
      said: float32 [R, vocabulary], those of the last one seen itself.
    """

    hidden: Any
    count: Any
    says: Any
    said: Any


class Progress(NamedTuple):
    """Where the sampling of B pieces stands; a pytree."""

    state: Any  # grammar states
    cache: Any
    tokens: Any  # int32 [B, context]
    nats: Any  # float32 [B, context], how surprising each drawn token was under the mask
    index: Any  # place of the last token that is known but not yet read by the model
    done: Any  # bool [B]
    keys: Any
    repeats: Any  # repetition.Repeats before that token, None where there are no bars
    sights: Any  # Sights, None for one view


class Sampler:
    """Samples one context of several pieces; compiled programs are kept."""

    def __init__(
        self,
        shape: config.Model,
        weights: model.Weights | None,
        codec: Codec,
        context: int,
        grammar: Any,
    ):
        """Takes what `composer.Composer` has."""
        self.shape, self.weights, self.codec, self.context = shape, weights, codec, context
        self.grammar = grammar
        v = codec.vocabulary
        self.end = v.start["eos"]
        self._bar = jnp.asarray(v.kind == v.kinds.get("bar", -1))
        self._ends = self._bar | (jnp.arange(v.size) == self.end)
        self._onset = jnp.asarray(codec.onset_tokens)
        self._opens = jnp.asarray(np.isin(v.kind, [v.kinds.get(n, -1) for n in views.OPENINGS]))
        self._extend = jax.jit(self._read, donate_argnums=2, static_argnames="rules")
        self._sample = jax.jit(self._run, donate_argnums=1, static_argnames="rules")

    def fill(
        self,
        prompts: Sequence[np.ndarray],
        streams: Sequence[np.ndarray],
        planner: Any,
        plan: Any,
        keys: jax.Array,
        settings: decoding.Settings,
    ) -> Iterator[Progress]:
        """Samples until all pieces have ended or the context is full, and looks up now and then.

        Args:
          prompts: what is read first, of each piece.
          streams: all of each piece so far, of which the prompts are the ends.
          planner: its rules and views hold.
          plan: what its rules follow from.
          keys: random keys [B].
          settings: from `decoding.settings`.

        Yields:
          Where the sampling stands; it is gone once the next one is asked for.
        """
        finished = np.array([bool(p[-1] == self.end) for p in prompts])
        lengths = np.array([len(p) for p in prompts])
        forced = self._padded(prompts)
        looks = self._looks(prompts, getattr(planner, "views", (View(),)))
        ready = int(lengths[~finished].min()) - 1
        if looks is not None:
            ready = self._all_see(forced, looks, ready)
        room = min(self.context, bucket(ready + CHUNK))
        rows = len(prompts) if looks is None else len(looks.tokens)
        cache = model.init_cache(self.shape, rows, room)
        width = min(room, max(CHUNK, 1 << ready.bit_length()))  # few widths, few programs
        state, cache, sights = self._extend(
            self.weights, forced[:, :width], cache, plan, ready, looks, rules=planner.rules
        )
        before = [s[: len(s) - len(p) + ready] for s, p in zip(streams, prompts)]
        repeats = [repetition.of_stream(self.codec, s) for s in before]
        p = Progress(
            state,
            cache,
            jnp.asarray(forced),
            jnp.zeros(forced.shape, jnp.float32),
            jnp.asarray(ready),
            jnp.asarray(finished),
            keys,
            None if None in repeats else jax.tree.map(lambda *x: jnp.stack(x), *repeats),
            sights,
        )
        if state.kind.committed:  # as all of it will be after the first turn: one program for both
            rest = p._replace(state=None, cache=None, sights=None)
            rest = jax.device_put(rest, state.kind.sharding)
            p = rest._replace(state=state, cache=cache, sights=sights)
        while True:
            stop = min(int(p.index) + CHUNK, room - 1)
            p = self._sample(
                self.weights, p, plan, forced, lengths, settings, stop, looks, rules=planner.rules
            )
            yield p
            index = int(p.index)
            if np.asarray(p.done).all() or index + 1 >= self.context:
                return
            if index + 1 >= room:
                room = min(self.context, bucket(room + 1))
                p = p._replace(cache=model.grow(p.cache, room))

    def _padded(self, prompts: Sequence[np.ndarray]) -> np.ndarray:
        rows = np.full((len(prompts), self.context), self.codec.PAD, np.int32)
        for row, prompt in zip(rows, prompts):
            row[: len(prompt)] = prompt
        return rows

    def _looks(self, prompts: Sequence[np.ndarray], seen_as: Sequence[View]) -> Looks | None:
        """The views in arrays; None where the one there is sees everything."""
        if len(seen_as) == 1 and not seen_as[0].drop and seen_as[0].styles is None:
            return None
        return Looks(
            np.array([v.weight for v in seen_as], np.float32),
            np.stack([views.table(self.codec, v) for v in seen_as]),
            np.array(["chords" in v.drop for v in seen_as]),
            self._padded([views.seen(self.codec, p, v) for p in prompts for v in seen_as]),
        )

    def _all_see(self, forced: np.ndarray, looks: Looks, ready: int) -> int:
        """The last place up to `ready` that all views see, and where none waits for a chord."""
        v = self.codec.vocabulary
        seen = (looks.tokens[:, : ready + 1] != self.codec.PAD).all(0)
        waits = (v.kind[forced[:, : ready + 1]] == v.kinds.get("position", -1)).any(0)
        return int(np.flatnonzero(seen & ~waits)[-1])

    def _read(
        self, weights: Any, tokens: Any, cache: Any, plan: Any, ready: Any, looks: Any, rules: Any
    ) -> tuple[Any, Any, Any]:
        """Grammar states after token `ready` of each row, and a cache of what comes before it."""

        def walk(row: Any, plan: Any) -> tuple[Any, Events]:
            def one(state: Any, scanned: tuple[Any, Any]) -> tuple[Any, Events]:
                token, i = scanned
                new = self.grammar.advance(state, token, rules(state, plan))
                new = jax.tree.map(lambda a, b: jnp.where(i <= ready, a, b), new, state)
                return new, self.grammar.place(new)

            return jax.lax.scan(one, self.grammar.begin(), (row, jnp.arange(row.shape[0])))

        state, events = jax.vmap(walk)(tokens, plan)
        if looks is None:
            _, cache = model.extend(self.shape, weights, events, cache, 0, last=0)
            return state, cache, None
        rows, width, length = len(looks.tokens), tokens.shape[1], cache.k[0].shape[1]
        events = jax.tree.map(lambda x: jnp.repeat(x, len(looks.weight), axis=0), events)
        events = events._replace(token=looks.tokens[:, :width])
        gaps = (looks.tokens == self.codec.PAD) & (jnp.arange(self.context) < ready)
        index = jnp.cumsum(~gaps, axis=1) - 1
        sight = model.Sight(index[:, :width], gaps[:, :length])
        _, cache = model.extend(self.shape, weights, events, cache, 0, last=0, sight=sight)
        nothing = jnp.zeros((rows, self.codec.vocab_size), jnp.float32)
        return state, cache, Sights(gaps, index[:, ready], nothing, nothing)

    def _run(
        self,
        weights: Any,
        p: Progress,
        plan: Any,
        forced: Any,
        lengths: Any,
        settings: decoding.Settings,
        stop: Any,
        looks: Looks | None,
        rules: Any,
    ) -> Progress:
        """Samples until `stop` tokens are known or all pieces have ended."""

        def one(p: Progress) -> Progress:
            events = jax.vmap(self.grammar.place)(p.state)
            if looks is None:
                one = Events(*(e[:, None] for e in events))
                logits, cache = model.step(self.shape, weights, one, p.cache, p.index)
                sights = None
            else:
                logits, cache, sights = self._seen(weights, p, events, lengths, looks)
            kept = jax.vmap(rules)(p.state, plan)
            mask = jax.vmap(self.grammar.mask)(p.state, kept)
            repeats = p.repeats
            if repeats is not None:
                token, place = events.token, (events.position, events.slot, events.pitch)
                bar, onset = self._bar[token], self._onset[token]
                repeats = jax.vmap(repetition.advance)(repeats, bar, onset, *place)
                mask = jax.vmap(repetition.allowed, (0, 0, None, None))(
                    repeats, mask, self._ends, settings.repeats
                )
            logits = jax.vmap(self.grammar.merge)(logits)
            keys = jax.vmap(jax.random.fold_in, (0, None))(p.keys, p.index)
            token = jax.vmap(decoding.draw, (0, 0, 0, None))(keys, logits, mask, settings)
            nats = decoding.surprise(logits, mask, token)
            given = p.index + 1 < lengths
            token = jnp.where(given, forced[:, p.index + 1], token)
            new = jax.vmap(self.grammar.advance)(p.state, token, kept)

            def keep(old: Any, new: Any) -> Any:
                return jnp.where(p.done.reshape(-1, *[1] * (new.ndim - 1)), old, new)

            def write(row: Any, new: Any) -> Any:
                return jax.lax.dynamic_update_slice(row, new[:, None], (0, p.index + 1))

            token = jnp.where(p.done, self.codec.PAD, token)
            return Progress(
                jax.tree.map(keep, p.state, new),
                cache,
                write(p.tokens, token),
                write(p.nats, jnp.where(given | p.done, 0.0, nats)),
                p.index + 1,
                p.done | (token == self.end),
                p.keys,
                repeats,
                sights,
            )

        return jax.lax.while_loop(lambda p: (p.index < stop) & ~p.done.all(), one, p)

    def _seen(
        self, weights: Any, p: Progress, events: Events, lengths: Any, looks: Looks
    ) -> tuple[Any, Any, Sights]:
        """One step of all views: their log-probabilities together [B, vocabulary].

        A token that a view does not see is skipped: its place is hidden, the view's index stays,
        and so does what the view says about the next token.
        """
        s, pieces, count = p.sights, len(p.done), len(looks.weight)
        drawn = looks.table[:, events.token].T.reshape(-1)
        given = jnp.repeat(p.index < lengths, count)
        token = jnp.where(given, looks.tokens[:, p.index], drawn)
        gap = token == self.codec.PAD
        # A position after which there was nothing but a hidden chord was not there at all.
        earlier = jnp.maximum(p.index - jnp.arange(2, -1, -1), 0)
        second, first, here = (self._kind(p.tokens[:, i]) for i in earlier)
        alone = second["position"] & first["chord"] & ~here["opens"] & (p.index >= 2)
        alone = jnp.repeat(alone, count) & jnp.tile(looks.lonely, pieces)
        alone &= ~s.hidden[:, earlier[0]]
        hidden = s.hidden.at[:, earlier[0]].set(s.hidden[:, earlier[0]] | alone)
        hidden = hidden.at[:, p.index].set(gap)
        index = s.count - alone
        repeated = (jnp.repeat(x, count)[:, None] for x in events)
        seen = Events(*repeated)._replace(token=token[:, None])
        sight = model.Sight(index[:, None], hidden[:, : p.cache.k[0].shape[1]])
        logits, cache = model.step(self.shape, weights, seen, p.cache, p.index, sight)
        says = jax.nn.log_softmax(logits)
        # After a position that names a hidden chord a note may follow there, or what might have
        # followed in its stead: p(position) p(note | position) and p(anything else).
        place = jnp.repeat(p.tokens[:, earlier[1]], count)
        chance = jnp.take_along_axis(s.said, place[:, None], axis=1)
        either = jnp.where(self._opens, chance + s.says, s.said)
        waits = jnp.repeat(first["position"] & here["chord"], count) & gap
        held = jnp.where(waits[:, None], either, s.says)
        said = jnp.where(gap[:, None], s.said, s.says)
        says = jnp.where(gap[:, None], held, says)
        each = says.reshape(pieces, count, -1)
        # Of what a view cannot see it has no opinion: there the first view's counts.
        each = jnp.where(looks.table == self.codec.PAD, each[:, :1], each)
        together = (each * looks.weight[:, None]).sum(1)
        return together, cache, Sights(hidden, index + ~gap, says, said)

    def _kind(self, token: Any) -> dict[str, Any]:
        """Of which kinds among those of positions, chords and notes tokens [B] are."""
        kinds, kind = self.codec.vocabulary.kinds, self.grammar.kind[token]
        found = {name: kind == kinds.get(name, -1) for name in ("position", "chord")}
        return found | {"opens": self._opens[token]}


def bucket(length: int) -> int:
    """The smallest of 512, 768, 1024, 1536, 2048, 3072, ... that is at least length.

    A step reads the whole cache, and each size is compiled once.
    """
    power = max(512, 1 << (length - 1).bit_length())
    return power * 3 // 4 if power > 512 and length <= power * 3 // 4 else power
