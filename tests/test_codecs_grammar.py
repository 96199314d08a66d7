"""The grammar: it allows what the codec writes, and what it allows decodes without loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import strategies

from jaxmusic import config
from jaxmusic.codecs.layout import BARS_LEFT
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.codecs.metrical.grammar import FAR, Grammar, Rules
from jaxmusic.music import grid, meters

STEPS = 512
ROWS = 16


class Walker:
    """Compiled walks over streams of one codec."""

    def __init__(self, codec):
        self.codec, self.grammar = codec, Grammar(codec)
        self.follow = jax.jit(jax.vmap(self._follow))
        self.sample = jax.jit(jax.vmap(self._sample))

    def _follow(self, row, bars):
        rules = Rules(bars=bars)

        def one(state, token):
            allowed = self.grammar.mask(state, rules)[token]
            state = self.grammar.advance(state, token, rules)
            return state, (allowed, self.grammar.place(state))

        return jax.lax.scan(one, self.grammar.begin(), row)[1]

    def _sample(self, key, rules, eighths):
        """Draws with each kind of token that may follow as likely as any other."""
        v, grammar = self.codec.vocabulary, self.grammar

        def rules_of(state):
            last = grammar.bar_steps[jnp.maximum(state.meter, 0)] * eighths // 8
            return rules._replace(last_bar=last)

        def one(state, key):
            rules = rules_of(state)
            mask = grammar.mask(state, rules)
            count = jax.ops.segment_sum(mask.astype(jnp.float32), v.kind, len(v.names))
            logits = jnp.where(mask, -jnp.log(jnp.maximum(count, 1.0))[v.kind], -jnp.inf)
            token = jax.random.categorical(key, logits).astype(jnp.int32)
            return grammar.advance(state, token, rules), (token, mask.any(), grammar.place(state))

        first = jnp.int32(v.start["bos"])
        state = grammar.advance(grammar.begin(), first, rules)
        _, (tokens, some, places) = jax.lax.scan(one, state, jax.random.split(key, STEPS))
        return jnp.concatenate([first[None], tokens]), some, places


@pytest.fixture(scope="module", params=("metrical", "fused"))
def walker(request):
    styles = tuple(f"style-{i}" for i in range(64))
    return Walker(MetricalCodec(config.Codec(kind=request.param), styles))


def padded(codec, streams):
    rows = np.zeros((len(streams), STEPS), np.int32)
    for row, tokens in zip(rows, streams):
        row[: len(tokens)] = tokens[:STEPS]
    return rows


def check_followed(walker, pieces):
    """Each token of each piece is allowed, and each event is where the codec puts it."""
    codec = walker.codec
    for i in range(0, len(pieces), ROWS):
        group = (pieces[i : i + ROWS] * ROWS)[:ROWS]
        streams = [codec.encode(p) for p in group]
        bars = np.array([p.bars + p.bars_after for p in group], np.int32)
        allowed, places = walker.follow(padded(codec, streams), bars)
        for row, tokens in enumerate(streams):
            tokens = tokens[:STEPS]
            bad = np.flatnonzero(~np.asarray(allowed[row, 1 : len(tokens)])) + 1
            assert [codec.vocabulary.describe(tokens[i]) for i in bad] == []
            for name, ours, theirs in zip(places._fields, codec.events(tokens), places):
                assert np.array_equal(ours, theirs[row, : len(tokens)]), name


def nameless(piece):
    """The piece without styles, which the test's codec names otherwise."""
    return dataclasses.replace(piece, styles=())


