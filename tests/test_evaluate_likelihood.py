"""Likelihood: windows, scores of tokens, figures of many pieces, and what may be compared."""

import dataclasses
import math

import data_music
import jax
import numpy as np
import pytest
import toys
from codec_walks import CODECS, DEFAULTS, KINDS, codec_of, pieces
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxmusic
from jaxmusic._src.evaluate import likelihood, transfer, windows
from jaxmusic._src.evaluate.scoring import Scored, Scorer
from jaxmusic._src.models import transformer
from jaxmusic._src.music import harmony
from jaxmusic._src.music.notes import make_notes

METRICAL, FUSED, PERFORMANCE = (DEFAULTS[kind] for kind in KINDS)
SHAPE = toys.MODEL


def piece_of(codec, seed=0, bars=16, **options):
    return codec.quantise(data_music.tune(seed, bars, **options))[0]


def scored_targets(reading):
    return np.concatenate([row.target[len(row.target) - row.scored :] for row in reading.rows])


def check_reading(codec, piece, context):
    """Every token once, in rows that fit, each after half a context or all that there is."""
    reading, whole = windows.read(codec, piece, context), codec.encode(piece)
    assert np.array_equal(reading.token, whole[1:])
    assert np.array_equal(scored_targets(reading), whole[1:])
    assert len(reading.bar) == len(reading.token) and (np.diff(reading.bar) >= 0).all()
    assert reading.bar[-1] == piece.bars - 1
    done = 0
    for row in reading.rows:
        assert 0 < row.scored <= len(row.target) <= context
        assert all(len(column) == len(row.target) for column in row.events)
        # Nothing is passed over, but where a row goes on after its header.
        assert (row.target[:-1] != row.events.token[1:]).sum() <= 1
        before = len(row.target) - row.scored
        if codec.UNIT == "bars":  # its parts lack the ends of notes from before
            assert before >= min((context - codec.sizes(piece)[0]) // 2, done)
        done += row.scored
    return reading


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(data=st.data(), context=st.integers(16, 300))
def test_windows_score_each_token_once(kind, data, context):
    piece = data.draw(pieces(kind))
    reading = check_reading(codec_of(kind, piece), piece, context)
    if kind != "performance":
        of_bar = np.bincount(reading.bar[reading.bar >= 0], minlength=piece.bars)
        of_bar[-1] -= 1  # the end of the piece stands in its last bar
        assert np.array_equal(of_bar, codec_of(kind, piece).sizes(piece)[1:])


def test_windows_are_parts_as_training_reads_them():
    piece, context = piece_of(METRICAL, bars=40), 256
    plan = windows.plan(METRICAL.sizes(piece), context)
    reading = check_reading(METRICAL, piece, context)
    assert len(plan) == len(reading.rows) > 4
    assert [first for _, first, _ in plan] == [0, *(stop for *_, stop in plan[:-1])]
    for (start, first, stop), row in zip(plan, reading.rows):
        tokens = METRICAL.encode(piece.part(start, stop))
        assert np.array_equal(row.events.token, tokens[:-1])
        assert np.array_equal(row.events.bar, METRICAL.events(tokens[:-1]).bar)
        assert start < first or first == 0
    # The last one reaches back as far as it can.
    assert len(METRICAL.encode(piece.part(plan[-1][0] - 1, plan[-1][2]))) - 1 > context


def test_a_bar_that_is_longer_than_the_context_is_read_in_rows_of_its_own():
    rng = np.random.default_rng(0)
    onset = np.sort(np.r_[0, 100 + rng.integers(0, 1800, 199), 1920 + 480 * np.arange(4)])
    count = len(onset)
    notes = make_notes(onset, [60] * count, rng.integers(40, 80, count), [80] * count, [0] * count)
    for codec in (METRICAL, FUSED, PERFORMANCE):
        piece, _ = codec.quantise(notes)
        assert codec.sizes(piece)[1:].max() > 128
        assert len(check_reading(codec, piece, 64).rows) > 8
    # Within the bar a row opens with the header of the piece, and notes keep their place.
    piece, _ = METRICAL.quantise(notes)
    first, second = windows.read(METRICAL, piece, 64).rows[:2]
    header = int((first.events.position == 144).sum())
    assert header > 2
    assert np.array_equal(second.events.token[:header], METRICAL.header(piece))
    before = 64 - second.scored
    assert before == header + (64 - header) // 2
    for one, other in zip(first.events, second.events):
        assert np.array_equal(other[header:before], one[header - before :])


@pytest.fixture(scope="module")
def untrained():
    return transformer.init(SHAPE, METRICAL.vocab_size, 0)


def loud(params):
    """The parameters with embeddings that are large enough for logits that say something."""
    return params | {"token": params["token"] * 8}


def test_a_piece_within_the_context_has_the_likelihood_of_its_tokens(untrained):
    params = loud(untrained)
    piece = piece_of(METRICAL, bars=2)
    assert len(METRICAL.encode(piece)) < 256
    tokens = METRICAL.encode(piece)
    scored = Scorer(SHAPE, params, METRICAL, 256).score(piece)
    assert len(scored.nats) == len(tokens) - 1
    events = jax.tree.map(lambda column: column[None], METRICAL.events(tokens[:-1]))
    plain = dataclasses.replace(SHAPE, attention="plain")
    apply = jax.jit(lambda *row: transformer.apply(params, plain, *row).logits)

    def log_p(end):
        """Log-probabilities of what comes after each of the first `end` tokens."""
        known = np.arange(len(tokens) - 1)[None] < end
        row = jax.tree.map(lambda column: column * known, events)
        logits = np.asarray(apply(row, known.astype(np.int32)), np.float64)[0, :end]
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    nats = -log_p(len(tokens) - 1)[np.arange(len(tokens) - 1), tokens[1:]]
    assert nats.std() > 0.5
    np.testing.assert_allclose(scored.nats, nats, atol=2e-4)
    for end in range(1, len(tokens)):
        assert -log_p(end)[-1, tokens[end]] == pytest.approx(scored.nats[end - 1], abs=2e-4)
    assert np.array_equal(scored.kind, METRICAL.vocabulary.kind[tokens[1:]])
    closing = METRICAL.onset_tokens[tokens[1:]]
    assert sorted(scored.note[closing]) == list(range(len(piece)))
    assert (scored.notes, scored.bars) == (len(piece), 2)
    tempo = METRICAL.dequantise(piece).tempo_qpm[0]
    assert scored.seconds == pytest.approx(8 * 60 / tempo)


def test_windows_agree_with_the_whole_where_the_context_suffices(untrained):
    params = loud(untrained)
    piece = piece_of(METRICAL, bars=40)
    short, long = (Scorer(SHAPE, params, METRICAL, context) for context in (256, 2048))
    rows = windows.read(METRICAL, piece, 256).rows
    one, other = short.score(piece).nats, long.score(piece).nats
    assert len(rows) > 4 and len(windows.read(METRICAL, piece, 2048).rows) == 1
    np.testing.assert_allclose(one[: rows[0].scored], other[: rows[0].scored], atol=2e-4)
    assert np.abs(one - other).max() > 0.01
    # A model that sees but the last token needs no more context than that.
    params["layers.output"] = params["layers.output"] * 0
    short, long = (Scorer(SHAPE, params, METRICAL, context) for context in (256, 2048))
    np.testing.assert_allclose(short.score(piece).nats, long.score(piece).nats, atol=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_all_codecs_are_scored(kind):
    codec = DEFAULTS[kind]
    params = transformer.init(SHAPE, codec.vocab_size, 0)
    scorer = Scorer(SHAPE, params, codec, 128)
    some = [piece_of(codec, seed, bars) for seed, bars in enumerate((1, 8, 3, 2, 5))]
    found = list(scorer.score_all(some))
    assert [len(s.nats) for s in found] == [len(codec.encode(piece)) - 1 for piece in some]
    assert [s.notes for s in found] == [len(piece) for piece in some]
    # What is read beside a piece does not matter.
    np.testing.assert_allclose(scorer.score(some[2]).nats, found[2].nats, atol=1e-4)
    result = likelihood.evaluate(scorer, some).as_json()
    nats = sum(float(s.nats.sum()) for s in found)
    assert result["figures"]["nats_per_token"]["value"] == pytest.approx(
        nats / sum(len(s.nats) for s in found)
    )
    has_bars = kind != "performance"
    assert (result["bars"] == 19) if has_bars else (result["bars"] is None)
    assert (result["figures"]["bits_per_bar"]["value"] is not None) == has_bars
    assert result["seconds"] == pytest.approx(sum(s.seconds for s in found))


class Known:
    """A scorer that gives what it is told."""

    codec, context = METRICAL, 1024

    def score_all(self, pieces):
        yield from pieces


def known(bits, notes, styles=("pop",), bars=1, seconds=2.0):
    """A piece of one header token, and in each bar a bar token and pitch and note tokens."""
    kinds = METRICAL.vocabulary.kinds
    kind = [kinds["style"], *([kinds["bar"], *[kinds["pitch"], kinds["note"]] * notes] * bars)]
    bar = np.r_[-1, np.repeat(np.arange(bars), 1 + 2 * notes)]
    nats = np.full(len(kind), bits * math.log(2), np.float32)
    rows = np.full(len(kind), -1)
    return Scored(nats, np.array(kind), bar, rows, notes * bars, seconds, bars, styles)


def test_figures_are_those_worked_out_by_hand():
    pieces = [known(1.0, 2, bars=3, seconds=6.0), known(2.0, 1, ("folk",), seconds=1.0)]
    result = likelihood.evaluate(Known(), pieces).as_json()
    tokens, notes = (1 + 3 * 5) + (1 + 3), 3 * 2 + 1
    bits = (1 + 3 * 5) * 1.0 + (1 + 3) * 2.0
    assert [result[k] for k in ("pieces", "tokens", "notes", "bars")] == [2, tokens, notes, 4]
    assert result["seconds"] == 7.0 and result["context"] == 1024
    assert result["resolution"] == "12 steps in a quarter note, 8 levels of loudness"
    values = {name: figure["value"] for name, figure in result["figures"].items()}
    assert values == pytest.approx(
        {
            "nats_per_token": bits * math.log(2) / tokens,
            "bits_per_note": bits / notes,
            "bits_per_second": bits / 7,
            "bits_per_bar": bits / 4,
        },
        rel=1e-6,
    )
    folk = result["by_style"]["folk"]
    assert folk["pieces"] == 1 and list(result["by_style"]) == ["folk", "pop"]
    value = pytest.approx(8.0, rel=1e-6)
    assert folk["figures"]["bits_per_note"] == {"value": value, "low": None, "high": None}
    kinds = result["by_kind"]
    counts = {name: kind["tokens"] for name, kind in kinds.items()}
    assert counts == dict(style=2, bar=4, pitch=7, note=7)
    assert sum(kind["share"] for kind in kinds.values()) == pytest.approx(1)
    assert kinds["pitch"]["nats_per_token"] == pytest.approx(8 / 7 * math.log(2), rel=1e-6)
    (first,) = result["by_position"]
    assert (first["first_bar"], first["last_bar"], first["pieces"]) == (1, 3, 2)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 9), st.integers(1, 4), st.integers(1, 70)), max_size=6))
