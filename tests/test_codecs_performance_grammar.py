"""The grammar of performances: it allows what the codec writes, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies

from jaxmusic.codecs.performance.codec import PerformanceCodec
from jaxmusic.codecs.performance.grammar import FAR, PerformanceGrammar, Rules

STEPS = 512
ROWS = 16


class Walker:
    """Compiled walks over streams of one codec."""

    def __init__(self, codec):
        self.codec, self.grammar = codec, PerformanceGrammar(codec)
        self.follow = jax.jit(jax.vmap(self._follow))
        self.sample = jax.jit(jax.vmap(self._sample, (0, 0, None)))

    def _follow(self, row, rules):
        def one(state, token):
            allowed = self.grammar.mask(state, rules)[token]
            state = self.grammar.advance(state, token, rules)
            return state, (allowed, self.grammar.place(state))

        return jax.lax.scan(one, self.grammar.begin(), row)[1]

    def _sample(self, key, rules, taste):
        """Draws with each kind of token that may follow as likely as any other, but for taste."""
        v, grammar = self.codec.vocabulary, self.grammar

        def one(state, key):
            mask = grammar.mask(state, rules)
            count = jax.ops.segment_sum(mask.astype(jnp.float32), v.kind, len(v.names))
            logits = taste - jnp.log(jnp.maximum(count, 1.0))[v.kind]
            token = jax.random.categorical(key, jnp.where(mask, logits, -jnp.inf))
            token = token.astype(jnp.int32)
            return grammar.advance(state, token, rules), (token, mask.any(), grammar.place(state))

        first = jnp.int32(v.start["bos"])
        state = grammar.advance(grammar.begin(), first, rules)
        _, (tokens, some, places) = jax.lax.scan(one, state, jax.random.split(key, STEPS))
        return jnp.concatenate([first[None], tokens]), some, places


@pytest.fixture(scope="module")
def walker():
    return Walker(PerformanceCodec(styles=tuple(f"style-{i}" for i in range(64))))


def rules_of(**fields):
    """Rules with a value for each row."""
    rules = Rules(**fields)
    return Rules(*(jnp.broadcast_to(jnp.asarray(r, jnp.int32), ROWS) for r in rules))


def followed(walker, streams, steps):
    """For each stream, which of its tokens are allowed and where they stand."""
    for i in range(0, len(streams), ROWS):
        group = [(streams[i + j] if i + j < len(streams) else [])[:STEPS] for j in range(ROWS)]
        rows = np.full((ROWS, STEPS), walker.codec.PAD, np.int32)
        for row, tokens in zip(rows, group):
            row[: len(tokens)] = tokens
        ends = np.array((list(steps[i : i + ROWS]) + [1] * ROWS)[:ROWS])
        allowed, places = walker.follow(rows, rules_of(steps=ends))
        for row in range(min(ROWS, len(streams) - i)):
            length = len(group[row])
            yield np.asarray(allowed)[row, :length], [np.asarray(p)[row, :length] for p in places]


def check_followed(walker, performances, ends):
    """Each token of each performance is allowed, and each event is where the codec puts it."""
    codec = walker.codec
    performances = [dataclasses.replace(p, styles=()) for p in performances]
    streams = [codec.encode(p)[:STEPS] for p in performances]
    for tokens, (allowed, places) in zip(streams, followed(walker, streams, ends)):
        bad = np.flatnonzero(~allowed)
        assert [codec.vocabulary.describe(tokens[i]) for i in bad] == []
        events = codec.events(tokens)
        for name, ours, theirs in zip(events._fields, events, places):
            assert np.array_equal(ours, theirs), name


@pytest.mark.parametrize("size", (3, 40, 100))
def test_whatever_is_encoded_is_allowed(walker, size):
    some = [strategies.random_performance(1000 * size + i, size, 1 + i) for i in range(12)]
    pairs = [(p, p.length) for p in some]
    for i, p in enumerate(some):
        start = p.bars // 3
        pairs.append((p.part(start, p.bars - i % 2 * (p.bars // 4)), p.length - 100 * start))
    check_followed(walker, *zip(*pairs))


def test_real_files_are_allowed(walker, music):
    from jaxmusic.formats.midi import read_notes

    pairs = []
    for name in ("giantmidi", "piano_midi_de", "pop909"):
        files = sorted(p for p in (music / name).rglob("*") if p.suffix == ".mid")
        for path in files[:: max(len(files) // 3, 1)][:3]:
            whole, _ = walker.codec.quantise(read_notes(path))
            middle = whole.bars // 2
            pairs += [(whole, whole.length)]
            pairs += [(whole.part(middle, middle + 8), whole.length - 100 * middle)]
            pairs += [
                (whole.part(whole.bars - 8, whole.bars), whole.length - 100 * whole.bars + 800)
            ]
    check_followed(walker, *zip(*pairs))


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


def test_allowed_is_what_would_be_written_and_nothing_else(walker):
    """A finished stream is allowed if and only if it is the stream of what it stands for."""
    codec, rng, streams = walker.codec, np.random.default_rng(5), []
    for i in range(640):
        p = strategies.random_performance(i, int(rng.integers(0, 12)), int(rng.integers(1, 4)))
        p = dataclasses.replace(p, styles=("style-3", "style-9")[: rng.integers(3)])
        streams.append(mutated(rng, codec.encode(p)))
    found = [codec.decode(s) for s in streams]
    verdicts = []
    walks = followed(walker, streams, [p.length for p, _ in found])
    for stream, (p, dropped), (allowed, _) in zip(streams, found, walks):
        canonical = dropped == 0 and np.array_equal(codec.encode(p), stream)
        words = [codec.vocabulary.describe(t) for t in stream]
        assert bool(allowed.all()) == canonical, words
        verdicts.append(canonical)
    assert 100 < sum(verdicts) < 400


def tastes(codec):
    """What the samples lean to: nothing, all pitches at once, crowded steps, one pitch."""
    v = codec.vocabulary
    none = np.zeros(codec.vocab_size, np.float32)
    on, off, shift = (v.kind == v.kinds[k] for k in ("note_on", "note_off", "shift"))
    everything = none + 70 * on - 0.5 * on * v.value
    crowded = none - 1.0 * shift * v.value - 0.2 * on * v.value + 2 * off
    repeated = none - 9.0 * on * (v.value != 60) - 0.3 * shift * v.value
    return {"any": none, "everything": everything, "crowded": crowded, "repeated": repeated}


def sampled(walker, seed, taste, **fields):
    """Streams drawn under rules of int or [ROWS] fields, with their masks and places checked."""
    keys = jax.random.split(jax.random.key(seed), ROWS)
    drawn = walker.sample(keys, rules_of(**fields), tastes(walker.codec)[taste])
    tokens, some, places = (jax.tree.map(np.asarray, x) for x in drawn)
    codec, streams = walker.codec, []
    for row in range(ROWS):
        ends = np.flatnonzero(tokens[row] == codec.vocabulary.start["eos"])
        length = ends[0] + 1 if len(ends) else STEPS
        assert some[row, : length - 1].all()
        stream = tokens[row, :length]
        for name, ours, theirs in zip(places._fields, codec.events(stream), places):
            assert np.array_equal(ours[: length - 1], theirs[row, : length - 1]), name
        streams.append(stream)
    return streams


def ended(codec, stream):
    return stream[-1] == codec.vocabulary.start["eos"]


@pytest.mark.parametrize("taste", ("any", "everything", "crowded", "repeated"))
def test_free_samples_decode_and_are_canonical(walker, taste):
    codec, finished, most = walker.codec, 0, 0
    for seed in range(3):
        steps = np.array([*range(1, 7), *range(90, 240, 15)])
        for row, stream in enumerate(sampled(walker, seed, taste, steps=steps)):
            performance, dropped = codec.decode(stream)
            assert dropped == 0
            assert codec.onset_tokens[stream].sum() == len(performance)
            if ended(codec, stream):
                finished += 1
                assert performance.length == steps[row]
                assert np.array_equal(codec.encode(performance), stream)
            sounds = codec.events(stream).time[:, None] >= performance.onset
            sounds &= codec.events(stream).time[:, None] < performance.onset + performance.duration
            most = max(most, int(sounds.sum(1).max()))
    assert finished > {"any": 40, "everything": 3, "crowded": 10, "repeated": 30}[taste]
    assert taste != "everything" or most == 128


@pytest.mark.parametrize("taste", ("any", "everything", "crowded", "repeated"))
@pytest.mark.parametrize("silence", (0, 1, 30, 250))
def test_composing_rules(walker, taste, silence):
    codec, part, finished = walker.codec, walker.codec.vocabulary.start["part"], 0
    longest = 40 if silence < 30 else 500
    steps = np.linspace(1, longest, ROWS).astype(int)
    for row, stream in enumerate(sampled(walker, 1, taste, steps=steps, silence=silence)):
        performance, dropped = codec.decode(stream)
        assert dropped == 0 and part not in stream
        places = np.concatenate([[0], performance.onset])
        if ended(codec, stream):
            finished += 1
            assert performance.length == steps[row]
            assert performance.onset[-1] >= steps[row] - 100
            places = np.concatenate([places, [performance.length]])
        assert len(performance) == 0 or performance.onset[0] < 100
        assert np.diff(places).max(initial=0) <= max(silence, 1)
    assert finished >= {"any": 10, "everything": 0, "crowded": 1, "repeated": 4}[taste]


def test_tokens_rule_closes_seconds(walker):
    codec = walker.codec
    for tokens in (3, 10):
        for stream in sampled(walker, 7, "crowded", steps=500, tokens=tokens):
            time = codec.events(stream).time
            # A shift stands where it leads to; the open pair of tokens is finished first.
            counts = np.bincount(time // 100)
            assert ended(codec, stream) and performance_length(codec, stream) == 500
            assert counts[:-1].max() <= tokens + 4 + 3 * 2


def performance_length(codec, stream):
    return codec.decode(stream)[0].length


@pytest.mark.quick
def test_the_first_tokens():
    codec = PerformanceCodec()
    grammar, start = PerformanceGrammar(codec), codec.vocabulary.start

    def names(state, **rules):
        tokens = np.flatnonzero(grammar.mask(state, Rules(**rules)))
        kinds = codec.vocabulary.kind[tokens]
        return {codec.vocabulary.names[k]: int((kinds == k).sum()) for k in np.unique(kinds)}

    state = grammar.begin()
    assert names(state, steps=30) == {"bos": 1}
    state = grammar.advance(state, start["bos"], Rules(30))
    assert names(state, steps=30) == {"shift": 30, "velocity": 32, "part": 1, "style": 64}
    assert names(state, steps=30, silence=9) == {"shift": 9, "velocity": 32, "style": 64}
    assert names(state, steps=900, silence=300) == {"shift": 99, "velocity": 32, "style": 64}
    state = grammar.advance(state, start["style"] + 60, Rules(30))
    assert names(state, steps=30) == {"shift": 30, "velocity": 32, "style": 3}
    state = grammar.advance(state, start["velocity"] + 3, Rules(30))
    assert names(state, steps=30) == {"note_on": 128}
    state = grammar.advance(state, start["note_on"] + 100, Rules(30))
    assert names(state, steps=30) == {"note_on": 27, "shift": 30, "velocity": 31}
    state = grammar.advance(state, start["shift"] + 29, Rules(30))
    assert names(state, steps=30) == {"note_off": 1}
    assert names(state, steps=31) == {"note_on": 127, "note_off": 1, "velocity": 31}
    state = grammar.advance(state, start["note_off"] + 100, Rules(30))
    assert names(state, steps=30) == {"eos": 1}
    state = grammar.advance(state, start["eos"], Rules(30))
    assert names(state, steps=30) == {}
    logits = jnp.arange(codec.vocab_size, dtype=jnp.float32)
    assert np.array_equal(grammar.merge(logits), logits) and FAR > 360_000
