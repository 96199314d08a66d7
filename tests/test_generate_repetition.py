"""Bars that repeat: counted on streams, and held back while sampling."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies
import toys
from hypothesis import given, settings

from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.performance.codec import PerformanceCodec
from jaxmusic._src.generate import repetition
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.models import transformer

CODEC = MetricalCodec()
CONTEXT = 256


@pytest.fixture(scope="module")
def dull():
    """A composer with a model that likes nothing as much as the next bar."""
    params = transformer.init(toys.MODEL, CODEC.vocab_size, 0)
    # The residual stream has the same first coordinate everywhere, and bars are read from it.
    bar = CODEC.vocabulary.kind == CODEC.vocabulary.kinds["bar"]
    for name in ("token", "position", "slot", "pitch"):
        params[name] = params[name].at[:, 0].set(0.0)
    params["position"] = params["position"].at[:, 0].set(3.0)
    params["token"] = params["token"].at[:, 0].set(np.where(bar, 4.0, 0.0))
    return Composer(toys.MODEL, params, CODEC, CONTEXT)


def contents(tokens):
    """The onsets of each bar, as sets."""
    events = CODEC.events(tokens)
    bars = int((CODEC.vocabulary.kind[tokens] == CODEC.vocabulary.kinds["bar"]).sum())
    onset = CODEC.onset_tokens[tokens]
    out = [set() for _ in range(bars)]
    places = (events.bar, events.position, events.slot, events.pitch)
    for bar, *where in np.stack(places, 1)[onset].tolist():
        out[bar].add(tuple(where))
    return out


def longest_run(tokens):
    return max(len(list(run)) for _, run in itertools.groupby(contents(tokens)))


@settings(max_examples=40, deadline=None)
@given(strategies.pieces(steps=12))
def test_the_host_and_the_loop_count_alike(piece):
    tokens = CODEC.encode(piece)
    host = repetition.of_stream(CODEC, tokens)
    events = CODEC.events(tokens)
    bar = CODEC.vocabulary.kind[tokens] == CODEC.vocabulary.kinds["bar"]
    first = repetition.of_stream(CODEC, tokens[:1])
    padding = (0, -len(tokens) % 256)
    columns = (bar, CODEC.onset_tokens[tokens], events.position, events.slot, events.pitch)
    looped = scanned(first, tuple(np.pad(c, padding) for c in columns))
    assert [int(x) for x in looped] == [int(x) for x in host]
    sets = contents(tokens)[:-1]
    run = next((n for n in range(1, len(sets)) if sets[-1 - n] != sets[-1]), len(sets))
    assert int(host.run) == run


@jax.jit
def scanned(first, columns):
    def one(r, token):
        return repetition.advance(r, *token), None

    return jax.lax.scan(one, jax.tree.map(jnp.asarray, first), columns)[0]


@pytest.mark.parametrize("repeats", [2, 8])
def test_no_more_bars_in_a_row_than_asked_for(dull, repeats):
    """Over several contexts; silent bars are bars too."""
    planner = dull.planner(Request(1500.0))
    cold = config.Sampling(temperature=0.0, repeats=repeats)
    (piece,) = dull.compose(planner, 1, sampling=cold)
    assert len(piece.tokens) > 2 * CONTEXT
    assert longest_run(piece.tokens) <= repeats
    assert CODEC.decode(piece.tokens)[1] == 0


def test_0_allows_any_number():
    r = repetition.Repeats(jnp.uint32(5), jnp.uint32(5), jnp.int32(90))
    mask, ends = jnp.asarray([True, True, False]), jnp.asarray([True, False, False])
    assert repetition.allowed(r, mask, ends, 0).tolist() == [True, True, False]
    assert repetition.allowed(r, mask, ends, 90).tolist() == [False, True, False]
    assert repetition.allowed(r, mask, ends, 91).tolist() == [True, True, False]
    # Where nothing else may follow the bar ends after all.
    assert repetition.allowed(r, ends, ends, 8).tolist() == [True, False, False]


def test_the_performance_codec_has_no_bars():
    assert repetition.of_stream(PerformanceCodec(), np.array([389])) is None
