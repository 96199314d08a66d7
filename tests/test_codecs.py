"""The contract of all codecs: lossless, canonical, bounded, causal, and followed by the grammar."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import strategies
from codec_walks import (
    CODECS,
    DEFAULTS,
    KINDS,
    check_lossless,
    codec_of,
    ended,
    finished,
    kinds_of,
    mixed_streams,
    pieces,
    random_piece,
    real_pieces,
    walker,
    words,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic._src.codecs.layout import DEFAULT_STYLES
from jaxmusic._src.codecs.registry import make_codec, read_codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.midi_writing import midi_bytes

pytestmark = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.quick
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_decode_undoes_encode(kind, data):
    piece = data.draw(pieces(kind))
    codec = codec_of(kind, piece)
    tokens = check_lossless(codec, piece)
    assert ended(codec, tokens)
    dropped = check_lossless(
        codec, piece, frozenset(data.draw(st.sets(st.sampled_from(codec.CONTROLS))))
    )
    assert len(dropped) <= len(tokens)
    again, losses = codec.quantise(codec.dequantise(piece))
    assert strategies.differences(piece, again) == []
    assert (losses.notes, losses.share, losses.regrouped) == (len(piece), 0, 0)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_parts_are_lossless_and_bounded(kind, data):
    piece = data.draw(pieces(kind))
    codec = codec_of(kind, piece)
    start = data.draw(st.integers(0, piece.bars - 1))
    stop = data.draw(st.integers(start + 1, piece.bars))
    part = piece.part(start, stop)
    assert part.bars == stop - start
    tokens = check_lossless(codec, part)
    assert (codec.vocabulary.start["part"] in tokens) == (start > 0)
    assert ended(codec, tokens) == (stop == piece.bars)
    sizes = codec.sizes(piece)
    assert sizes.dtype == np.int32 and len(sizes) == piece.bars + 1
    assert sizes[1:].sum() == len(codec.encode(piece)) - len(codec.header(piece)) - 1
    if part.bars > 1:
        assert strategies.differences(part.part(1, part.bars), piece.part(start + 1, stop)) == []


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_sizes_bound_all_parts(kind, data):
    piece = data.draw(pieces(kind, max_notes=30))
    codec, piece = codec_of(kind, piece), piece.part(0, min(piece.bars, 12))
    sizes = codec.sizes(piece)
    for start, stop in itertools.combinations(range(piece.bars + 1), 2):
        length = len(codec.encode(piece.part(start, stop)))
        assert length <= sizes[0] + sizes[1 + start : 1 + stop].sum()


LAYOUTS = {
    "metrical": {
        1781: "b3b21c63e76dd69b",
        2525: "4153304b8dbc9d7c",
        4013: "8a7c407851a68aa9",
        2045: "55b889b347d2d133",
        2981: "732bb46b3e3cdeb9",
        4853: "108fd7c02f298ad5",
    },
    "fused": {3573: "561a51ebd894f63e"},
    "performance": {440: "6e776804545037b4", 448: "b15bfa245eb716d6", 464: "7c0cb6ba91d8898e"},
}
"""Fingerprints by size of the vocabulary, for each resolution."""


@pytest.mark.quick
def test_layout_is_what_checkpoints_were_trained_with(kind):
    some = [codec for (name, *_), codec in CODECS.items() if name == kind]
    found = {codec.vocab_size: codec.fingerprint for codec in some}
    assert dict(itertools.islice(found.items(), len(LAYOUTS[kind]))) == LAYOUTS[kind]
    codec = DEFAULTS[kind]
    assert codec.with_styles(["zydeco"]).fingerprint == codec.fingerprint
    onsets = set(kinds_of(codec, np.flatnonzero(codec.onset_tokens)))
    assert onsets == ({"note_on"} if kind == "performance" else {"pitch", "drum"})


def test_json_round_trip_and_refusals(kind):
    codec = CODECS[kind, 12, 16].with_styles(["zydeco", "pop", "zydeco"])
    again = read_codec(codec.to_json())
    assert again.config == codec.config and again.fingerprint == codec.fingerprint
    assert again.styles == (*DEFAULT_STYLES, "zydeco")
    for change, reason in (
        ({"version": 7}, f"{kind} version 7"),
        ({"codec": "abc"}, f"abc version {codec.VERSION}"),
        ({"fingerprint": "0" * 16}, "fingerprint"),
        ({"velocities": 8}, "fingerprint"),
    ):
        with pytest.raises(UserError, match=reason):
            read_codec(json.dumps(json.loads(codec.to_json()) | change))


def test_styles(kind):
    known = DEFAULTS[kind]
    codec = known.with_styles(("zydeco",))
    piece = dataclasses.replace(random_piece(kind, 1), styles=("zydeco", "pop"))
    assert codec.decode(codec.encode(piece))[0].styles == ("pop", "zydeco")
    with pytest.raises(UserError, match="zydeco"):
        known.encode(piece)
    with pytest.raises(UserError, match="pop, rock"):
        known.style_index("zydeco")
    with pytest.raises(UserError, match="64"):
        known.with_styles([str(i) for i in range(40)])


@pytest.mark.parametrize("wrong", ({"steps_per_beat": 16}, {"velocities": 9}, {"kind": "abc"}))
def test_wrong_settings(kind, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        make_codec(config.Codec(**{"kind": kind} | wrong))


@pytest.mark.quick
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_decode_never_raises_and_gives_a_piece(kind, data):
    codec = DEFAULTS[kind]
    piece, dropped = codec.decode(np.array(data.draw(mixed_streams(kind)), np.int64))
    assert dropped >= 0
    assert (piece.duration >= 1).all() and (np.diff(piece.onset) >= 0).all()
    if kind == "performance":
        assert (piece.onset + piece.duration <= piece.length).all() and piece.length >= 1
    else:
        assert (piece.onset < piece.bar_step[-1]).all()
        assert (piece.programs[piece.slot] >= 0).all()
    # Whatever it is, it can be written.
    assert midi_bytes(codec.dequantise(piece))
    slots = np.flatnonzero(getattr(piece, "programs", np.zeros(0))[:15] >= 0)
    if (np.diff(slots, prepend=-1) > 1).any():
        return
    # What was understood is written and read without loss.
    expected = strategies.as_decoded(dataclasses.replace(piece, styles=tuple(set(piece.styles))))
    again, lost = codec.decode(codec.encode(piece))
    assert lost == 0
    assert strategies.differences(expected, again) == []


@settings(max_examples=150, deadline=None)
@given(data=st.data(), place=st.integers(0, 10**6))
def test_events_depend_on_the_past_alone(kind, data, place):
    codec = DEFAULTS[kind]
    tokens = data.draw(mixed_streams(kind))
    tokens = np.array([t for t in tokens if 0 <= t < codec.vocab_size], np.int32)
    whole = codec.events(tokens)
    at = place % (len(tokens) + 1)
    for a, b in zip(whole, codec.events(tokens[:at])):
        assert np.array_equal(a[:at], b)
        assert a.dtype == np.int32 and len(a) == len(tokens)


def check_allowed(kind, wholes):
    """Each token of pieces and parts of them is allowed, and each event is where it should be."""
    walk, streams, ends = walker(kind), [], []
    for i, whole in enumerate(wholes):
        middle, last = whole.bars // 3, whole.bars - i % 2 * (whole.bars // 4)
        for start, stop in ((0, whole.bars), (middle, last), (0, 1)):
            streams.append(walk.codec.encode(whole.part(start, stop)))
            ends.append(whole.length - 100 * start if walk.performs else whole.bars - start)
    for stream, allowed in zip(streams, walk.allowed(streams, ends)):
        assert words(walk.codec, stream[1 : len(allowed)][~allowed[1:]]) == []


def test_whatever_is_encoded_is_allowed(kind):
    sizes = itertools.product((3, 10, 40, 100), range(12))
    check_allowed(kind, [random_piece(kind, 1000 * n + i, n, 1 + i) for n, i in sizes])


def test_real_files_are_lossless_and_allowed(kind, music):
    found = real_pieces(kind, music)
    for piece in found:
        check_lossless(DEFAULTS[kind], piece)
        check_lossless(DEFAULTS[kind], piece.part(piece.bars // 3, piece.bars // 2 + 1))
    check_allowed(kind, found)


def test_free_samples_decode_and_are_canonical(kind):
    """One piece, one stream; metrical notes that cut each other short have other durations."""
    walk, count = walker(kind), 0
    codec = walk.codec
    ends = np.array([*range(1, 7), *range(90, 240, 15)]) if walk.performs else np.arange(16) % 6 + 1
    for seed in range(3):
        for row, stream in enumerate(walk.sample(walk.rules(ends), seed)):
            whole = finished(codec, stream)
            piece, dropped = codec.decode(whole)
            assert dropped == 0 and codec.onset_tokens[whole].sum() == len(piece)
            if ended(codec, stream):
                count += 1
                assert (piece.length if walk.performs else piece.bars) == ends[row]
                ours, theirs = (
                    s[~np.isin(kinds_of(codec, s), ("note", "hold"))]
                    for s in (stream, codec.encode(piece))
                )
                assert np.array_equal(ours, theirs)
    assert count > 24