@pytest.mark.parametrize("size", (10, 40, 100))
def test_whatever_is_encoded_is_allowed(walker, size):
    pieces = [strategies.random_piece(1000 * size + i, size, 1 + i % 20) for i in range(12)]
    parts = [p.part(p.bars // 3, p.bars - i % 2 * (p.bars // 4)) for i, p in enumerate(pieces)]
    parts += [pieces[0].part(0, 1)] * 8
    check_followed(walker, [nameless(p) for p in pieces + parts])


def test_real_files_are_allowed(walker, music):
    from jaxmusic.formats.midi import read_notes
    from jaxmusic.music import beats

    pieces = []
    for name in ("pop909", "multitrack_pop", "mutopia", "groove", "nottingham", "freedoom"):
        files = sorted(p for p in (music / name).rglob("*") if p.suffix == ".mid")
        for path in files[:: max(len(files) // 3, 1)][:3]:
            piece, _ = grid.quantise(beats.align(read_notes(path))[0])
            pieces += [piece, piece.part(piece.bars // 2, min(piece.bars // 2 + 8, piece.bars))]
    check_followed(walker, [nameless(p) for p in pieces])


def sampled(walker, seed, rules, eighths=0):
    """Streams drawn under rules of int or [ROWS] fields, with their masks and places checked."""
    rows = jax.tree.map(lambda r: jnp.broadcast_to(jnp.asarray(r, jnp.int32), ROWS), rules)
    keys = jax.random.split(jax.random.key(seed), ROWS)
    eighths = jnp.broadcast_to(jnp.asarray(eighths, jnp.int32), ROWS)
    tokens, some, places = (jax.tree.map(np.asarray, x) for x in walker.sample(keys, rows, eighths))
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


def whole_bars(codec, stream):
    """A stream without the bar that was not finished."""
    if stream[-1] == codec.vocabulary.start["eos"]:
        return stream
    is_bar = codec.vocabulary.kind[stream] == codec.vocabulary.kinds["bar"]
    return stream[: np.flatnonzero(is_bar)[-1]]


def kinds_of(codec, stream):
    return [codec.vocabulary.names[k] for k in codec.vocabulary.kind[stream]]


@pytest.mark.parametrize("steady", (0, 1))
def test_free_samples_decode_and_are_canonical(walker, steady):
    codec, finished = walker.codec, 0
    for seed in range(2):
        bars = np.arange(ROWS) % 6 + 1
        streams = sampled(walker, seed, Rules(bars=bars, steady=steady))
        for row, stream in enumerate(streams):
            finished += stream[-1] == codec.vocabulary.start["eos"]
            stream = whole_bars(codec, stream)
            piece, dropped = codec.decode(stream)
            assert dropped == 0
            assert codec.onset_tokens[stream].sum() == len(piece)
            left = stream[codec.vocabulary.kind[stream] == codec.vocabulary.kinds["bar"]]
            left = BARS_LEFT[codec.vocabulary.value[left]]
            assert left.tolist() == [bars[row] - 1 - i for i in range(piece.bars)]
            if stream[-1] == codec.vocabulary.start["eos"]:
                assert piece.bars == bars[row]
                # One piece, one stream; notes that cut each other short have other durations.
                again = codec.encode(piece)
                ignored = ("note", "hold")
                ours, theirs = (
                    [t for t, k in zip(s, kinds_of(codec, s)) if k not in ignored]
                    for s in (stream, again)
                )
                assert ours == theirs
            body = kinds_of(codec, stream)
            body = body[body.index("bar") :]
            if steady:
                assert not {"meter", "tempo", "key"} & set(body)
    assert finished > 16


def test_composing_rules(walker):
    codec, finished = walker.codec, 0
    for seed in range(3):
        bars = np.arange(ROWS) % 7 + 1
        eighths = np.arange(ROWS) // 2
        silence = seed
        rules = Rules(bars=bars, silence=silence, steady=1, tokens=30)
        for row, stream in enumerate(sampled(walker, seed, rules, eighths)):
            finished += stream[-1] == codec.vocabulary.start["eos"]
            kinds = kinds_of(codec, stream)
            stream = whole_bars(codec, stream)
            piece, dropped = codec.decode(stream)
            assert dropped == 0 and len(piece) == codec.onset_tokens[stream].sum()
            assert "part" not in kinds
            holds = np.bincount(
                np.searchsorted(piece.bar_step, piece.onset, side="right") - 1,
                minlength=piece.bars,
            )
            runs = "".join("x" if n else "." for n in holds).split("x")
            assert max(map(len, runs)) <= silence and holds[0] > 0
            if stream[-1] != codec.vocabulary.start["eos"]:
                continue
            assert piece.bars == bars[row] and holds[-1] > 0
            whole = meters.bar_length(int(piece.meter[0]), 12)
            last = whole * int(eighths[row]) // 8 or whole
            end = whole * (bars[row] - 1) + last
            assert (piece.onset < end).all()
            assert (codec.events(stream).time < end).all()
            ends = note_ends(codec, stream)
            assert max(ends) <= end
    assert finished > 36


def note_ends(codec, stream):
    """Where each note of a stream ends, holds included, by plain counting."""
    events, v, ends, held = codec.events(stream), codec.vocabulary, [], 0
    for i, token in enumerate(stream):
        name, value = v.names[v.kind[token]], v.value[token]
        if name == "hold":
            held += (value + 1) * codec.half
        elif name == "note":
            ends.append(events.time[i] + held + codec.durations[value // codec.config.velocities])
            held = 0
        elif name == "drum":
            ends.append(events.time[i] + 1)
    return ends


def test_what_has_no_name_yet_is_not_sampled(walker):
    codec, grammar = walker.codec, walker.grammar
    start = codec.vocabulary.start
    state, rules = grammar.begin(), Rules(bars=4)
    for token in ("bos", "meter", "tempo", "program"):
        state = grammar.advance(state, jnp.int32(start[token]), rules)
    state = grammar.advance(state, jnp.int32(start["bar"] + 3), rules)
    allowed = np.asarray(grammar.mask(state, rules))[start["section"] :][:6]
    assert allowed.tolist() == [True] * 5 + [False]


def test_tokens_rule_closes_bars(walker):
    codec = walker.codec
    for tokens in (5, 12):
        rules = Rules(bars=np.full(ROWS, 4), silence=2, steady=1, tokens=tokens)
        for stream in sampled(walker, 7, rules):
            kinds = np.array(kinds_of(codec, stream))
            lengths = np.diff(np.append(np.flatnonzero(kinds == "bar"), len(kinds)))
            # What must be finished first: position, chord, slot, pitch, a chain of holds, note.
            bounds = [tokens + 6 + int((kinds == "hold").sum())] * len(lengths)
            assert (lengths <= bounds).all()


def test_bars_left_beyond_the_table(walker):
    grammar, codec = walker.grammar, walker.codec
    v = codec.vocabulary
    state = grammar.begin()
    rules = Rules(bars=1000)
    mask, advance = jax.jit(grammar.mask), jax.jit(grammar.advance)
    start = [v.start[k] for k in ("bos", "meter", "tempo", "program")]
    for token in start:
        state = advance(state, jnp.int32(token), rules)
    for _ in range(99):
        allowed = np.flatnonzero(np.asarray(mask(state, rules)))
        bars = [t for t in allowed if v.kind[t] == v.kinds["bar"]]
        assert [v.value[t] for t in bars] == [len(BARS_LEFT) - 1]
        state = advance(state, jnp.int32(bars[0]), rules)
    assert FAR > 1000


@pytest.mark.quick
def test_every_kind_of_token_has_its_place():
    from jaxmusic.codecs.metrical import grammar_tables as tables

    codec = MetricalCodec(config.Codec(24, 32))
    names = set(codec.vocabulary.names) | set(tables.HEADER_TWINS.values())
    names |= {"kit", "hole", "write"}
    told = set(tables.FOLLOWS).union(*tables.FOLLOWS.values())
    assert told == names - {"pad", "free"} and set(tables.FOLLOWS) == told


def test_a_bar_is_as_likely_as_all_bar_tokens_together():
    """Else a model that is sure of a new bar, of whatever number, would rather go on."""
    codec = MetricalCodec()
    grammar, start = Grammar(codec), codec.vocabulary.start
    logits = np.full(codec.vocab_size, -20.0, np.float32)
    bars = slice(start["bar"], start["bar"] + len(BARS_LEFT))
    logits[bars] = np.log(0.98 / len(BARS_LEFT))
    logits[start["program"]] = np.log(0.02)
    state = grammar.begin()
    rules = Rules(bars=40, silence=2)
    for name in ("bos", "meter", "tempo", "program"):
        state = grammar.advance(state, start[name], rules)
    mask = np.asarray(grammar.mask(state, rules))
    assert mask[bars].sum() == 1 and mask[start["program"]]
    merged = np.where(mask, np.asarray(grammar.merge(jnp.asarray(logits))), -np.inf)
    shares = np.exp(merged) / np.exp(merged).sum()
    assert shares[bars].sum() == pytest.approx(0.98, abs=1e-3)
