"""The performance codec: note-seq's integers, golden streams, and where each token stands."""

import dataclasses

import numpy as np
import pytest
import strategies
from codec_walks import DEFAULTS, check_lossless, codec_of, real_notes, words
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.codecs.performance.notes import levels, performance_tokens, steps
from jaxmusic._src.music.notes import Labels, make_notes

CODEC = DEFAULTS["performance"]


def note_seq_tokens(notes, velocities):
    """What note-seq makes of notes."""
    import note_seq

    from jaxmusic._src.formats.sequence import to_sequence

    sequence = note_seq.quantize_note_sequence_absolute(to_sequence(notes), 100)
    performance = note_seq.Performance(sequence, num_velocity_bins=velocities)
    one_hot = note_seq.PerformanceOneHotEncoding(num_velocity_bins=velocities)
    return [one_hot.encode_event(event) for event in performance], one_hot.num_classes


def our_tokens(notes, velocities):
    """What we make of them: overlaps, duplicates and drums included."""
    order = np.lexsort((notes.pitch, notes.seconds(notes.onset)))
    onset, ending = steps(notes)
    level = levels(notes.velocity, velocities)
    return performance_tokens(onset[order], ending[order], notes.pitch[order], level[order])[0]


@settings(max_examples=150, deadline=None)
@given(strategies.performances())
def test_streams_are_those_of_note_seq_with_the_silence_at_the_end(performance):
    codec = codec_of("performance", performance)
    theirs, classes = note_seq_tokens(codec.dequantise(performance), performance.velocities)
    tokens = codec.encode(performance, frozenset({"styles"})).tolist()
    v = codec.vocabulary
    assert tokens[0] == v.start["bos"] and tokens[-1] == v.start["eos"]
    assert tokens[1 : 1 + len(theirs)] == theirs
    kinds = v.kind[tokens[1 + len(theirs) : -1]]
    assert (kinds == v.kinds["shift"]).all()
    assert classes == codec.PAD == 356 + performance.velocities


def test_real_files(music):
    for notes in real_notes(music, "giantmidi", "piano_midi_de", "pop909"):
        order = np.argsort(notes.onset, kind="stable")[:2500]  # note-seq is slow
        some = notes.replace(
            **{c: getattr(notes, c)[order] for c in ("onset", "duration", "pitch", "velocity")},
            track=notes.track[order],
        )
        assert our_tokens(some, 32).tolist() == note_seq_tokens(some, 32)[0]
        performance, losses = CODEC.quantise(notes)
        assert len(performance) == losses.notes - losses.duplicate - losses.drum_pitch


@settings(max_examples=200, deadline=None)
@given(strategies.performances(), st.data())
def test_notes_of_a_part_end_with_it(performance, data):
    start = data.draw(st.integers(0, performance.bars - 1))
    stop = data.draw(st.integers(start + 1, performance.bars))
    part = performance.part(start, stop)
    inside = (performance.onset >= 100 * start) & (performance.onset < 100 * stop)
    assert np.array_equal(part.onset + 100 * start, performance.onset[inside])
    end = min(100 * stop, performance.length)
    cut = np.minimum((performance.onset + performance.duration)[inside], end)
    assert np.array_equal(part.onset + part.duration + 100 * start, cut)


@pytest.mark.quick
def test_golden_stream():
    notes = make_notes(
        [0, 0, 480, 480, 3000],
        [240, 2640, 10, 480, 480],
        [60, 52, 38, 64, 60],
        [64, 64, 100, 1, 127],
        [0, 0, 1, 0, 0],
        drum=(False, True),
        program=(0, 0),
        end=4800,
        labels=Labels(styles=("romantic", "classical"), song="song"),
    )
    performance, losses = CODEC.quantise(notes)
    assert (losses.notes, losses.drum_pitch, losses.duplicate, losses.cut) == (5, 1, 0, 0)
    assert (performance.length, performance.bars, performance.song) == (500, 5, "song")
    assert performance.pitched.tolist() == [True] * 4
    tokens = check_lossless(CODEC, performance)
    assert words(CODEC, tokens) == [
        *("bos", "style 4", "style 34", "velocity 15", "note_on 52", "note_on 60"),
        *("shift 24", "note_off 60", "shift 24", "velocity 0", "note_on 64", "shift 49"),
        *("note_off 64", "shift 99", "shift 74", "note_off 52", "shift 37", "velocity 31"),
        *("note_on 60", "shift 49", "note_off 60", "shift 99", "shift 36", "eos"),
    ]
    part = CODEC.encode(performance.part(1, 3))
    assert words(CODEC, part) == [
        *("bos", "part", "style 4", "style 34", "shift 99", "shift 99"),
    ]
    part = CODEC.encode(performance.part(0, 1))
    assert words(CODEC, part[3:]) == [
        *("velocity 15", "note_on 52", "note_on 60", "shift 24", "note_off 60", "shift 24"),
        *("velocity 0", "note_on 64", "shift 49"),
    ]
    assert CODEC.sizes(performance).tolist() == [7, 9, 2, 3, 5, 1]


