"""The grammar of performances: it allows what the codec writes, and nothing else."""

import dataclasses

import numpy as np
import pytest
import strategies
from codec_walks import ROWS, ended, walker, words

from jaxmusic._src.codecs.performance.grammar import FAR, Rules

WALK = walker("performance")
CODEC = WALK.codec


def mutated(rng, stream):
    """A stream with a few tokens changed; it still ends in eos."""
    tokens = stream[:-1].tolist()
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(1, max(len(tokens), 2)))
        near = at + int(rng.integers(1, 3))
        what = rng.integers(4)
        if what == 0:
            del tokens[at : at + 1]
        elif what == 1:
            tokens.insert(at, tokens[int(rng.integers(len(tokens)))])
        elif what == 2 and near < len(tokens):
            tokens[at], tokens[near] = tokens[near], tokens[at]
        elif at < len(tokens):
            tokens[at] += int(rng.integers(-2, 3))
    return np.array([*tokens, stream[-1]], np.int32)


def test_allowed_is_what_would_be_written_and_nothing_else():
    """A finished stream is allowed if and only if it is the stream of what it stands for."""
    rng, streams = np.random.default_rng(5), []
    for i in range(640):
        p = strategies.random_performance(i, int(rng.integers(0, 12)), int(rng.integers(1, 4)))
        p = dataclasses.replace(p, styles=("ballad", "funk")[: rng.integers(3)])
        streams.append(mutated(rng, CODEC.encode(p)))
    found = [CODEC.decode(s) for s in streams]
    verdicts = []
    walks = WALK.allowed(streams, [p.length for p, _ in found])
    for stream, (p, dropped), allowed in zip(streams, found, walks):
        canonical = dropped == 0 and np.array_equal(CODEC.encode(p), stream)
        assert bool(allowed.all()) == canonical, words(CODEC, stream)
        verdicts.append(canonical)
    assert 100 < sum(verdicts) < 400


def tastes():
    """What the samples lean to: nothing, all pitches at once, crowded steps, one pitch."""
    v = CODEC.vocabulary
    none = np.zeros(CODEC.vocab_size, np.float32)
    on, off, shift = (v.kind == v.kinds[k] for k in ("note_on", "note_off", "shift"))
    everything = none + 70 * on - 0.5 * on * v.value
    crowded = none - 1.0 * shift * v.value - 0.2 * on * v.value + 2 * off
    repeated = none - 9.0 * on * (v.value != 60) - 0.3 * shift * v.value
    return {"any": none, "everything": everything, "crowded": crowded, "repeated": repeated}


TASTES = tastes()


def sampled(seed, taste, **rules):
    return WALK.sample(Rules(**rules), seed, TASTES[taste])


@pytest.mark.parametrize("taste", TASTES)
@pytest.mark.parametrize("silence", (0, 1, 30, 250, FAR))
def test_samples_of_every_taste_are_canonical_and_keep_the_rules(taste, silence):
    finished = most = 0
    steps = np.linspace(1, 40 if silence < 30 else 500, ROWS).astype(int)
    for row, stream in enumerate(sampled(1, taste, steps=steps, silence=silence)):
        performance, dropped = CODEC.decode(stream)
        assert dropped == 0 and CODEC.onset_tokens[stream].sum() == len(performance)
        time = CODEC.events(stream).time[:, None]
        sounds = (time >= performance.onset) & (time < performance.onset + performance.duration)
        most = max(most, int(sounds.sum(1).max()))
        places = np.concatenate([[0], performance.onset])
        if ended(CODEC, stream):
            finished += 1
            assert performance.length == steps[row]
            assert np.array_equal(CODEC.encode(performance), stream)
            assert silence == FAR or performance.onset[-1] >= steps[row] - 100
            places = np.concatenate([places, [performance.length]])
        if silence < FAR:
            assert CODEC.vocabulary.start["part"] not in stream
            assert len(performance) == 0 or performance.onset[0] < 100
        assert np.diff(places).max(initial=0) <= max(silence, 1)
    assert finished >= {"any": 10, "everything": 0, "crowded": 1, "repeated": 4}[taste]
    assert taste != "everything" or most == 128


@pytest.mark.parametrize("tokens", (3, 10))
def test_tokens_rule_closes_seconds(tokens):
    for stream in sampled(7, "crowded", steps=500, tokens=tokens):
        # A shift stands where it leads to; the open pair of tokens is finished first.
        counts = np.bincount(CODEC.events(stream).time // 100)
        assert ended(CODEC, stream) and CODEC.decode(stream)[0].length == 500
        assert counts[:-1].max() <= tokens + 4 + 3 * 2