def test_kinds_and_positions_add_up_to_the_whole(pieces):
    found = likelihood.evaluate(Known(), [known(b, n, bars=bars) for b, n, bars in pieces])
    result = found.as_json()
    assert found.nats.sum() == pytest.approx(found.span_nats.sum())
    assert found.notes.sum() == found.span_notes.sum() == result["notes"]
    bits = found.nats.sum() / math.log(2)
    of_kinds = [k["tokens"] * k["nats_per_token"] for k in result["by_kind"].values()]
    assert sum(of_kinds) / math.log(2) == pytest.approx(bits)
    rows = result["by_position"]
    of_rows = [r["bits_per_note"] * n for r, n in zip(rows, found.span_notes.sum(axis=0))]
    assert sum(of_rows) == pytest.approx(bits)
    assert [r["first_bar"] for r in rows[1:]] == [r["last_bar"] + 1 for r in rows[:-1]]
    assert not rows or rows[-1]["last_bar"] == max(bars for *_, bars in pieces)


def test_intervals_hold_the_value_and_shrink_with_more_pieces():
    rng = np.random.default_rng(0)
    widths = []
    for count in (8, 32, 512):
        pieces = [known(float(b), 3) for b in rng.gamma(4, 0.5, count)]
        for _ in range(2):  # always the same
            figure = likelihood.evaluate(Known(), pieces).as_json()["figures"]["bits_per_note"]
            widths.append(figure["high"] - figure["low"])
        assert figure["low"] < figure["value"] < figure["high"]
        assert widths[-1] == widths[-2]
    assert widths[0] > 1.5 * widths[2] > 3 * widths[4] > 0
    # As wide as the standard error of the mean says.
    bits = np.array([p.bits / p.notes for p in pieces])
    assert widths[-1] == pytest.approx(2 * 1.96 * bits.std() / math.sqrt(512), rel=0.15)


