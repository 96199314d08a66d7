"""Composing with untrained models: length, grammar and seeds hold whatever they say."""

import json
import os
import pathlib
import subprocess
import sys

import composed
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toys

import jaxmusic
from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.metrical.grammar import Grammar
from jaxmusic._src.codecs.performance.codec import PerformanceCodec
from jaxmusic._src.codecs.performance.grammar import PerformanceGrammar
from jaxmusic._src.codecs.registry import CODECS
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.generate import draws, streaming
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.generate.length import check_duration
from jaxmusic._src.generate.performing import SILENT_SECONDS, PerformancePlanner
from jaxmusic._src.generate.sampler import CHUNK, bucket
from jaxmusic._src.models import transformer

CODEC = MetricalCodec()
CONTEXT = 256
LONG = {"metrical": 900.0, "performance": 200.0}


@pytest.fixture(scope="module", params=LONG)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def long_piece(kind):
    """A piece of several contexts, and what was reported while it was made."""
    seen = []
    progress = lambda *p: seen.append(p)  # noqa: E731
    return *compose(LONG[kind], ("pop", "jazz"), 5, kind=kind, progress=progress), seen


def compose(duration, styles=(), seed=0, kind="metrical", **options):
    composer = toys.composer(kind)
    planner = composer.planner(Request(check_duration(duration), styles))
    return composer.compose(planner, seed, **options)


