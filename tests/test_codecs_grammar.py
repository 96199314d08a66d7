"""The metrical grammar: what rules forbid, and what they let a bar close with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from codec_walks import ROWS, ended, finished, kinds_of, walker

from jaxmusic import config
from jaxmusic._src.codecs.layout import BARS_LEFT
from jaxmusic._src.codecs.metrical import grammar_tables as tables
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.metrical.grammar import FAR, Grammar, Rules
from jaxmusic._src.music import meters

either = pytest.mark.parametrize("walk", [walker("metrical"), walker("fused")])


@either
@pytest.mark.parametrize("silence", range(3))
def test_composing_rules(walk, silence):
    codec, count = walk.codec, 0
    bars, eighths, meter = np.arange(ROWS) % 7 + 1, np.arange(ROWS) // 2, np.arange(ROWS) % 5
    whole = np.array([meters.bar_length(m, 12) for m in meter])
    taste = np.zeros((ROWS, codec.vocab_size), np.float32)
    taste[np.arange(ROWS), codec.vocabulary.start["meter"] + meter] = 99
    last = whole * eighths // 8
    rules = Rules(bars=bars, last_bar=last, silence=silence, steady=1, tokens=30)
    for row, stream in enumerate(walk.sample(rules, silence, taste)):
        kinds = kinds_of(codec, stream)
        body = kinds[kinds.tolist().index("bar") :]
        assert "part" not in kinds and not {"meter", "tempo", "key"} & set(body)
        closed = finished(codec, stream)
        piece, dropped = codec.decode(closed)
        assert dropped == 0 and len(piece) == codec.onset_tokens[closed].sum()
        assert (piece.meter == meter[row]).all()
        left = closed[kinds[: len(closed)] == "bar"]
        left = BARS_LEFT[codec.vocabulary.value[left]]
        assert left.tolist() == [bars[row] - 1 - i for i in range(piece.bars)]
        holds = np.bincount(piece.bar_of, minlength=piece.bars)
        runs = "".join("x" if n else "." for n in holds).split("x")
        assert max(map(len, runs)) <= silence and holds[0] > 0
        if ended(codec, stream):
            count += 1
            assert piece.bars == bars[row] and holds[-1] > 0
            end = whole[row] * (bars[row] - 1) + (last[row] or whole[row])
            assert (piece.onset < end).all()
            assert (codec.events(stream).time < end).all()
            assert max(note_ends(codec, stream)) <= end
    assert count > 8


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


@either
@pytest.mark.parametrize("tokens", (5, 12))
def test_tokens_rule_closes_bars(walk, tokens):
    rules = Rules(bars=4, silence=2, steady=1, tokens=tokens)
    for stream in walk.sample(rules, 7):
        kinds = kinds_of(walk.codec, stream)
        lengths = np.diff(np.append(np.flatnonzero(kinds == "bar"), len(kinds)))
        # What must be finished first: position, chord, slot, pitch, a chain of holds, note.
        assert (lengths <= tokens + 6 + int((kinds == "hold").sum())).all()


@either
def test_bars_left_beyond_the_table(walk):
    grammar, codec = walk.grammar, walk.codec
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
