"""Guidance branches: what they do not see, and that the model then reads the stream without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.metrical.grammar import Grammar
from jaxmusic._src.codecs.performance.codec import PerformanceCodec
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.core.events import Events
from jaxmusic._src.generate import draws, guidance
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.generate.guidance import Branch
from jaxmusic._src.generate.sampler import CHUNK
from jaxmusic._src.models import transformer
from jaxmusic._src.music.controls import names

CONTROLS = names()

CODEC = MetricalCodec()
CONTEXT = 256
SHAPE = config.Transformer(layers=2, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)
apply = jax.jit(transformer.apply, static_argnums=1)
PLAIN = config.Sampling(temperature=1.0, top_p=1.0)


class ChordLover(Grammar):
    """Allows nothing but a chord in the middle of a bar, and no note at it, wherever it can."""

    def mask(self, s, rules):
        ok = super().mask(s, rules)
        half = self.bar_steps[jnp.maximum(s.meter, 0)] // 2
        position, chord = self.is_a["position"], self.is_a["chord"]
        middle = ok & position & (self.value + 1 == half) & (s.onsets > 0)
        opens = sum(self.is_a[name] for name in guidance.OPENINGS) > 0
        at_half = s.position == half
        named = at_half & (s.kind == self.number["position"])
        said = at_half & (s.kind == self.number["chord"])
        for wanted in (middle, ok & chord & named, ok & ~opens & said):
            ok = jnp.where(wanted.any(), wanted, ok)
        return ok


def toy(codec, grammar=None):
    """A composer with an untrained model whose logits are far apart, and its parameters."""
    params = transformer.init(SHAPE, codec.vocab_size, 0)
    params["norm"] = 20.0 * params["norm"]
    composer = Composer(SHAPE, params, codec, CONTEXT)
    if grammar:
        composer.sampler.grammar = grammar(codec)
    return composer, params


@pytest.fixture(scope="module")
def composer():
    return toy(CODEC)[0]


def planner(composer, seconds, *seen_as, styles=()):
    out = composer.planner(Request(seconds, styles))
    out.branches = seen_as
    return out


@settings(max_examples=80, deadline=None)
@given(strategies.pieces(steps=12), st.sets(st.sampled_from(CONTROLS)))
def test_what_is_left_is_the_stream_without_the_controls(piece, drop):
    codec = MetricalCodec()
    whole = codec.encode(piece)
    seen = guidance.seen(codec, whole, Branch(drop=frozenset(drop)))
    assert len(seen) == len(whole)
    assert np.array_equal(seen[seen != codec.PAD], codec.encode(piece, frozenset(drop)))


@pytest.mark.quick
def test_styles_of_a_branch():
    pop, jazz, waltz = CODEC.style_tokens(["pop", "jazz", "waltz"])
    start = CODEC.vocabulary.start
    stream = np.array([start["bos"], pop, jazz, start["meter"], start["tempo"]])

    def seen(**kind):
        return guidance.seen(CODEC, stream, Branch(**kind)).tolist()[1:3]

    assert seen() == [pop, jazz]
    assert seen(styles=("waltz",)) == [waltz, CODEC.PAD]
    assert seen(styles=()) == seen(drop=frozenset({"styles"})) == [CODEC.PAD] * 2
    with pytest.raises(ValueError, match="3 styles do not fit"):
        seen(styles=("pop", "jazz", "waltz"))
    performed = PerformanceCodec()
    header = np.array([performed.vocabulary.start["bos"], *performed.style_tokens(["pop"]), 60])
    seen = guidance.seen(performed, header, Branch(drop=frozenset(CONTROLS)))
    assert seen.tolist() == [header[0], performed.PAD, 60]


def said(codec, params, stream):
    """Log-probabilities after each token of a stream [T, V], read in one go."""
    padded = np.concatenate([stream, np.full(-len(stream) % 64, codec.PAD, np.int32)])
    events = Events(*(jnp.asarray(e)[None] for e in codec.events(padded)))
    logits = apply(params, SHAPE, events, jnp.ones_like(events.token)).logits
    return np.asarray(jax.nn.log_softmax(logits[0]))[: len(stream)]


@pytest.mark.parametrize("codec_kind", ["metrical", "fused"])
def test_a_branch_says_what_the_model_says_without_the_tokens(codec_kind):
    """To 1e-4, in prompts and in what is sampled, in this context and the next."""
    codec = make_codec(config.Codec(kind=codec_kind))
    composer, params = toy(codec, ChordLover)
    kinds = codec.vocabulary.kinds
    seen_as = (Branch(2.0), Branch(-1.0, frozenset(CONTROLS)))
    plan_of = planner(composer, 1800.0, *seen_as, styles=("pop",))
    prompts, plan = plan_of.begin(2)
    sampling = draws.settings(PLAIN, codec.vocabulary)
    streams, compared, alone = prompts, 0, 0
    for turn in range(2):
        keys = jax.vmap(jax.random.key)(jnp.arange(2) + turn)
        fill = composer.sampler.fill(prompts, streams, plan_of, plan, keys, sampling)
        for p in fill:
            read = np.asarray(p.tokens)[:, : int(p.index)]
            for row, stream in enumerate(read):
                waits = codec.vocabulary.kind[stream[-3:]].tolist()
                if kinds["position"] in waits[:-1] and waits[-1] in (kinds["chord"], kinds["bass"]):
                    continue
                for column, branch in enumerate(seen_as):
                    seen = guidance.seen(codec, stream, branch)
                    alone += len(guidance.stranded(codec, stream, branch))
                    found = np.asarray(p.opinions.now)[2 * row + column]
                    wanted = said(codec, params, seen[seen != codec.PAD])[-1]
                    np.testing.assert_allclose(found, wanted, atol=1e-4)
                    compared += 1
        rows = np.asarray(p.tokens)[:, : int(p.index) + 1]
        ended = codec.vocabulary.start["eos"]
        ends = [int(np.argmax(r == ended)) + 1 if ended in r else len(r) for r in rows]
        assert not all(p.done)
        streams, prompts, plan = plan_of.go_on([r[:end] for r, end in zip(rows, ends)])
    assert compared >= 10 and alone > 0


def test_a_position_that_names_a_hidden_chord():
    """Before the chord a branch expected either a note at the position or something else."""
    composer, params = toy(CODEC)
    kind, kinds = CODEC.vocabulary.kind, CODEC.vocabulary.kinds
    stream = CODEC.encode(strategies.random_piece(7, 60, 2))
    named = (kind[stream[:-1]] == kinds["position"]) & (kind[stream[1:]] == kinds["chord"])
    places = np.flatnonzero(named)
    prompt = stream[: places[places > CHUNK][0] + 2]
    branch = Branch(-1.0, frozenset({"chords"}))
    before, there = (
        said(CODEC, params, seen[seen != CODEC.PAD])[-1]
        for seen in (guidance.seen(CODEC, prompt[:-n], branch) for n in (2, 1))
    )
    opens = np.isin(kind, [kinds[name] for name in guidance.OPENINGS])
    expected = np.where(opens, before[prompt[-2]] + there, before)
    plan_of = planner(composer, 60.0, Branch(2.0), branch)
    _, plan = plan_of.begin(1)
    keys = jax.vmap(jax.random.key)(jnp.arange(1))
    sampling = draws.settings(PLAIN, CODEC.vocabulary)
    # The loop looks up after CHUNK tokens: it is to stand right behind the chord then.
    sampler = composer.sampler
    sampler._all_see = lambda forced, branches, ready: len(prompt) - CHUNK
    p = next(sampler.fill([prompt], [prompt], plan_of, plan, keys, sampling))
    assert int(p.index) == len(prompt)
    np.testing.assert_allclose(np.asarray(p.opinions.now)[1], expected, atol=1e-4)


def test_guidance_of_1_is_no_guidance(composer):
    """Over several contexts, with prompts of their own for each branch."""
    plain, guided = (
        composer.compose(planner(composer, 900.0, *seen_as, styles=("pop",)), 3, sampling=PLAIN)[0]
        for seen_as in (
            (Branch(),),
            (Branch(1.0), Branch(0.0, frozenset(CONTROLS))),
        )
    )
    assert len(plain.tokens) > CONTEXT
    assert np.array_equal(plain.tokens, guided.tokens)
    assert guided.bits_per_note == pytest.approx(plain.bits_per_note, rel=1e-3)


def test_guidance_goes_on_over_the_context(composer):
    strong = (Branch(3.0), Branch(-2.0, frozenset({"styles"})))
    mixed = (Branch(0.75, styles=("pop",)), Branch(0.25, styles=("jazz",)))
    for seen_as, styles in ((strong, ("pop",)), (mixed, ("pop", "jazz"))):
        piece, other = composer.compose(
            planner(composer, 400.0, *seen_as, styles=styles), 3, count=2, sampling=PLAIN
        )
        (alone,) = composer.compose(
            planner(composer, 400.0, *seen_as, styles=styles), 3, sampling=PLAIN
        )
        # Later on rounding, which such params magnify, may decide a draw otherwise.
        begun = slice(CONTEXT + CONTEXT // 8)
        assert np.array_equal(piece.tokens[begun], alone.tokens[begun])
        assert len(piece.tokens) > CONTEXT
        for made in (piece, other):
            _, dropped = CODEC.decode(made.tokens)
            assert dropped == 0
            assert made.notes.seconds(made.notes.end) == pytest.approx(400.0)
