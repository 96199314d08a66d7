"""Bars that repeat: counted on streams, and held back while sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies
from hypothesis import given, settings

from jaxmusic import config
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.codecs.metrical.grammar import Grammar, Rules
from jaxmusic.codecs.performance.codec import PerformanceCodec
from jaxmusic.core.errors import UserError
from jaxmusic.generate import repetition, streaming
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.controls import Wishes
from jaxmusic.models import transformer

CODEC = MetricalCodec()
GRAMMAR = Grammar(CODEC)
CONTEXT = 256
SHAPE = config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)


@pytest.fixture(scope="module")
def dull():
    """A composer with a model that likes nothing as much as the next bar."""
    params = transformer.init(SHAPE, CODEC.vocab_size, 0)
    # The residual stream has the same first coordinate everywhere, and bars are read from it.
    bar = CODEC.vocabulary.kind == CODEC.vocabulary.kinds["bar"]
    for name in ("token", "position", "slot", "pitch"):
        params[name] = params[name].at[:, 0].set(0.0)
    params["position"] = params["position"].at[:, 0].set(3.0)
    params["token"] = params["token"].at[:, 0].set(np.where(bar, 4.0, 0.0))
    return Composer(SHAPE, params, CODEC, CONTEXT)


def contents(tokens):
    """The onsets of each bar, as sets."""
    events = CODEC.events(tokens)
    bars = int((CODEC.vocabulary.kind[tokens] == CODEC.vocabulary.kinds["bar"]).sum())
    onset = CODEC.onset_tokens[tokens]
    out = [set() for _ in range(bars)]
    for bar, *where in zip(
        *(np.asarray(e)[onset] for e in (events.bar, *events[2:3], *events[4:]))
    ):
        out[bar].add(tuple(int(x) for x in where))
    return out


def longest_run(tokens):
    bars, best, run = contents(tokens), 0, 0
    for i, bar in enumerate(bars):
        run = run + 1 if i and bar == bars[i - 1] else 1
        best = max(best, run)
    return best


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
    planner = dull.planner(Wishes(1500.0))
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


@pytest.fixture(scope="module")
def composer():
    params = transformer.init(SHAPE, CODEC.vocab_size, 0)
    return Composer(SHAPE, params, CODEC, CONTEXT)


def test_a_stream_is_the_piece_bar_by_bar(composer):
    """Also over several contexts; each bar comes once, as soon as it is whole."""
    for seconds in (7.3, 600.0):
        planner = composer.planner(Wishes(seconds))
        (piece,) = composer.compose(planner, 5)
        parts = list(composer.stream(planner, 5))
        assert [part.number for part in parts] == list(range(piece.bars))
        assert {part.total for part in parts} == {piece.bars}
        joined = streaming.join(parts)
        for name in ("onset", "duration", "pitch", "velocity", "track", "program", "drum"):
            assert np.array_equal(getattr(joined, name), getattr(piece.notes, name)), name
        assert joined.tempo_qpm == piece.notes.tempo_qpm and joined.end == piece.notes.end
        # The tempo is the exact one from the first bar on.
        assert {float(part.notes.tempo_qpm[0]) for part in parts} == {float(joined.tempo_qpm[0])}
        lines = np.cumsum([0] + [len(part.notes) for part in parts])
        assert lines[-1] == len(piece.notes)


def test_bars_come_while_others_are_still_sampled(composer):
    stream = composer.stream(composer.planner(Wishes(600.0)), 5)
    first = next(stream)
    assert first.number == 0 and first.total > 100
    stream.close()


def test_what_cannot_be_streamed_is_refused(composer):
    performed = PerformanceCodec()
    params = transformer.init(SHAPE, performed.vocab_size, 0)
    other = Composer(SHAPE, params, performed, CONTEXT)
    with pytest.raises(UserError, match="no bars to stream"):
        next(other.stream(other.planner(Wishes(5.0))))
    several = config.Sampling(best_of=2)
    with pytest.raises(UserError, match="best_of 1"):
        next(composer.stream(composer.planner(Wishes(5.0)), 0, several))


def test_the_best_of_several(composer):
    planner = composer.planner(Wishes(7.3))
    (plain,) = composer.compose(planner, 5)
    everything = []

    def keep(piece):
        everything.append(piece)
        return len(piece.notes)

    most = composer.compose(planner, 5, 2, config.Sampling(best_of=3), rank=keep)
    assert len(everything) == 6 and len(most) == 2
    assert np.array_equal(everything[0].tokens, plain.tokens)
    assert everything[0].bits_per_note == pytest.approx(plain.bits_per_note, rel=1e-4)
    assert len({piece.tokens.tobytes() for piece in everything}) == 6
    assert [len(p.notes) for p in most] == [
        max(len(p.notes) for p in everything[i : i + 3]) for i in (0, 3)
    ]
    likeliest = composer.compose(planner, 5, 2, config.Sampling(best_of=3))
    for best, group in zip(likeliest, (everything[:3], everything[3:])):
        assert best.bits_per_note == min(piece.bits_per_note for piece in group)
    with pytest.raises(UserError, match="set best_of"):
        composer.compose(planner, 5, rank=keep)


def test_bits_per_note_are_those_of_the_model_under_the_mask(composer):
    """Summed up anew on the finished stream, which was drawn in one context."""
    (piece,) = composer.compose(composer.planner(Wishes(4.0)), 3)
    tokens = piece.tokens
    assert len(tokens) < CONTEXT
    planner = composer.planner(Wishes(4.0))
    _, plan = planner.begin(1)
    plan = jax.tree.map(lambda x: jnp.asarray(x[0]), plan)
    events = jax.tree.map(lambda e: jnp.asarray(e)[None], CODEC.events(tokens))
    params = transformer.init(SHAPE, CODEC.vocab_size, 0)
    logits = transformer.apply(params, SHAPE, events, jnp.ones_like(events.token)).logits
    advance, masked = jax.jit(GRAMMAR.advance), jax.jit(GRAMMAR.mask)
    merge = jax.jit(GRAMMAR.merge)
    state, bits = GRAMMAR.begin(), 0.0
    for i, token in enumerate(tokens):
        rules = planner.rules(state, plan)
        assert isinstance(rules, Rules)
        if i:
            mask = masked(state, rules)
            assert mask[token]
            said = jax.nn.log_softmax(jnp.where(mask, merge(logits[0, i - 1]), -jnp.inf))
            bits -= float(said[token]) / np.log(2)
        state = advance(state, token, rules)
    assert piece.bits_per_note == pytest.approx(bits / len(piece.notes), rel=1e-4)
