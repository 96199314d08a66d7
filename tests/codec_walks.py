"""The codecs by kind and resolution, and walks of their grammars over many rows at once."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import strategies
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic._src.codecs.layout import MAX_STYLES
from jaxmusic._src.codecs.metrical import grammar as metrical
from jaxmusic._src.codecs.metrical.task_grammar import hole
from jaxmusic._src.codecs.performance import grammar as performance
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music import beats

STEPS, ROWS = 512, 16
KINDS = ("metrical", "fused", "performance")
LEVELS = (8, 16, 32)
CODECS = {
    (kind, steps, levels): make_codec(config.Codec(steps, levels, kind))
    for kind, steps, levels in itertools.product(KINDS, (12, 24), LEVELS)
    if (kind, steps) != ("performance", 24)
}
DEFAULTS = {kind: CODECS[kind, 12, 32 if kind == "performance" else 8] for kind in KINDS}


def codec_of(kind, piece):
    """The codec of a kind in the resolution of a piece."""
    return CODECS[kind, getattr(piece, "steps_per_beat", 12), piece.velocities]


def random_piece(kind, seed, count=40, size=3):
    """A piece of some notes: a performance of `size` seconds, or a piece of `size` tracks."""
    made = strategies.random_performance if kind == "performance" else strategies.random_piece
    return made(seed, count, size)


def pieces(kind, **sizes) -> st.SearchStrategy:
    """Pieces of every resolution that codecs of a kind encode."""
    return (strategies.performances if kind == "performance" else strategies.pieces)(**sizes)


def real_notes(music, *folders, count=3):
    """Notes of some files of each folder of real music."""
    for name in folders:
        files = sorted(p for p in (music / name).rglob("*") if p.suffix == ".mid")
        yield from map(read_notes, files[:: max(len(files) // count, 1)][:count])


def real_pieces(kind, music):
    """Quantised real music."""
    if kind == "performance":
        found = real_notes(music, "giantmidi", "piano_midi_de", "pop909")
    else:
        folders = ("pop909", "multitrack_pop", "mutopia", "groove", "nottingham", "freedoom")
        found = (beats.align(notes)[0] for notes in real_notes(music, *folders))
    return [DEFAULTS[kind].quantise(notes)[0] for notes in found]


class Walker:
    """A grammar that follows streams as far as they go, and then draws tokens."""

    def __init__(self, codec):
        self.codec, self.performs = codec, codec.config.kind == "performance"
        self.grammar = (
            performance.PerformanceGrammar(codec) if self.performs else metrical.Grammar(codec)
        )
        self.rules = (performance if self.performs else metrical).Rules
        self.walk = jax.jit(jax.vmap(self._walk))

    def _walk(self, row, length, key, rules, taste, what):
        v, grammar = self.codec.vocabulary, self.grammar

        def one(state, scanned):
            token, i, key = scanned
            now = rules if what is None else rules._replace(hole=hole(state, what))
            mask = grammar.mask(state, now)
            # Each kind of token that may follow is as likely as any other, apart from taste.
            count = jax.ops.segment_sum(mask.astype(jnp.float32), v.kind, len(v.names))
            logits = taste - jnp.log(jnp.maximum(count, 1.0))[v.kind]
            drawn = jax.random.categorical(key, jnp.where(mask, logits, -jnp.inf))
            token = jnp.where(i < length, token, drawn.astype(jnp.int32))
            state = grammar.advance(state, token, now)
            return state, (token, mask[token], mask.any(), grammar.place(state))

        scanned = (row, jnp.arange(STEPS), jax.random.split(key, STEPS))
        return jax.lax.scan(one, grammar.begin(), scanned)[1]

    def _walked(self, prompts, rules, seed=0, taste=0.0, what=None):
        """Walks `ROWS` rows, and checks that each event is where the codec puts it."""
        rows = np.zeros((ROWS, STEPS), np.int32)
        for row, tokens in zip(rows, prompts):
            row[: len(tokens)] = tokens
        found = self.walk(
            rows,
            np.array([len(tokens) for tokens in prompts]),
            jax.random.split(jax.random.key(seed), ROWS),
            jax.tree.map(lambda r: jnp.broadcast_to(jnp.asarray(r, jnp.int32), ROWS), rules),
            np.broadcast_to(np.float32(taste), (ROWS, self.codec.vocab_size)),
            what,
        )
        tokens, allowed, some, places = jax.tree.map(np.asarray, found)
        eos, streams = self.codec.vocabulary.start["eos"], []
        for row, prompt in enumerate(prompts):
            ends = np.flatnonzero(tokens[row] == eos)
            stream = tokens[row, : ends[0] + 1 if len(ends) else STEPS]
            assert some[row, len(prompt) : len(stream)].all()
            for name, ours, theirs in zip(places._fields, self.codec.events(stream), places):
                assert np.array_equal(ours, theirs[row, : len(stream)]), name
            streams.append(stream)
        return streams, allowed

    def allowed(self, streams, ends, what=None):
        """Yields for each stream which of its tokens the grammar allows (bool [T]).

        Args:
          streams: tokens; `STEPS` of each are followed.
          ends: the first of the rules of each: bars or steps to the end of the piece.
          what: `Holes` of each, with an axis of rows in front.
        """
        for first in range(0, len(streams), ROWS):
            group = [stream[:STEPS] for stream in streams[first : first + ROWS]]
            group += [self.codec.vocabulary.start["bos"] + np.zeros(1, int)] * (ROWS - len(group))
            rules = self.rules(np.resize(ends[first : first + ROWS], ROWS))
            _, allowed = self._walked(group, rules, what=what)
            for row in range(min(ROWS, len(streams) - first)):
                yield allowed[row, : len(group[row])]

    def sample(self, rules, seed=0, taste=0.0, prompts=None, what=None):
        """Draws `ROWS` streams to their end, or to `STEPS` tokens."""
        prompts = prompts or [[self.codec.vocabulary.start["bos"]]] * ROWS
        return self._walked(prompts, rules, seed, taste, what)[0]


@functools.cache
def walker(kind):
    """The walker of the default codec of a kind, in which every style has a name."""
    codec = DEFAULTS[kind]
    return Walker(codec.with_styles([f"style-{i}" for i in range(MAX_STYLES - len(codec.styles))]))


def check_lossless(codec, piece, drop=frozenset()):
    """Encodes a piece, and decodes it without a loss; returns the tokens."""
    tokens = codec.encode(piece, drop)
    assert tokens.dtype == np.int32
    assert codec.onset_tokens[tokens].sum() == len(piece)
    again, dropped = codec.decode(tokens)
    assert dropped == 0
    assert strategies.differences(strategies.as_decoded(piece, drop), again) == []
    return tokens


def words(codec, tokens):
    """What tokens say."""
    return [codec.vocabulary.describe(token) for token in tokens]


def ended(codec, stream):
    """Whether a stream has its end token."""
    return stream[-1] == codec.vocabulary.start["eos"]


def finished(codec, stream):
    """A stream without the bar that was not finished; of a performance all of it."""
    kinds = kinds_of(codec, stream)
    bars = np.flatnonzero(kinds == "bar")
    return stream[: bars[-1]] if len(bars) and not ended(codec, stream) else stream


def kinds_of(codec, stream):
    """Names of the kinds of tokens."""
    return np.array(codec.vocabulary.names)[codec.vocabulary.kind[stream]]


def mixed_streams(kind):
    """Streams of random tokens, alone or let into a real stream."""
    codec = DEFAULTS[kind]
    anything = st.lists(st.integers(-3, codec.vocab_size + 3), max_size=60)
    if kind == "performance":
        some = (60, 61, 188, 189, 256, 280, 356, 370, 388, 390)
        anything |= st.lists(st.sampled_from(some), max_size=40)

    def mixed(seed, junk, place):
        tokens = codec.encode(random_piece(kind, seed)).tolist()
        at = place % (len(tokens) + 1)
        return tokens[:at] + junk + tokens[at:]

    return anything | st.builds(mixed, st.integers(0, 99), anything, st.integers(0, 10**6))
