"""The compiled loop: the model, the grammar and the draw, token after token on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.events import Events
from jaxmusic._src.generate import decoding, draws, guidance, repetition
from jaxmusic._src.generate.guidance import Branch
from jaxmusic._src.models import base
from jaxmusic._src.models.params import Params

CHUNK = 64
"""Tokens sampled between two looks from the host."""


class Branches(NamedTuple):
    """The guidance branches of B pieces: V > 1 streams of each, row after row (R = B V).

    Attributes:
      weight: float32 [V], of the log-probabilities of each branch.
      table: int32 [V, vocabulary], see `guidance.table`.
      stranded: bool [V], whether a branch lacks positions that only hidden controls follow.
      tokens: int32 [R, context], the prompts as they are seen.
    """

    weight: Any
    table: Any
    stranded: Any
    tokens: Any


class Opinions(NamedTuple):
    """What the branches have read and predict (R rows).

    Attributes:
      mark: the model's state before the last position, to which a branch goes back where only
        hidden controls followed it.
      since: int32 [R], tokens since that position, all hidden from the branch; -1 where the branch
        has seen one, or lacks the position.
      now: float32 [R, vocabulary], log-probabilities of the token after the last one read.
      before: float32 [R, vocabulary], those of the last one read itself.
    """

    mark: Any
    since: Any
    now: Any
    before: Any


class Fixed(NamedTuple):
    """What stays the same while a context of B pieces is filled; a pytree."""

    weights: Any
    plan: Any  # what the rules follow from
    forced: Any  # int32 [B, context], the prompts
    lengths: Any  # int [B], of the prompts
    settings: draws.Settings
    branches: Branches | None


class SamplingState(NamedTuple):
    """Where the sampling of B pieces stands; a pytree."""

    state: Any  # grammar states
    memory: Any  # decoding state of the model
    tokens: Any  # int32 [B, context]
    nats: Any  # float32 [B, context], how surprising each drawn token was under the mask
    index: Any  # place of the last token that is known but not yet read by the model
    done: Any  # bool [B]
    keys: Any
    repeats: Any  # repetition.Repeats before that token, None where there are no bars
    opinions: Any  # Opinions, None for one branch


class Sampler:
    """Samples one context of several pieces; compiled programs are kept."""

    def __init__(
        self,
        model: config.Model,
        params: Params | None,
        codec: Codec,
        context: int,
        grammar: Any,
    ):
        """Takes what `composer.Composer` has."""
        self.model, self.family = model, base.of(model)
        self.codec, self.context, self.grammar = codec, context, grammar
        self.load(params)
        v = codec.vocabulary
        self.end = v.start["eos"]
        self._bar = jnp.asarray(v.kind == v.kinds.get("bar", -1))
        self._ends = self._bar | (jnp.arange(v.size) == self.end)
        self._onset = jnp.asarray(codec.onset_tokens)
        self._opens = jnp.asarray(np.isin(v.kind, [v.kinds.get(n, -1) for n in guidance.OPENINGS]))
        self._position = v.kinds.get("position", -1)
        self._extend = jax.jit(self._read, donate_argnums=2, static_argnames="rules")
        self._sample = jax.jit(self._run, donate_argnums=1, static_argnames="rules")

    def load(self, params: Params | None) -> None:
        """Takes other parameters for the same programs; None frees those it has."""
        self._weights = None if params is None else self.family.prepare(self.model, params)

    def fill(
        self,
        prompts: Sequence[np.ndarray],
        streams: Sequence[np.ndarray],
        planner: Any,
        plan: Any,
        keys: jax.Array,
        settings: draws.Settings,
    ) -> Iterator[SamplingState]:
        """Samples until all pieces have ended or the context is full, and looks up now and then.

        Args:
          prompts: what is read first, of each piece.
          streams: all of each piece so far, of which the prompts are the ends.
          planner: its rules and branches hold.
          plan: what its rules follow from.
          keys: random keys [B].
          settings: from `draws.settings`.

        Yields:
          Where the sampling stands; it is gone once the next one is asked for.
        """
        finished = np.array([bool(p[-1] == self.end) for p in prompts])
        lengths = np.array([len(p) for p in prompts])
        forced = self._padded(prompts)
        branches = self._branches(prompts, planner.branches)
        ready = int(lengths[~finished].min()) - 1
        if branches is not None:
            ready = self._all_see(forced, branches, ready)
        room = min(self.context, bucket(ready + CHUNK))
        rows = len(prompts) if branches is None else len(branches.tokens)
        memory = self.family.begin(self.model, rows, room)
        width = min(room, max(CHUNK, 1 << ready.bit_length()))  # few widths, few programs
        state, memory, opinions = self._extend(
            self._weights, forced[:, :width], memory, plan, ready, branches, rules=planner.rules
        )
        before = [s[: len(s) - len(p) + ready] for s, p in zip(streams, prompts)]
        repeats = [repetition.of_stream(self.codec, s) for s in before]
        p = SamplingState(
            state,
            memory,
            jnp.asarray(forced),
            jnp.zeros(forced.shape, jnp.float32),
            jnp.asarray(ready),
            jnp.asarray(finished),
            keys,
            None if None in repeats else jax.tree.map(lambda *x: jnp.stack(x), *repeats),
            opinions,
        )
        if state.kind.committed:  # as all of it will be after the first turn: one program for both
            rest = p._replace(state=None, memory=None, opinions=None)
            rest = jax.device_put(rest, state.kind.sharding)
            p = rest._replace(state=state, memory=memory, opinions=opinions)
        fixed = Fixed(self._weights, plan, forced, lengths, settings, branches)
        while True:
            stop = min(int(p.index) + CHUNK, room - 1)
            p = self._sample(fixed, p, stop, rules=planner.rules)
            yield p
            index = int(p.index)
            if np.asarray(p.done).all() or index + 1 >= self.context:
                return
            if index + 1 >= room:
                room = min(self.context, bucket(room + 1))
                p = p._replace(memory=self.family.grow(p.memory, room))

    def _padded(self, prompts: Sequence[np.ndarray]) -> np.ndarray:
        rows = np.full((len(prompts), self.context), self.codec.PAD, np.int32)
        for row, prompt in zip(rows, prompts):
            row[: len(prompt)] = prompt
        return rows

    def _branches(self, prompts: Sequence[np.ndarray], each: Sequence[Branch]) -> Branches | None:
        """Returns the branches as arrays; None where the only one sees everything."""
        if len(each) == 1 and not each[0].drop and each[0].styles is None:
            return None
        return Branches(
            np.array([v.weight for v in each], np.float32),
            np.stack([guidance.table(self.codec, v) for v in each]),
            np.array([guidance.hides_halves(self.codec, v) for v in each]),
            self._padded([guidance.seen(self.codec, p, v) for p in prompts for v in each]),
        )

    def _all_see(self, forced: np.ndarray, branches: Branches, ready: int) -> int:
        """Returns the last place up to `ready` that all branches see and none may take back."""
        v = self.codec.vocabulary
        seen = (branches.tokens[:, : ready + 1] != self.codec.PAD).all(0)
        waits = (v.kind[forced[:, : ready + 1]] == v.kinds.get("position", -1)).any(0)
        return int(np.flatnonzero(seen & ~waits)[-1])

    def _read(
        self,
        weights: Any,
        tokens: Any,
        memory: Any,
        plan: Any,
        ready: Any,
        branches: Branches | None,
        rules: Any,
    ) -> tuple[Any, Any, Opinions | None]:
        """Returns grammar states after token `ready` of each row; the model reads what precedes."""

        def walk(row: Any, plan: Any) -> tuple[Any, Events]:
            def one(state: Any, scanned: tuple[Any, Any]) -> tuple[Any, Events]:
                token, i = scanned
                new = self.grammar.advance(state, token, rules(state, plan))
                new = jax.tree.map(lambda a, b: jnp.where(i <= ready, a, b), new, state)
                return new, self.grammar.place(new)

            return jax.lax.scan(one, self.grammar.begin(), (row, jnp.arange(row.shape[0])))

        state, events = jax.vmap(walk)(tokens, plan)
        if branches is None:
            _, memory = self.family.feed(self.model, weights, memory, events, count=ready)
            return state, memory, None
        count = len(branches.weight)
        events = jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), events)
        events = events._replace(token=branches.tokens[:, : tokens.shape[1]])
        keep = events.token != self.codec.PAD
        _, memory = self.family.feed(self.model, weights, memory, events, count=ready, keep=keep)
        rows = len(branches.tokens)
        nothing = jnp.zeros((rows, self.codec.vocab_size), jnp.float32)
        start = Opinions(self.family.mark(memory), jnp.full(rows, -1), nothing, nothing)
        return state, memory, start

    def _run(self, fixed: Fixed, p: SamplingState, stop: Any, rules: Any) -> SamplingState:
        """Samples until `stop` tokens are known or all pieces have ended."""

        def one(p: SamplingState) -> SamplingState:
            events = jax.vmap(self.grammar.place)(p.state)
            if fixed.branches is None:
                read = Events(*(e[:, None] for e in events))
                logits, memory = self.family.feed(self.model, fixed.weights, p.memory, read)
                opinions = None
            else:
                logits, memory, opinions = self._guided(fixed, p, events, fixed.branches)
            kept = jax.vmap(rules)(p.state, fixed.plan)
            mask = jax.vmap(self.grammar.mask)(p.state, kept)
            repeats = p.repeats
            if repeats is not None:
                token, place = events.token, (events.position, events.slot, events.pitch)
                bar, onset = self._bar[token], self._onset[token]
                repeats = jax.vmap(repetition.advance)(repeats, bar, onset, *place)
                mask = jax.vmap(repetition.allowed, (0, 0, None, None))(
                    repeats, mask, self._ends, fixed.settings.repeats
                )
            logits = jax.vmap(self.grammar.merge)(logits)
            keys = jax.vmap(jax.random.fold_in, (0, None))(p.keys, p.index)
            token = jax.vmap(decoding.draw, (0, 0, 0, None))(keys, logits, mask, fixed.settings)
            nats = decoding.surprise(logits, mask, token)
            given = p.index + 1 < fixed.lengths
            token = jnp.where(given, fixed.forced[:, p.index + 1], token)
            new = jax.vmap(self.grammar.advance)(p.state, token, kept)

            def keep(old: Any, new: Any) -> Any:
                return jnp.where(p.done.reshape(-1, *[1] * (new.ndim - 1)), old, new)

            def write(row: Any, new: Any) -> Any:
                return jax.lax.dynamic_update_slice(row, new[:, None], (0, p.index + 1))

            token = jnp.where(p.done, self.codec.PAD, token)
            return SamplingState(
                jax.tree.map(keep, p.state, new),
                memory,
                write(p.tokens, token),
                write(p.nats, jnp.where(given | p.done, 0.0, nats)),
                p.index + 1,
                p.done | (token == self.end),
                p.keys,
                repeats,
                opinions,
            )

        return jax.lax.while_loop(lambda p: (p.index < stop) & ~p.done.all(), one, p)

    def _guided(
        self, fixed: Fixed, p: SamplingState, events: Events, branches: Branches
    ) -> tuple[Any, Any, Opinions]:
        """Makes a step of all branches: their weighted log-probabilities [B, vocabulary].

        A branch skips a token that it does not see, and its prediction of the next one stays.
        """
        o, pieces, count = p.opinions, len(p.done), len(branches.weight)
        drawn = branches.table[:, events.token].T.reshape(-1)
        given = jnp.repeat(p.index < fixed.lengths, count)
        token = jnp.where(given, branches.tokens[:, p.index], drawn)
        gap = token == self.codec.PAD
        kind = self.grammar.kind[events.token]
        moves = jnp.repeat(kind == self._position, count)
        opens = jnp.repeat(self._opens[events.token], count)
        # A position that only hidden controls followed is taken back.
        alone = jnp.tile(branches.stranded, pieces) & (o.since > 0) & ~gap & ~opens
        memory = self.family.rewind(p.memory, o.mark, alone)
        mark = jax.tree.map(
            lambda new, old: jnp.where(moves.reshape(-1, *[1] * (new.ndim - 1)), new, old),
            self.family.mark(memory),
            o.mark,
        )
        since = jnp.where(gap, jnp.where(o.since < 0, -1, o.since + 1), -1)
        since = jnp.where(moves & ~gap, 0, since)
        repeated = (jnp.repeat(x, count)[:, None] for x in events)
        seen = Events(*repeated)._replace(token=token[:, None])
        logits, memory = self.family.feed(
            self.model, fixed.weights, memory, seen, keep=~gap[:, None]
        )
        now = jax.nn.log_softmax(logits)
        # After a position with hidden controls a note may follow there, or what might have followed
        # in its stead: p(position) p(note | position) and p(anything else).
        place = jnp.repeat(p.tokens[:, jnp.maximum(p.index - 1, 0)], count)
        chance = jnp.take_along_axis(o.before, place[:, None], axis=1)
        either = jnp.where(self._opens, chance + o.now, o.before)
        held = jnp.where((since == 1)[:, None], either, o.now)
        before = jnp.where(gap[:, None], o.before, o.now)
        now = jnp.where(gap[:, None], held, now)
        each = now.reshape(pieces, count, -1)
        # Where a branch cannot see a token, the log-probability of the first one stands in.
        each = jnp.where(branches.table == self.codec.PAD, each[:, :1], each)
        together = (each * branches.weight[:, None]).sum(1)
        return together, memory, Opinions(mark, since, now, before)


def bucket(length: int) -> int:
    """Returns the smallest of 512, 768, 1024, 1536, 2048, 3072, ... that is at least length.

    A step reads the whole cache, and each size is compiled once.
    """
    power = max(512, 1 << (length - 1).bit_length())
    return power * 3 // 4 if power > 512 and length <= power * 3 // 4 else power