@pytest.mark.quick
def test_duplicates_and_overlaps_are_counted():
    second = 960
    notes = make_notes(
        [0, 1, second, 2 * second, 2 * second, 2 * second],
        [second, 2 * second, second, 480, 240, 240],
        [60, 60, 60, 72, 72, 74],
        [64, 80, 64, 64, 64, 64],
        [0, 0, 0, 0, 1, 2],
        program=(0, 1, 0),
        drum=(False, False, False),
    )
    performance, losses = CODEC.quantise(notes)
    # Of the two at the start the longest stays, and is cut when its pitch begins again.
    assert performance.onset.tolist() == [0, 100, 200, 200]
    assert performance.duration.tolist() == [100, 100, 50, 25]
    assert performance.velocity.tolist() == [19, 15, 15, 15]
    assert (losses.duplicate, losses.cut, losses.regrouped) == (2, 1, 2)


@pytest.mark.quick
def test_transposition_folds_back_and_merges():
    notes = make_notes([0, 0, 480], [960, 480, 480], [125, 115, 3], [64, 80, 64], [0, 0, 0])
    performance, _ = CODEC.quantise(notes)
    moved = performance.transpose(2)
    assert moved.pitch.tolist() == [117, 127, 5]
    moved = performance.transpose(4)
    assert (moved.pitch.tolist(), moved.duration.tolist()) == ([117, 119, 7], [100, 50, 50])
    moved = performance.transpose(-5)
    assert moved.pitch.tolist() == [110, 120, 10]
    check_lossless(CODEC, moved)
    merged = dataclasses.replace(performance, pitch=np.array([115, 127, 3], np.uint8)).transpose(1)
    assert merged.pitch.tolist() == [116, 116, 4][1:]


def decoded(*names):
    """Onsets, durations, pitches, levels, length and losses of a stream given by words."""
    start = CODEC.vocabulary.start
    words = [name.split() for name in names]
    tokens = [start[w[0]] + (int(w[1]) if len(w) > 1 else 0) for w in words]
    p, dropped = CODEC.decode(np.array(tokens))
    rows = zip(*(c.tolist() for c in (p.onset, p.duration, p.pitch, p.velocity)))
    return list(rows), p.length, dropped


@pytest.mark.quick
@pytest.mark.parametrize(
    "stream, expected",
    [
        ("", ([], 1, 0)),
        # Loudness 100 before any velocity token; an open note lasts to the end.
        ("bos,note_on 60,shift 9", ([(0, 10, 60, 24)], 10, 0)),
        # One that begins at the end gets a step.
        ("bos,shift 4,velocity 3,note_on 60", ([(5, 1, 60, 3)], 6, 0)),
        # A pitch that is silent cannot end, and one that sounds cannot begin.
        ("bos,note_off 60,shift 1,eos", ([], 2, 1)),
        ("note_on 60,note_on 60,shift 0,note_off 60,note_off 60,eos", ([(0, 1, 60, 24)], 1, 2)),
        # Without length there is no note.
        ("note_on 60,note_off 60,note_on 60,shift 1,eos", ([(0, 2, 60, 24)], 2, 2)),
        # What does not belong there, and what follows the end.
        ("part,bos,shift 9,part,style 1,pad,bos,eos,shift 9,eos", ([], 10, 6)),
        ("bos,task 1,style 63,style 41,shift 0,eos", ([], 1, 1)),
    ],
)
def test_what_makes_no_sense_is_counted(stream, expected):
    assert decoded(*filter(None, stream.split(","))) == expected


@settings(max_examples=100, deadline=None)
@given(strategies.performances())
def test_events_say_where_each_note_stands(performance):
    codec = codec_of("performance", performance)
    tokens = codec.encode(performance)
    events, v = codec.events(tokens), codec.vocabulary
    onsets = codec.onset_tokens[tokens]
    assert np.array_equal(events.token, tokens)
    assert np.array_equal(events.time[onsets], performance.onset)
    assert np.array_equal(events.pitch[onsets], performance.pitch)
    ends = v.kind[tokens] == v.kinds["note_off"]
    expected = sorted(zip(performance.onset + performance.duration, performance.pitch))
    assert sorted(zip(events.time[ends], events.pitch[ends])) == expected
    assert (events.slot == np.where(onsets | ends, 0, 16)).all()
    assert (events.pitch[~(onsets | ends)] == 128).all()
    assert (events.position == 144).all() and (events.bar == 0).all()
    assert events.time[-1] == performance.length