def test_what_has_no_meaning_is_not_defined(untrained):
    scorer = Scorer(SHAPE, untrained, METRICAL, 256)
    nothing = likelihood.evaluate(scorer, []).as_json()
    assert (nothing["pieces"], nothing["notes"], nothing["tokens"], nothing["bars"]) == (0,) * 4
    undefined = {"value": None, "low": None, "high": None}
    assert all(figure == undefined for figure in nothing["figures"].values())
    assert nothing["by_style"] == nothing["by_kind"] == {} and nothing["by_position"] == []
    piece, _ = METRICAL.quantise(make_notes([0], [480], [60], [80], [0]))
    one = likelihood.evaluate(scorer, [piece]).as_json()
    assert one["notes"] == 1 and one["figures"]["bits_per_note"]["value"] > 0
    assert one["figures"]["bits_per_note"]["low"] is None and one["by_position"][0]["low"] is None
    columns = ("onset", "duration", "pitch", "velocity", "slot")
    silent = dataclasses.replace(piece, **{name: getattr(piece, name)[:0] for name in columns})
    none = likelihood.evaluate(scorer, [silent, silent]).as_json()
    assert none["figures"]["bits_per_note"] == undefined
    assert none["figures"]["bits_per_bar"]["value"] == none["figures"]["bits_per_bar"]["low"] > 0


