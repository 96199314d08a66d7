"""Views of a stream: what is hidden, and that the model then sees the stream without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic.codecs.layout import CONTROLS
from jaxmusic.codecs.metrical import MetricalCodec
from jaxmusic.codecs.performance import PerformanceCodec
from jaxmusic.events import Events
from jaxmusic.generate import decoding, views
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.views import View
from jaxmusic.models import decode, transformer

CODEC = MetricalCodec()
CONTEXT = 256
SHAPE = config.Model(layers=2, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)
PLAIN = config.Sampling(temperature=1.0, top_p=1.0)


@pytest.fixture(scope="module")
def weights():
    """Of an untrained model, but for an output that tells its tokens well apart."""
    _, params = transformer.make(SHAPE, CODEC.vocab_size, 0)
    made = decode.prepare(SHAPE, params)
    return made._replace(output=made.output * 20)


@pytest.fixture(scope="module")
def composer(weights):
    return Composer(SHAPE, weights, CODEC, CONTEXT)


def planner(composer, seconds, *seen_as, styles=()):
    out = composer.planner(Wishes(seconds, styles))
    out.views = seen_as
    return out


@settings(max_examples=80, deadline=None)
@given(strategies.pieces(steps=12), st.sets(st.sampled_from(CONTROLS)))
def test_what_is_left_is_the_stream_without_the_controls(piece, drop):
    codec = MetricalCodec()
    whole = codec.encode(piece)
    seen = views.seen(codec, whole, View(drop=frozenset(drop)))
    assert len(seen) == len(whole)
    assert np.array_equal(seen[seen != codec.PAD], codec.encode(piece, frozenset(drop)))


@pytest.mark.quick
def test_styles_of_a_view():
    pop, jazz, waltz = CODEC.style_tokens(["pop", "jazz", "waltz"])
    start = CODEC.vocabulary.start
    stream = np.array([start["bos"], pop, jazz, start["meter"], start["tempo"]])

    def seen(**kind):
        return views.seen(CODEC, stream, View(**kind)).tolist()[1:3]

    assert seen() == [pop, jazz]
    assert seen(styles=("waltz",)) == [waltz, CODEC.PAD]
    assert seen(styles=()) == seen(drop=frozenset({"styles"})) == [CODEC.PAD] * 2
    with pytest.raises(ValueError, match="3 styles do not fit"):
        seen(styles=("pop", "jazz", "waltz"))
    performed = PerformanceCodec()
    header = np.array([performed.vocabulary.start["bos"], *performed.style_tokens(["pop"]), 60])
    seen = views.seen(performed, header, View(drop=frozenset(CONTROLS)))
    assert seen.tolist() == [header[0], performed.PAD, 60]


def said(weights, stream):
    """Log-probabilities after each token of a stream [T, V], read in one go."""
    events = Events(*(jnp.asarray(e)[None] for e in CODEC.events(stream)))
    cache = decode.init_cache(SHAPE, 1, len(stream))
    logits, _ = decode.extend(SHAPE, weights, events, cache, 0)
    return np.asarray(jax.nn.log_softmax(logits[0]))


def after(composer, stream, read, *seen_as):
    """What all views together said about the last token of a stream, sampled from a prompt.

    The log-probabilities of a token under any mask differ by a constant for a whole context, so
    the sampler's are taken from the place where it keeps them.
    """
    plan_of = planner(composer, 60.0, *seen_as)
    (_, plan), keys = plan_of.begin(1), jax.vmap(jax.random.key)(jnp.arange(1))
    sampling = decoding.settings(PLAIN, CODEC.vocabulary)
    p = next(composer.sampler.fill([stream], [stream], plan_of, plan, keys, sampling))
    return p
