"""The metrical codec: golden streams, long durations, and where each token stands."""

import numpy as np
import pytest
import strategies
from codec_walks import CODECS, DEFAULTS, check_lossless, codec_of, kinds_of, words
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.codecs.layout import bars_left_index
from jaxmusic._src.music import grid
from jaxmusic._src.music.notes import SECTIONS, Labels, make_notes

CODEC = DEFAULTS["metrical"]
BEAT = 480


@pytest.mark.parametrize("steps", (12, 24))
@pytest.mark.parametrize("halves", (1, 15, 16, 17, 31, 32, 33, 64, 200))
@pytest.mark.parametrize("extra", (-1, 0, 1))
def test_long_durations_are_held(steps, halves, extra):
    codec = CODECS["metrical", steps, 8]
    duration = halves * codec.half + extra
    piece = grid.quantise(
        make_notes([0, 240], [duration * BEAT // steps] * 2, [60, 62], [64, 64], [0, 0]), steps
    )[0]
    assert piece.duration.tolist() == [duration] * 2
    holds = (kinds_of(codec, check_lossless(codec, piece)) == "hold").sum()
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
    assert words(CODEC, tokens) == [
        *("bos", "style 0", "style 31", "key 21", "density 2", "meter 0", "tempo 60"),
        *("program 0", "role 1", "program 40", "role 0", "slot 15", "program 25"),
        *("bar 1", "section 1", "energy 0", "plays 0", "plays 1", "plays 15", "chord 21"),
        *("slot 1", "pitch 57", "note 93", "pitch 60", "note 92"),
        *("drum 94",),
        *("position 5", "pitch 64", "hold 1", "note 140"),
        *("position 23", "chord 5", "drum 121"),
        *("bar 0", "meter 1", "tempo 25", "slot 0", "pitch 40", "note 92"),
        *("slot 1", "pitch 62", "note 188", "eos"),
    ]
    assert CODEC.vocabulary.describe(-1) == "unknown -1"
    check_lossless(CODEC, piece)
    fused = check_lossless(DEFAULTS["fused"], piece)
    assert len(tokens) - len(fused) == 3  # slots are named in the header alone


@pytest.mark.quick
@pytest.mark.parametrize("codec", (CODEC, DEFAULTS["fused"]))
def test_what_has_no_name_yet_means_nothing(codec):
    tokens = codec.encode(strategies.random_piece(3)).tolist()
    at = tokens.index(codec.vocabulary.start["bar"] + codec.decode(np.array(tokens))[0].bars - 1)
    section = codec.vocabulary.start["section"] + len(SECTIONS)
    piece, dropped = codec.decode(np.array([*tokens[: at + 1], section, *tokens[at + 1 :]]))
    assert dropped == 1
    assert strategies.differences(piece, codec.decode(np.array(tokens))[0]) == []


@pytest.mark.quick
@pytest.mark.parametrize("above", ("section", "phrase"))
@pytest.mark.parametrize("under", ("energy", "plays"))
def test_a_section_that_is_stated_twice_goes_on(above, under):
    start = CODEC.vocabulary.start
    first = [start["bar"] + 2, start[above] + 1, start[under] + 3]
    bars = [*first, start["bar"] + 1, start[above] + 1, start["bar"], start[above] + 2]
    opens = [start[name] for name in ("bos", "meter", "tempo", "program")]
    piece, dropped = CODEC.decode(np.array([*opens, *bars, start["eos"]]))
    value = 8 if under == "plays" else 3
    assert dropped == 0 and piece.controls[under].tolist() == [value, value, -1]
    check_lossless(CODEC, piece)


@settings(max_examples=100, deadline=None)
@given(strategies.pieces(), st.sampled_from(("metrical", "fused")))
def test_events_say_where_each_note_stands(piece, kind):
    codec = codec_of(kind, piece)
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