class Narrow:
    """A reader as a model that knows one style, keys and sections."""

    codec = METRICAL
    styles = ("pop",)
    controls = ("styles", "key", "sections")

    def quantise(self, notes):
        piece, _ = self.codec.quantise(notes)
        return dataclasses.replace(piece, styles=("pop",)), 0


def test_labels_that_a_model_does_not_know_are_dropped_and_counted():
    notes = harmony.with_harmony(data_music.tune(0, styles=("pop", "folk")))
    labels = transfer.Labels()
    (piece,) = transfer.read(Narrow(), [notes], labels)
    tokens = METRICAL.vocabulary.kind[METRICAL.encode(piece)]
    kinds = {METRICAL.vocabulary.names[kind] for kind in np.unique(tokens)}
    assert {"style", "key", "pitch"} <= kinds and not kinds & {"chord", "bass", "density", "role"}
    assert (piece.key >= 0).all() and piece.styles == ("pop",)
    assert labels.styles == {"folk": 1} and labels.missing == {"sections": 1}
    assert labels.controls == {"chords": 1, "density": 1, "roles": 1}


def test_only_equal_music_at_equal_resolution_is_compared():
    def result(codec=METRICAL, notes=2):
        found = likelihood.evaluate(Known(), [known(1.0, notes)]).as_json()
        return found | {"codec": codec.config.kind, "resolution": codec.resolution}

    likelihood.check_comparable({})
    likelihood.check_comparable({"a": result(), "b": result(FUSED)})
    fine = CODECS["metrical", 24, 8]
    for codec, said in (
        (fine, "24 steps in a quarter note"),
        (PERFORMANCE, "100 steps in a second"),
    ):
        with pytest.raises(jaxmusic.UserError, match=f"one resolution: a has 12 .*b {said}"):
            likelihood.check_comparable({"a": result(), "b": result(codec)})
    with pytest.raises(jaxmusic.UserError, match=r"a has 1 pieces, 2 notes.*b .*3 notes"):
        likelihood.check_comparable({"a": result(), "b": result(notes=3)})
