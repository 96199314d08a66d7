"""The metrical codec: lossless, canonical, bounded, causal, and never surprised."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic.codecs.layout import (
    DEFAULT_STYLES,
    TASKS,
    bars_left_index,
)
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.codecs.registry import make_codec, read_codec
from jaxmusic.core.errors import UserError
from jaxmusic.formats.midi import midi_bytes
from jaxmusic.music import controls, grid
from jaxmusic.music.notes import SECTIONS, Labels, make_notes

CONTROLS = controls.names()

CODEC = MetricalCodec()
CODECS = {
    (s, v): MetricalCodec(config.Codec(s, v)) for s, v in itertools.product((12, 24), (8, 16, 32))
}
FUSED = {key: MetricalCodec(config.Codec(*key, "fused")) for key in CODECS}
EITHER = [pytest.param(c, id=c.config.kind) for c in (CODEC, FUSED[12, 8])]
BEAT = 480


def codec_of(piece):
    return CODECS[piece.steps_per_beat, piece.velocities]


def check(codec, piece, drop=frozenset()):
    tokens = codec.encode(piece, drop)
    assert tokens.dtype == np.int32
    assert codec.onset_tokens[tokens].sum() == len(piece)
    again, dropped = codec.decode(tokens)
    assert dropped == 0
    assert strategies.differences(strategies.as_decoded(piece, drop), again) == []
    return tokens


@pytest.mark.quick
@settings(max_examples=300, deadline=None)
@given(strategies.pieces())
def test_decode_undoes_encode(piece):
    tokens = check(codec_of(piece), piece)
    assert tokens[-1] == CODEC.vocabulary.start["eos"]
    fused = check(FUSED[piece.steps_per_beat, piece.velocities], piece)
    kinds = codec_of(piece).vocabulary.kind[tokens]
    in_body = np.cumsum(kinds == CODEC.vocabulary.kinds["bar"]) > 0
    slots = (kinds == CODEC.vocabulary.kinds["slot"]) & in_body
    assert len(fused) == len(tokens) - slots.sum()


@settings(max_examples=200, deadline=None)
@given(strategies.pieces(), st.booleans(), st.data())
def test_parts_are_lossless_and_bounded(piece, fused, data):
    codec = FUSED[piece.steps_per_beat, piece.velocities] if fused else codec_of(piece)
    start = data.draw(st.integers(0, piece.bars - 1))
    stop = data.draw(st.integers(start + 1, piece.bars))
    part = piece.part(start, stop)
    tokens = check(codec, part)
    assert (codec.vocabulary.start["part"] in tokens) == (start > 0)
    assert (tokens[-1] == codec.vocabulary.start["eos"]) == (stop == piece.bars)
    sizes = codec.sizes(piece)
    assert sizes.dtype == np.int32 and len(sizes) == piece.bars + 1
    assert len(tokens) <= sizes[0] + sizes[1 + start : 1 + stop].sum()


@settings(max_examples=25, deadline=None)
@given(strategies.pieces(max_notes=30))
def test_sizes_bound_all_parts(piece):
    codec, piece = codec_of(piece), piece.part(0, min(piece.bars, 12))
    sizes = codec.sizes(piece)
    for start, stop in itertools.combinations(range(piece.bars + 1), 2):
        length = len(codec.encode(piece.part(start, stop)))
        assert length <= sizes[0] + sizes[1 + start : 1 + stop].sum()
    bars = codec.vocabulary.kinds["bar"]
    kinds = codec.vocabulary.kind[codec.encode(piece)]
    inner = np.bincount(np.cumsum(kinds == bars), minlength=piece.bars + 1)[1:]
    inner[-1] -= piece.bars_after == 0  # the end token
    assert sizes[1:].tolist() == inner.tolist()


@settings(max_examples=20, deadline=None)
@given(strategies.pieces())
def test_dropped_controls_are_unknown_and_nothing_else_is(piece):
    for count in (0, 1, 2, len(CONTROLS)):
        for drop in itertools.combinations(CONTROLS, count):
            tokens = check(codec_of(piece), piece, frozenset(drop))
            assert len(tokens) <= len(codec_of(piece).encode(piece))


@pytest.mark.parametrize("steps", (12, 24))
@pytest.mark.parametrize("halves", (1, 15, 16, 17, 31, 32, 33, 64, 200))
@pytest.mark.parametrize("extra", (-1, 0, 1))
def test_long_durations_are_held(steps, halves, extra):
    codec = CODECS[steps, 8]
    duration = halves * codec.half + extra
    piece = grid.quantise(
        make_notes([0, 240], [duration * BEAT // steps] * 2, [60, 62], [64, 64], [0, 0]), steps
    )[0]
    assert piece.duration.tolist() == [duration] * 2
    tokens = check(codec, piece)
    kinds = codec.vocabulary.kind[tokens]
    holds = (kinds == codec.vocabulary.kinds["hold"]).sum()
    # A hold token stands for up to 16 half bars; a duration with a token of its own has none.
    expected = 0 if duration in codec.durations else -(-((duration - 1) // codec.half) // 16)
    assert holds == 2 * expected


@pytest.mark.quick
def test_golden_stream():
    labels = Labels(
        styles=("waltz", "pop"),
        key_tick=np.array([0], np.int32),
        key=np.array([9 + 12], np.uint8),
        chord_tick=np.array([0, 960], np.int32),
        chord=np.array([12 + 9, 5], np.uint8),
        section_tick=np.array([0], np.int32),
        section=np.array([1], np.uint8),
    )
    notes = make_notes(
        [0, 0, 0, 240, 960, 1920, 1920],
        [480, 480, 30, 2640, 10, 960, 480],
        [60, 57, 38, 64, 42, 62, 40],
        [64, 80, 100, 64, 20, 64, 64],
        [0, 0, 2, 0, 2, 0, 1],
        program=(40, 0, 25),
        drum=(False, False, True),
        tempos=((0, 120.0), (1920, 60.0)),
        meters=((0, 4, 4), (1920, 3, 4)),
        labels=labels,
    )
    piece, _ = grid.quantise(notes)
    tokens = CODEC.encode(piece)
    assert [CODEC.vocabulary.describe(t) for t in tokens] == [
        *("bos", "style 0", "style 31", "key 21", "density 2", "meter 0", "tempo 60"),
        *("program 0", "role 1", "program 40", "role 0", "slot 15", "program 25"),
        *(
            "bar 1",
            "section 1",
            "energy 0",
            "plays 0",
            "plays 1",
            "plays 15",
            "chord 21",
            "slot 1",
            "pitch 57",
            "note 93",
            "pitch 60",
            "note 92",
        ),
        *("drum 94",),
        *("position 5", "pitch 64", "hold 1", "note 140"),
        *("position 23", "chord 5", "drum 121"),
        *("bar 0", "meter 1", "tempo 25", "slot 0", "pitch 40", "note 92"),
        *("slot 1", "pitch 62", "note 188", "eos"),
    ]
    assert CODEC.vocabulary.describe(-1) == "unknown -1"
    check(CODEC, piece)


@pytest.mark.quick
def test_layout_is_what_checkpoints_were_trained_with():
    assert CODEC.vocab_size == 1781 <= 2000
    assert [c.vocab_size for c in CODECS.values()] == SIZES
    assert [c.fingerprint for c in CODECS.values()] == FINGERPRINTS
    assert (FUSED[12, 8].vocab_size, FUSED[12, 8].fingerprint) == (3573, "561a51ebd894f63e")
    assert CODEC.with_styles(["zydeco"]).fingerprint == CODEC.fingerprint
    assert CODEC.vocabulary.start["bos"] == 1 and CODEC.PAD == 0
    onsets = {CODEC.vocabulary.names[k] for k in CODEC.vocabulary.kind[CODEC.onset_tokens]}
    assert onsets == {"pitch", "drum"}


SIZES = [1781, 2525, 4013, 2045, 2981, 4853]
FINGERPRINTS = [
    "b3b21c63e76dd69b",
    "4153304b8dbc9d7c",
    "8a7c407851a68aa9",
    "55b889b347d2d133",
    "732bb46b3e3cdeb9",
    "108fd7c02f298ad5",
]


def test_room_for_what_comes_later():
    """Layouts hold places for all that later versions will say, so that checkpoints keep."""
    v = CODEC.vocabulary
    assert set(TASKS) == {"continue", "infill", "accompany", "harmonise", "vary"}
    assert len(TASKS) <= v.length["task"] and len(SECTIONS) <= v.length["section"]
    assert v.length["style"] == 64 > len(DEFAULT_STYLES)
    assert SECTIONS == ("intro", "verse", "chorus", "bridge", "outro")
    assert v.length["free"] == 64 and all(c.values <= v.length[c.kind] for c in controls.CONTROLS)


@pytest.mark.parametrize("kind", ("metrical", "fused"))
def test_json_round_trip_and_refusals(kind):
    settings = config.Codec(24, 16, kind)
    codec = make_codec(settings).with_styles(["zydeco", "pop", "zydeco"])
    again = read_codec(codec.to_json())
    assert again.config == codec.config and again.fingerprint == codec.fingerprint
    assert again.styles == (*DEFAULT_STYLES, "zydeco")
    for change, reason in (
        ({"version": 1}, "version 1"),
        ({"codec": "performance", "version": 7}, "performance"),
        ({"codec": "abc"}, "abc version 2"),
        ({"fingerprint": "0" * 16}, "fingerprint"),
        ({"velocities": 8}, "fingerprint"),
    ):
        text = json.dumps(json.loads(codec.to_json()) | change)
        with pytest.raises(UserError, match=reason):
            read_codec(text)


def test_styles():
    codec = CODEC.with_styles(("zydeco",))
    piece = dataclasses.replace(strategies.random_piece(1), styles=("zydeco", "pop"))
    assert codec.decode(codec.encode(piece))[0].styles == ("pop", "zydeco")
    with pytest.raises(UserError, match="zydeco"):
        CODEC.encode(piece)
    with pytest.raises(UserError, match="pop, rock"):
        CODEC.style_index("zydeco")
    assert len(CODEC.encode(piece, frozenset({"styles"}))) == len(codec.encode(piece)) - 2
    with pytest.raises(UserError, match="64"):
        CODEC.with_styles([str(i) for i in range(40)])


@pytest.mark.parametrize("wrong", ({"steps_per_beat": 16}, {"velocities": 9}))
def test_wrong_resolutions(wrong):
    with pytest.raises(UserError):
        MetricalCodec(config.Codec(**wrong))
    with pytest.raises(UserError, match="kind must be metrical"):
        make_codec(config.Codec(kind="abc"))


def random_streams(codec):
    """Random tokens, alone or let into a real stream."""
    anything = st.lists(st.integers(-3, codec.vocab_size + 3), max_size=60)

    def mixed(seed, junk, place):
        tokens = codec.encode(strategies.random_piece(seed)).tolist()
        at = place % (len(tokens) + 1)
        return tokens[:at] + junk + tokens[at:]

    return anything | st.builds(mixed, st.integers(0, 99), anything, st.integers(0, 10**6))


@pytest.mark.quick
@pytest.mark.parametrize("codec", EITHER)
def test_what_has_no_name_yet_means_nothing(codec):
    tokens = codec.encode(strategies.random_piece(3)).tolist()
    at = tokens.index(codec.vocabulary.start["bar"] + codec.decode(np.array(tokens))[0].bars - 1)
    section = codec.vocabulary.start["section"] + len(SECTIONS)
    piece, dropped = codec.decode(np.array([*tokens[: at + 1], section, *tokens[at + 1 :]]))
    assert dropped == 1
    assert strategies.differences(piece, codec.decode(np.array(tokens))[0]) == []


@pytest.mark.parametrize("codec", EITHER)
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_decode_never_raises_and_gives_a_piece(codec, data):
    tokens = data.draw(random_streams(codec))
    piece, dropped = codec.decode(np.array(tokens, np.int64))
    assert dropped >= 0
    assert (piece.onset < piece.bar_step[-1]).all() and (piece.duration >= 1).all()
    assert (piece.programs[piece.slot] >= 0).all()
    # Whatever it is, it can be written.
    assert midi_bytes(codec.dequantise(piece))
    if (np.diff(np.flatnonzero(piece.programs[:15] >= 0), prepend=-1) > 1).any():
        return
    # What was understood is written and read without loss.
    expected = strategies.as_decoded(dataclasses.replace(piece, styles=tuple(set(piece.styles))))
    again, lost = codec.decode(codec.encode(piece))
    assert lost == 0
    assert strategies.differences(expected, again) == []


@pytest.mark.parametrize("codec", EITHER)
@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 10**6))
def test_events_depend_on_the_past_alone(codec, data, place):
    tokens = data.draw(random_streams(codec))
    tokens = np.array([t for t in tokens if 0 <= t < codec.vocab_size], np.int32)
    whole = codec.events(tokens)
    at = place % (len(tokens) + 1)
    for a, b in zip(whole, codec.events(tokens[:at])):
        assert np.array_equal(a[:at], b)
        assert a.dtype == np.int32 and len(a) == len(tokens)


@settings(max_examples=100, deadline=None)
@given(strategies.pieces(), st.booleans())
def test_events_say_where_each_note_stands(piece, fused):
    codec = FUSED[piece.steps_per_beat, piece.velocities] if fused else codec_of(piece)
    tokens = codec.encode(piece)
    events, v = codec.events(tokens), codec.vocabulary
    onsets = codec.onset_tokens[tokens]
    assert np.array_equal(events.token, tokens)
    assert np.array_equal(events.time[onsets], piece.onset)
    assert np.array_equal(events.slot[onsets], piece.slot)
    assert np.array_equal(events.pitch[onsets], piece.pitch)
    bars = v.kind[tokens] == v.kinds["bar"]
    assert np.array_equal(events.time[bars], piece.bar_step[:-1])
    header = np.cumsum(bars) == 0
    assert (events.time[header] == 0).all() and (events.position[header] == 144).all()
    assert np.array_equal(events.bar, np.maximum(np.cumsum(bars) - 1, 0))
    lines = piece.bar_step[np.cumsum(bars)[~header] - 1]
    assert np.array_equal(events.time[~header] - lines, events.position[~header])
    programs = header & (v.kind[tokens] == v.kinds["program"])
    slots = np.flatnonzero(piece.programs >= 0)
    assert np.array_equal(events.slot[programs], slots)
    assert np.array_equal(v.value[tokens[programs]], piece.programs[slots])


@pytest.mark.quick
def test_bars_left():
    assert bars_left_index(np.array([0, 1, 63, 64, 67, 68, 127, 128, 255, 256, 9999])).tolist() == [
        *(0, 1, 63, 64, 64, 65, 79, 80, 83, 84, 84)
    ]


def test_real_files(music):
    from jaxmusic.formats.midi import read_notes
    from jaxmusic.music import beats

    for name in ("pop909", "multitrack_pop", "mutopia", "groove", "nottingham"):
        files = sorted(p for p in (music / name).rglob("*") if p.suffix == ".mid")
        for path in files[:: max(len(files) // 3, 1)][:3]:
            piece, _ = grid.quantise(beats.align(read_notes(path))[0])
            check(CODEC, piece)
            check(CODEC, piece.part(piece.bars // 3, piece.bars // 2 + 1))
