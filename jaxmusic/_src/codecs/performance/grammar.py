"""The performance codec as a grammar inside `jit`: which tokens may follow, and where each stands.

Mirrors `codecs.metrical.grammar`: any stream that starts at `begin` and obeys the mask decodes
without a token dropped, there is one order only in which the notes of a performance can be written,
and until the end token some token is always allowed.

The order within a step is note-seq's: first the notes that end, in the order in which they began
(of those that began together the lowest first), then those that begin, the lowest first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxmusic._src.codecs.performance.codec import TASK_ROOM, PerformanceCodec
from jaxmusic._src.codecs.performance.notes import MAX_SHIFT, STEPS_PER_SECOND
from jaxmusic._src.core.events import Events

FAR = 1 << 20
"""More steps than any performance has."""


class Rules(NamedTuple):
    """What a stream must keep beyond the grammar (int32 scalars).

    Attributes:
      steps: steps of 10 ms from the start of the stream to the end of the piece, at least 1.
      silence: no more steps than this (but one at least) may pass without an onset, and with a
        value under `FAR` the stream opens a piece, and its first and last second each hold one.
      tokens: a second with this many tokens closes as soon as it may.
      styled: 1 where all styles are given and no other may follow.
    """

    steps: Any
    silence: Any = FAR
    tokens: Any = FAR
    styled: Any = 0


class State(NamedTuple):
    """What is known of a stream after its last token (int32, scalars except `since`)."""

    kind: Any  # kind of the last token, -1 before any
    token: Any
    style: Any  # last style in the header
    time: Any  # step
    velocity: Any  # loudness level in force, -1 for none
    since: Any  # [128] step at which each pitch that sounds began, -1 for silence
    begun: Any  # last pitch that began at this step, -1 for none
    ended: Any  # rank of the last note that ended at this step, -1 for none
    onset: Any  # step of the last onset, -1 for none
    tokens: Any  # tokens of this second


class PerformanceGrammar:
    """Functions over the vocabulary of one codec."""

    def __init__(self, codec: PerformanceCodec):
        """Takes the codec's vocabulary."""
        self.codec = codec
        v = codec.vocabulary
        self.number = v.kinds
        self.kind, self.value = jnp.asarray(v.kind), jnp.asarray(v.value)
        self.pitches = jnp.arange(128)

    def begin(self) -> State:
        """Returns the state before a stream, to `advance` with the first token of its header."""
        zero = jnp.zeros((), jnp.int32)
        state = State(*[zero - 1] * len(State._fields))
        return state._replace(time=zero, tokens=zero, since=jnp.full(128, -1, jnp.int32))

    def _rank(self, since: Any, pitch: Any) -> Any:
        """Returns the rank of a sounding note in the order in which notes end."""
        return since * 128 + pitch

    def advance(self, s: State, token: Any, rules: Rules) -> State:
        """Returns the state after one more token (int32 scalar), which is not checked."""
        n, kind, value = self.number, self.kind[token], self.value[token]
        on, off, shift = (kind == n[name] for name in ("note_on", "note_off", "shift"))
        time = s.time + jnp.where(shift, value + 1, 0)
        here = self.pitches == value
        moved_on = time // STEPS_PER_SECOND > s.time // STEPS_PER_SECOND
        since = jnp.where(here & on, time, jnp.where(here & off, -1, s.since))
        ended = jnp.where(off, self._rank(s.since[value], value), s.ended)
        return State(
            kind=kind,
            token=jnp.asarray(token, jnp.int32),
            style=jnp.where(kind == n["style"], value, s.style),
            time=time,
            velocity=jnp.where(kind == n["velocity"], value, s.velocity),
            since=since,
            begun=jnp.where(on, value, jnp.where(shift, -1, s.begun)),
            ended=jnp.where(shift, -1, ended),
            onset=jnp.where(on, time, s.onset),
            tokens=jnp.where(moved_on, 0, s.tokens + (token < self.codec.PAD)),
        )

    def _limit(self, s: State, rules: Rules) -> Any:
        """Returns the step that a shift may reach but not pass."""
        first, composing = s.onset < 0, jnp.asarray(rules.silence) < FAR
        next_onset = jnp.where(
            first,
            jnp.minimum(rules.silence, STEPS_PER_SECOND - 1),
            s.onset + jnp.maximum(rules.silence, 1),
        )
        waits = first | (s.onset < rules.steps - STEPS_PER_SECOND)
        limit = jnp.minimum(next_onset, rules.steps - waits)
        return jnp.where(composing, limit, rules.steps)

    def mask(self, s: State, rules: Rules) -> Any:
        """Masks the tokens that may follow, bool [vocabulary]."""
        n, length = self.number, self.codec.vocabulary.length
        is_kind = {name: s.kind == n[name] for name in n}
        opened = (s.kind >= 0) & ~is_kind["eos"]
        header = is_kind["bos"] | is_kind["part"] | is_kind["style"]
        over = s.time >= rules.steps
        louder = is_kind["velocity"]  # only an onset follows
        silent = s.since < 0

        higher = silent & (self.pitches > s.begun) & ~over
        rank = self._rank(s.since, self.pitches)
        lasted = ~silent & (s.since < s.time)
        ends = lasted & (rank > s.ended) & (s.begun < 0) & ~louder
        # At the end of the piece each note that sounds must still have its turn.
        ends &= ~over | (rank == jnp.where(ends, rank, jnp.iinfo(jnp.int32).max).min())
        room = self._limit(s, rules) - s.time
        shift = jnp.arange(MAX_SHIFT)
        whole = ~is_kind["shift"] | (self.value[s.token] == MAX_SHIFT - 1)
        shifts = (shift < room) & whole & ~louder
        levels = (jnp.arange(length["velocity"]) != s.velocity) & higher.any() & ~louder

        longest = shifts & (shift == jnp.minimum(room, MAX_SHIFT) - 1)
        full = (s.tokens >= rules.tokens) & longest.any()
        events = jnp.concatenate([higher & (s.velocity >= 0), ends, shifts, levels])
        only_longest = jnp.concatenate([jnp.zeros(256, bool), longest, jnp.zeros_like(levels)])
        events = jnp.where(full, only_longest, events) & opened

        part = is_kind["bos"] & (jnp.asarray(rules.silence) >= FAR)
        single = [jnp.zeros((), bool), s.kind < 0, opened & over & silent.all(), part]
        no_tasks = jnp.zeros(TASK_ROOM, bool)
        other = jnp.asarray(rules.styled) == 0
        styles = header & other & (jnp.arange(length["style"]) > s.style)
        return jnp.concatenate([events, jnp.stack(single), no_tasks, styles])

    def merge(self, logits: Any) -> Any:
        """Returns the logits (float32 [vocabulary]) unchanged: no token is forced."""
        return logits

    def place(self, s: State) -> Events:
        """Returns the last token's event tensors, int32 scalars, as `PerformanceCodec.events`."""
        note = (s.kind == self.number["note_on"]) | (s.kind == self.number["note_off"])
        zero = jnp.zeros((), jnp.int32)
        return Events(
            token=s.token,
            time=s.time,
            position=zero + 144,
            bar=zero,
            slot=jnp.where(note, 0, 16),
            pitch=jnp.where(note, self.value[s.token], 128),
        )
