"""The performance codec: note-seq's integers, lossless, canonical, bounded, causal."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic.codecs.layout import DEFAULT_STYLES
from jaxmusic.codecs.performance.codec import PerformanceCodec
from jaxmusic.codecs.performance.notes import Performance, levels, performance_tokens, steps
from jaxmusic.codecs.registry import read_codec
from jaxmusic.core.errors import UserError
from jaxmusic.music.notes import Labels, make_notes

CODECS = {v: PerformanceCodec(config.Codec(velocities=v, kind="performance")) for v in (8, 16, 32)}
CODEC = CODECS[32]


def differences(a, b, ignore=()):
    """Names of the fields in which two performances differ, in value or in type."""
    out = []
    for field in dataclasses.fields(Performance):
        x, y = getattr(a, field.name), getattr(b, field.name)
        same = np.array_equal(x, y) and getattr(x, "dtype", None) == getattr(y, "dtype", None)
        if field.name not in ignore and not same:
            out.append(field.name)
    return out


def as_decoded(performance):
    """The performance as far as a stream tells of it."""
    return dataclasses.replace(
        performance,
        song="",
        styles=tuple(sorted(performance.styles, key=CODEC.styles.index)),
        bars_before=min(performance.bars_before, 1),
        bars_after=min(performance.bars_after, 1),
    )


def check(performance):
    codec = CODECS[performance.velocities]
    tokens = codec.encode(performance)
    assert tokens.dtype == np.int32
    assert codec.onset_tokens[tokens].sum() == len(performance)
    again, dropped = codec.decode(tokens)
    assert dropped == 0
    assert differences(as_decoded(performance), again) == []
    return tokens


def note_seq_tokens(notes, velocities):
    """What note-seq makes of notes."""
    import note_seq

    from jaxmusic.formats.sequence import to_sequence

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
@given(strategies.performed_notes(), st.sampled_from((8, 16, 32)))
def test_integers_are_those_of_note_seq(notes, velocities):
    theirs, classes = note_seq_tokens(notes, velocities)
    assert our_tokens(notes, velocities).tolist() == theirs
    assert CODECS[velocities].PAD == classes == 356 + velocities


@settings(max_examples=150, deadline=None)
@given(strategies.performances())
def test_streams_are_those_of_note_seq_with_the_silence_at_the_end(performance):
    codec = CODECS[performance.velocities]
    theirs, _ = note_seq_tokens(codec.dequantise(performance), performance.velocities)
    tokens = codec.encode(performance, frozenset({"styles"})).tolist()
    v = codec.vocabulary
    assert tokens[0] == v.start["bos"] and tokens[-1] == v.start["eos"]
    assert tokens[1 : 1 + len(theirs)] == theirs
    kinds = v.kind[tokens[1 + len(theirs) : -1]]
    assert (kinds == v.kinds["shift"]).all()


def files(music):
    """Performances and scores, as they are read from files."""
    from jaxmusic.formats.midi import read_notes

    for name in ("giantmidi", "piano_midi_de", "pop909"):
        found = sorted(p for p in (music / name).rglob("*") if p.suffix == ".mid")
        for path in found[:: max(len(found) // 3, 1)][:3]:
            yield read_notes(path)


def test_real_files(music):
    for notes in files(music):
        order = np.argsort(notes.onset, kind="stable")[:2500]  # note-seq is slow
        some = notes.replace(
            **{c: getattr(notes, c)[order] for c in ("onset", "duration", "pitch", "velocity")},
            track=notes.track[order],
        )
        assert our_tokens(some, 32).tolist() == note_seq_tokens(some, 32)[0]
        performance, losses = CODEC.quantise(notes)
        assert len(performance) == losses.notes - losses.duplicate - losses.drum_pitch
        check(performance)
        check(performance.part(performance.bars // 3, performance.bars // 2 + 1))


@pytest.mark.quick
@settings(max_examples=300, deadline=None)
@given(strategies.performances())
def test_decode_undoes_encode(performance):
    tokens = check(performance)
    codec = CODECS[performance.velocities]
    assert tokens[-1] == codec.vocabulary.start["eos"]
    again, losses = codec.quantise(codec.dequantise(performance))
    assert differences(performance, again) == []
    assert (losses.notes, losses.share, losses.regrouped) == (len(performance), 0, 0)


@settings(max_examples=200, deadline=None)
@given(strategies.performances(), st.data())
def test_parts_are_lossless_and_bounded(performance, data):
    codec = CODECS[performance.velocities]
    start = data.draw(st.integers(0, performance.bars - 1))
    stop = data.draw(st.integers(start + 1, performance.bars))
    part = performance.part(start, stop)
    assert part.bars == stop - start
    tokens = check(part)
    assert (codec.vocabulary.start["part"] in tokens) == (start > 0)
    assert (tokens[-1] == codec.vocabulary.start["eos"]) == (stop == performance.bars)
    sizes = codec.sizes(performance)
    assert sizes.dtype == np.int32 and len(sizes) == performance.bars + 1
    assert len(tokens) <= sizes[0] + sizes[1 + start : 1 + stop].sum()
    inside = (performance.onset >= 100 * start) & (performance.onset < 100 * stop)
    assert np.array_equal(part.onset + 100 * start, performance.onset[inside])
    end = min(100 * stop, performance.length)
    cut = np.minimum((performance.onset + performance.duration)[inside], end)
    assert np.array_equal(part.onset + part.duration + 100 * start, cut)
    # A part of a part is that part of the whole.
    if part.bars > 1:
        one, other = part.part(1, part.bars), performance.part(start + 1, stop)
        assert differences(one, other) == []


@settings(max_examples=40, deadline=None)
@given(strategies.performances(max_seconds=9))
def test_sizes_bound_all_parts(performance):
    codec = CODECS[performance.velocities]
    sizes = codec.sizes(performance)
    for start, stop in itertools.combinations(range(performance.bars + 1), 2):
        length = len(codec.encode(performance.part(start, stop)))
        assert length <= sizes[0] + sizes[1 + start : 1 + stop].sum()
    # They are exact for the whole: its body and nothing else.
    body = len(codec.encode(performance)) - len(codec.header(performance)) - 1
    assert sizes[1:].sum() == body


def test_sizes_are_nearly_exact(music):
    for notes in files(music):
        performance, _ = CODEC.quantise(notes)
        sizes = CODEC.sizes(performance)
        for start in range(0, performance.bars - 20, 20):
            part = performance.part(start, start + 20)
            bound = sizes[0] + sizes[1 + start : 21 + start].sum()
            # Ends of notes from before, and of those that sound on, are not in the part.
            assert len(CODEC.encode(part)) >= bound - 4 - 3 * 25


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
    tokens = check(performance)
    assert [CODEC.vocabulary.describe(t) for t in tokens] == [
        *("bos", "style 4", "style 34", "velocity 15", "note_on 52", "note_on 60"),
        *("shift 24", "note_off 60", "shift 24", "velocity 0", "note_on 64", "shift 49"),
        *("note_off 64", "shift 99", "shift 74", "note_off 52", "shift 37", "velocity 31"),
        *("note_on 60", "shift 49", "note_off 60", "shift 99", "shift 36", "eos"),
    ]
    part = CODEC.encode(performance.part(1, 3))
    assert [CODEC.vocabulary.describe(t) for t in part] == [
        *("bos", "part", "style 4", "style 34", "shift 99", "shift 99"),
    ]
    part = CODEC.encode(performance.part(0, 1))
    assert [CODEC.vocabulary.describe(t) for t in part[3:]] == [
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
    check(moved)
    merged = dataclasses.replace(performance, pitch=np.array([115, 127, 3], np.uint8)).transpose(1)
    assert merged.pitch.tolist() == [116, 116, 4][1:]


@pytest.mark.quick
def test_layout_is_what_checkpoints_were_trained_with():
    assert [c.vocab_size for c in CODECS.values()] == [440, 448, 464]
    assert [c.fingerprint for c in CODECS.values()] == FINGERPRINTS
    assert CODEC.with_styles(["zydeco"]).fingerprint == CODEC.fingerprint
    assert [CODEC.vocabulary.start[k] for k in ("note_off", "shift", "velocity", "pad")] == [
        *(128, 256, 356, 388),
    ]
    assert np.flatnonzero(CODEC.onset_tokens).tolist() == list(range(128))


FINGERPRINTS = ["6e776804545037b4", "b15bfa245eb716d6", "7c0cb6ba91d8898e"]


def test_json_round_trip_and_refusals():
    settings = config.Codec(velocities=16, kind="performance")
    codec = PerformanceCodec(settings).with_styles(["zydeco", "pop", "zydeco"])
    again = read_codec(codec.to_json())
    assert again.config == codec.config and again.fingerprint == codec.fingerprint
    assert again.styles == (*DEFAULT_STYLES, "zydeco")
    for change, reason in (
        ({"version": 2}, "version 2"),
        ({"codec": "metrical"}, "metrical version 1"),
        ({"fingerprint": "0" * 16}, "fingerprint"),
        ({"velocities": 8}, "fingerprint"),
    ):
        text = json.dumps(json.loads(codec.to_json()) | change)
        with pytest.raises(UserError, match=reason):
            read_codec(text)


def test_styles():
    codec = CODEC.with_styles(("zydeco",))
    performance = strategies.random_performance(1)
    performance = dataclasses.replace(performance, styles=("zydeco", "pop"), velocities=32)
    assert codec.decode(codec.encode(performance))[0].styles == ("pop", "zydeco")
    with pytest.raises(UserError, match="zydeco"):
        CODEC.encode(performance)
    with pytest.raises(UserError, match="pop, rock"):
        CODEC.style_index("zydeco")
    without = CODEC.encode(performance, frozenset({"styles"}))
    assert len(without) == len(codec.encode(performance)) - 2
    with pytest.raises(UserError, match="64"):
        CODEC.with_styles([str(i) for i in range(40)])


@pytest.mark.parametrize("wrong", ({"steps_per_beat": 24}, {"velocities": 9}, {"kind": "fused"}))
def test_wrong_settings(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        PerformanceCodec(config.Codec(**{"kind": "performance"} | wrong))


def random_streams():
    """Random tokens, alone or let into a real stream."""
    anything = st.lists(st.integers(-3, CODEC.vocab_size + 3), max_size=60)
    few = st.lists(st.sampled_from((60, 61, 188, 189, 256, 280, 356, 370, 388, 390)), max_size=40)

    def mixed(seed, junk, place):
        tokens = CODEC.encode(strategies.random_performance(seed)).tolist()
        at = place % (len(tokens) + 1)
        return tokens[:at] + junk + tokens[at:]

    return anything | few | st.builds(mixed, st.integers(0, 99), anything | few, st.integers(0))


@pytest.mark.quick
@settings(max_examples=500, deadline=None)
@given(random_streams())
def test_decode_never_raises_and_gives_a_performance(tokens):
    performance, dropped = CODEC.decode(np.array(tokens, np.int64))
    assert dropped >= 0
    assert (performance.duration >= 1).all() and performance.length >= 1
    assert (performance.onset + performance.duration <= performance.length).all()
    # What was understood is written and read without loss, and nothing else was lost.
    again, lost = CODEC.decode(CODEC.encode(performance))
    assert lost == 0
    assert differences(as_decoded(performance), again) == []
    rest = [t for t in tokens if 0 <= t < 128]
    assert len(rest) - len(performance) <= dropped


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


@settings(max_examples=200, deadline=None)
@given(random_streams(), st.integers(0, 10**6))
def test_events_depend_on_the_past_alone(tokens, place):
    tokens = np.array([t for t in tokens if 0 <= t < CODEC.vocab_size], np.int32)
    whole = CODEC.events(tokens)
    at = place % (len(tokens) + 1)
    for a, b in zip(whole, CODEC.events(tokens[:at])):
        assert np.array_equal(a[:at], b)
        assert a.dtype == np.int32 and len(a) == len(tokens)


@settings(max_examples=100, deadline=None)
@given(strategies.performances())
def test_events_say_where_each_note_stands(performance):
    codec = CODECS[performance.velocities]
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