def check(piece, duration, kind="metrical", styles=()):
    """What holds for each composition."""
    composer = toys.composer(kind)
    if kind != "performance":
        composed.check(piece, composer.planner(Request(duration, styles)))
        return
    codec, notes, tokens = composer.codec, piece.notes, piece.tokens
    decoded, dropped = codec.decode(tokens)
    assert dropped == 0
    assert tokens[-1] == codec.vocabulary.start["eos"]
    assert codec.vocabulary.start["part"] not in tokens
    assert decoded.length == round(duration * 100)
    assert piece.bars == -(-decoded.length // 100)
    assert len(notes) == codec.onset_tokens[tokens].sum() == len(decoded) > 0
    assert notes.seconds(notes.end) == pytest.approx(duration, abs=1e-9)
    assert (notes.onset.astype(np.int64) + notes.duration <= notes.end).all()
    gaps = np.diff(np.concatenate([[0], decoded.onset, [decoded.length]]))
    assert gaps.max() <= SILENT_SECONDS * 100
    assert decoded.onset[0] < 100 and decoded.onset[-1] >= decoded.length - 100
    assert set(decoded.styles) >= set(styles)


@pytest.mark.parametrize("duration", (1.0, 3.3, 10.0, 17.123456))
def test_exact_durations(kind, duration):
    for piece in compose(duration, ("classical",), count=3, kind=kind):
        check(piece, duration, kind, ("classical",))


def test_a_piece_longer_than_the_context(kind, long_piece):
    piece, seen = long_piece
    assert len(piece.tokens) > 3 * CONTEXT
    check(piece, LONG[kind], kind, ("pop", "jazz"))
    finished, total = zip(*seen)
    assert list(finished) == sorted(finished)
    assert seen[-1] == (piece.bars, piece.bars)
    # Once the header is written the number of bars is known.
    assert set(total[len(total) // 4 :]) == {piece.bars}


def test_seeds(kind, long_piece):
    (again,) = compose(LONG[kind], ("jazz", "pop"), 5, kind=kind)
    assert np.array_equal(again.tokens, long_piece[0].tokens)
    short, other = (compose(10.0, ("pop",), seed, kind)[0].tokens for seed in (5, 6))
    assert not np.array_equal(short[:50], other[:50])


@pytest.mark.parametrize("length", (2 * CHUNK, 2 * CHUNK + 1, 2 * CHUNK + 2))
def test_prompts_of_any_length_are_read_to_their_last_token(length):
    """A note whose last token was missed would get a second duration."""
    kind, start = CODEC.vocabulary.kind, CODEC.vocabulary.start
    note = CODEC.vocabulary.kinds["note"]
    body = compose(LONG["metrical"], ("pop", "jazz"), 5)[0].tokens[3:]
    ends = np.flatnonzero(kind[body] == note) + 1
    end = ends[ends <= length - 2][-1]
    # As many styles as make the prompt as long as is wanted.
    styles = start["style"] + np.arange(length - 1 - end)
    prompt = np.concatenate([[start["bos"]], styles, body[:end]]).astype(np.int32)
    row = np.asarray(next(filled(Request(900.0), [1], [prompt])).tokens)[0]
    assert np.array_equal(row[:length], prompt)
    assert kind[row[length]] not in (note, CODEC.vocabulary.kinds["hold"])


def filled(request, seeds, prompts=None):
    """The first context of pieces, as it is sampled."""
    composer = toys.composer()
    planner = composer.planner(request)
    begun, plan = planner.begin(len(seeds))
    prompts = prompts or begun
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    settings = draws.settings(config.Sampling(), CODEC.vocabulary)
    return composer.sampler.fill(prompts, prompts, planner, plan, keys, settings)


def test_each_piece_is_the_same_whatever_the_count():
    seen = []
    three = compose(10.0, ("pop",), 11, count=3, progress=lambda *p: seen.append(p))
    (alone,) = compose(10.0, ("pop",), 11)
    assert np.array_equal(three[0].tokens, alone.tokens)
    for piece in three:
        check(piece, 10.0)
    assert len({piece.tokens.tobytes() for piece in three}) == 3
    bars = sum(piece.bars for piece in three)
    assert seen[-1] == (bars, bars)


def test_rows_of_a_batch_have_the_logits_that_they_have_alone():
    def nats(seeds):
        *_, last = filled(Request(600.0), seeds)
        return (np.asarray(x)[:, : int(last.index) + 1] for x in (last.tokens, last.nats))

    tokens, together = nats([1, 2, 3])
    for row, seed in enumerate((1, 2, 3)):
        alone_tokens, alone = nats([seed])
        length = alone_tokens.shape[1]
        assert np.array_equal(alone_tokens[0], tokens[row, :length])
        np.testing.assert_allclose(alone[0], together[row, :length], atol=1e-4)


def test_temperature_0_is_the_same_for_all_seeds():
    cold = config.Sampling(temperature=0.0)
    a, b = (compose(3.3, (), seed, sampling=cold)[0] for seed in (1, 2))
    assert np.array_equal(a.tokens, b.tokens)
    check(a, 3.3)


def test_what_is_written_parses_and_lasts_as_long(tmp_path):
    import mido
    import pretty_midi
    import symusic

    for seed, duration in ((5, 900.0), (1, 10.0)):
        (piece,) = compose(duration, ("pop", "jazz"), seed)
        path = tmp_path / "piece.mid"
        files.write(piece.notes, path)
        assert mido.MidiFile(str(path), clip=False).length == pytest.approx(duration, abs=0.05)
        assert pretty_midi.PrettyMIDI(str(path)).get_end_time() <= duration + 0.05
        score = symusic.Score(str(path), ttype="tick")
        assert score.note_num() == len(piece.notes)


@pytest.mark.quick
@pytest.mark.parametrize(
    "field, options",
    (
        ("duration", {"duration": 0.0}),
        ("duration", {"duration": 1e9}),
        ("duration", {"duration": float("nan")}),
        ("count", {"count": 0}),
        ("zydeco", {"styles": ("zydeco",)}),
        ("best_of", {"rank": len}),
    ),
)
def test_what_cannot_be_composed_is_refused(field, options):
    with pytest.raises(UserError, match=field):
        compose(**{"duration": 10.0} | options)


@pytest.mark.parametrize("codec", CODECS)
def test_the_surprise_of_each_note_and_the_json_of_a_piece(codec):
    (piece,) = compose(8.0, (), 3, codec)
    codec = toys.composer(codec).codec
    decoded, _ = codec.decode(piece.tokens)
    rows = codec.note_index(decoded, piece.tokens)
    # Each note is written by one onset token, among others.
    assert sorted(rows[codec.onset_tokens[piece.tokens] & (rows >= 0)]) == list(range(len(decoded)))
    assert len(piece.nats) == len(piece.notes) == len(decoded) > 0
    assert np.array_equal(piece.notes.pitch, decoded.pitch)
    assert 0 < piece.nats.sum() < piece.bits_per_note * len(decoded) * np.log(2)
    assert (piece.nats >= 0).all()
    found = json.loads(piece.to_json())
    assert found["seconds"] == pytest.approx(8.0)
    columns = found["notes"]
    assert {len(column) for column in columns.values()} == {len(piece.notes)}
    assert max(columns["track"]) < len(found["tracks"])
    ends = np.array(columns["onset"]) + np.array(columns["duration"])
    assert ends.max() <= 8.0 + 1e-4
    assert sum(columns["bits"]) == pytest.approx(piece.nats.sum() / np.log(2), rel=1e-3)


def test_a_callback_stops_the_composing(kind):
    (whole,) = compose(30.0, (), 1, kind)

    def stop(made, total):
        raise jaxmusic.Cancelled

    with pytest.raises(jaxmusic.Cancelled):
        compose(30.0, (), 1, kind, progress=stop)
    (again,) = compose(30.0, (), 1, kind)
    assert np.array_equal(again.tokens, whole.tokens)


PERFORMED = PerformanceCodec()


def events(*words):
    """Tokens of words such as ``on 60``; shifts are in steps."""
    start = PERFORMED.vocabulary.start
    first = {"on": start["note_on"], "off": start["note_off"], "loud": start["velocity"]}
    first["shift"] = start["shift"] - 1
    pairs = [word.split() for word in words]
    return np.array([start["bos"], *(first[w] + int(n) for w, n in pairs)], np.int32)


def go_on(context, stream):
    planner = PerformancePlanner(PerformanceGrammar(PERFORMED), context, Request(10.0))
    return planner.go_on([stream])


def test_a_prompt_of_a_performance_is_the_last_whole_seconds():
    stream = events(
        *("loud 9", "on 60", "on 72", "shift 100", "on 64", "shift 80", "off 60", "shift 90"),
        *("off 64", "on 67", "shift 10"),
    )
    (out,), (prompt,), plan = go_on(64, stream)
    # At 2.7 s the third second is not whole: what is in it is drawn again.
    kept = ("loud 9", "on 60", "on 72", "shift 100", "on 64", "shift 80", "off 60")
    assert out.tolist() == events(*kept).tolist()
    assert prompt.tolist() == out.tolist() and plan.steps.tolist() == [1000]
    # With room for one second, what began before it is not in the prompt and ends here.
    (out,), (prompt,), plan = go_on(20, stream)
    assert out.tolist() == events(*kept, "off 72").tolist()
    words = events("loud 9", "on 64").tolist()
    assert prompt.tolist() == [words[0], PERFORMED.vocabulary.start["part"], *words[1:]]
    assert plan.steps.tolist() == [900]


SCRIPT = """
import hashlib, json, sys
import jax
from jax import monitoring
from jaxmusic._src.train import compilation

compilation.keep_compiled()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
seen = {"hits": 0, "misses": 0}
def count(event, **_):
    for name in seen:
        seen[name] += event == f"/jax/compilation_cache/cache_{name}"
monitoring.register_event_listener(count)
from test_generate_composer import compose

(piece,) = compose(float(sys.argv[1]), seed=7)
print(json.dumps([hashlib.sha256(piece.tokens.tobytes()).hexdigest(), seen]))
"""


def test_another_process_composes_the_same_and_compiles_nothing(tmp_path):
    """In one process, in another, and after another request that needed the same programs."""
    path = os.pathsep.join([str(pathlib.Path(__file__).parent), *sys.path])
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": path}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)

    def run(seconds):
        command = [sys.executable, "-c", SCRIPT, str(seconds)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    first, counts = run(200)
    assert counts["misses"] > 0
    second, counts = run(200)
    assert second == first and counts["hits"] > 0 and counts["misses"] == 0
    other, counts = run(190)
    assert other != first and counts["misses"] == 0


def test_caches_grow_in_few_sizes():
    sizes = sorted({bucket(n) for n in range(1, 16385)})
    assert sizes == [512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384]
    assert all(bucket(n) >= n for n in range(1, 16385))


@pytest.mark.parametrize("seconds", (7.3, 600.0))
def test_a_stream_is_the_piece_bar_by_bar(seconds):
    """Also over several contexts; each bar comes once, as soon as it is whole."""
    composer = toys.composer()
    planner = composer.planner(Request(seconds))
    (piece,) = composer.compose(planner, 5)
    parts = list(composer.stream(planner, 5))
    assert [part.number for part in parts] == list(range(1, piece.bars + 1))
    assert {part.total for part in parts} == {piece.bars}
    joined = streaming.join(parts)
    for name in ("onset", "duration", "pitch", "velocity", "track", "program", "drum"):
        assert np.array_equal(getattr(joined, name), getattr(piece.notes, name)), name
    assert joined.tempo_qpm == piece.notes.tempo_qpm and joined.end == piece.notes.end
    # The tempo is the exact one from the first bar on.
    assert {float(part.notes.tempo_qpm[0]) for part in parts} == {float(joined.tempo_qpm[0])}
    # The first bar comes while others are still to be sampled.
    stream = composer.stream(planner, 5)
    assert next(stream).number == 1
    stream.close()


@pytest.mark.parametrize(
    "kind, best_of, words", (("performance", 1, "no bars"), ("metrical", 2, "best_of"))
)
def test_what_cannot_be_streamed_is_refused(kind, best_of, words):
    composer = toys.composer(kind)
    with pytest.raises(UserError, match=words):
        next(composer.stream(composer.planner(Request(5.0)), 0, config.Sampling(best_of=best_of)))


def test_the_best_of_several():
    everything = []

    def keep(piece):
        everything.append(piece)
        return len(piece.notes)

    (plain,) = compose(7.3, (), 5)
    three = {"count": 2, "sampling": config.Sampling(best_of=3)}
    most = compose(7.3, (), 5, **three, rank=keep)
    assert len({piece.tokens.tobytes() for piece in everything}) == 6
    assert np.array_equal(everything[0].tokens, plain.tokens)
    assert everything[0].bits_per_note == pytest.approx(plain.bits_per_note, rel=1e-4)
    groups = everything[:3], everything[3:]
    assert [len(p.notes) for p in most] == [max(len(p.notes) for p in group) for group in groups]
    for best, group in zip(compose(7.3, (), 5, **three), groups):
        assert best.bits_per_note == min(piece.bits_per_note for piece in group)


def test_bits_per_note_are_those_of_the_model_under_the_mask():
    """Summed up again on the finished stream, which was drawn in one context."""
    (piece,) = compose(4.0, (), 3)
    tokens, grammar = piece.tokens, Grammar(CODEC)
    assert len(tokens) < CONTEXT
    planner = toys.composer().planner(Request(4.0))
    plan = jax.tree.map(lambda x: jnp.asarray(x[0]), planner.begin(1)[1])
    batch = jax.tree.map(lambda e: jnp.asarray(e)[None], CODEC.events(tokens))
    params = transformer.init(toys.MODEL, CODEC.vocab_size, 0)
    logits = transformer.apply(params, toys.MODEL, batch, jnp.ones_like(batch.token)).logits
    advance, masked, merge = (jax.jit(f) for f in (grammar.advance, grammar.mask, grammar.merge))
    state, bits = grammar.begin(), 0.0
    for i, token in enumerate(tokens):
        rules = planner.rules(state, plan)
        if i:
            mask = masked(state, rules)
            assert mask[token]
            said = jax.nn.log_softmax(jnp.where(mask, merge(logits[0, i - 1]), -jnp.inf))
            bits -= float(said[token]) / np.log(2)
        state = advance(state, token, rules)
    assert piece.bits_per_note == pytest.approx(bits / len(piece.notes), rel=1e-4)
