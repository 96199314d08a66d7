"""Composing with the performance codec: length, order and prompts hold whatever the model says."""

import numpy as np
import pytest

from jaxmusic import config
from jaxmusic.codecs.performance.codec import PerformanceCodec
from jaxmusic.codecs.performance.grammar import PerformanceGrammar
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.length import check_duration
from jaxmusic.generate.performing import SILENT_SECONDS, PerformancePlanner
from jaxmusic.models import transformer

CODEC = PerformanceCodec()
CONTEXT = 256
LONG = 200.0


@pytest.fixture(scope="module")
def composer():
    shape = config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64)
    params = transformer.init(shape, CODEC.vocab_size, 0)
    return Composer(shape, params, CODEC, CONTEXT)


def compose(composer, duration, styles=(), seed=0, **options):
    planner = composer.planner(Wishes(check_duration(duration), styles))
    return composer.compose(planner, seed, **options)


def check(piece, duration):
    """What holds for each composition."""
    notes, tokens = piece.notes, piece.tokens
    decoded, dropped = CODEC.decode(tokens)
    assert dropped == 0
    assert tokens[-1] == CODEC.vocabulary.start["eos"]
    assert CODEC.vocabulary.start["part"] not in tokens
    assert decoded.length == round(duration * 100)
    assert piece.bars == -(-decoded.length // 100)
    assert len(notes) == CODEC.onset_tokens[tokens].sum() == len(decoded) > 0
    assert notes.seconds(notes.end) == pytest.approx(duration, abs=1e-9)
    assert (notes.onset.astype(np.int64) + notes.duration <= notes.end).all()
    gaps = np.diff(np.concatenate([[0], decoded.onset, [decoded.length]]))
    assert gaps.max() <= SILENT_SECONDS * 100
    assert decoded.onset[0] < 100 and decoded.onset[-1] >= decoded.length - 100


@pytest.mark.parametrize("duration", (1.0, 3.3, 17.123456))
def test_exact_durations(composer, duration):
    for seed in range(3):
        (piece,) = compose(composer, duration, ("classical",), seed)
        check(piece, duration)
        assert CODEC.decode(piece.tokens)[0].styles == ("classical",)


def test_a_piece_longer_than_the_context(composer):
    seen = []
    (piece,) = compose(composer, LONG, (), 5, progress=lambda *p: seen.append(p))
    assert len(piece.tokens) > 3 * CONTEXT
    check(piece, LONG)
    assert [made for made, _ in seen] == sorted(made for made, _ in seen)
    assert seen[-1] == (200, 200)
    (again,) = compose(composer, LONG, (), 5)
    assert np.array_equal(again.tokens, piece.tokens)


def events(*words):
    """Tokens of words such as ``on 60``; shifts are in steps."""
    start = CODEC.vocabulary.start
    first = {
        "on": start["note_on"],
        "off": start["note_off"],
        "shift": start["shift"] - 1,
        "loud": start["velocity"],
    }
    pairs = [word.split() for word in words]
    return np.array([start["bos"], *(first[w] + int(n) for w, n in pairs)], np.int32)


def go_on(context, stream):
    planner = PerformancePlanner(PerformanceGrammar(CODEC), context, Wishes(10.0))
    return planner.go_on([stream])


def test_a_prompt_is_the_last_whole_seconds():
    stream = events(
        *("loud 9", "on 60", "on 72", "shift 100", "on 64", "shift 80", "off 60", "shift 90"),
        *("off 64", "on 67", "shift 10"),
    )
    (out,), (prompt,), plan = go_on(64, stream)
    # At 2.7 s the third second is not whole: what is in it is drawn anew.
    kept = ("loud 9", "on 60", "on 72", "shift 100", "on 64", "shift 80", "off 60")
    assert out.tolist() == events(*kept).tolist()
    assert prompt.tolist() == out.tolist() and plan.steps.tolist() == [1000]
    # With room for one second, what began before it is not in the prompt and ends here.
    (out,), (prompt,), plan = go_on(20, stream)
    assert out.tolist() == events(*kept, "off 72").tolist()
    words = events("loud 9", "on 64").tolist()
    assert prompt.tolist() == [words[0], CODEC.vocabulary.start["part"], *words[1:]]
    assert plan.steps.tolist() == [900]
