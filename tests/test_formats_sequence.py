"""NoteSequences: nothing is lost on the way there and back."""

import os
import subprocess
import sys

import pytest
import strategies
from hypothesis import given, settings

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.formats.sequence import from_sequence, sequence_class, to_sequence
from jaxmusic._src.music.notes import CHORD_TONES, NO_CHORD, Labels, make_notes


@pytest.mark.quick
@settings(max_examples=80, deadline=None)
@given(strategies.separate_notes(5))
def test_there_and_back_is_exact(notes):
    assert strategies.differences(from_sequence(to_sequence(notes)), notes) == []


def test_real_files_there_and_back(music):
    files = sorted((music / "multitrack_pop").rglob("*.mid"))[:4]
    files += sorted((music / "piano_midi_de").rglob("*.mid"))[:4]  # hundreds of tempos each
    assert len(files) == 8
    for path in files:
        notes = read_notes(path)
        assert strategies.differences(from_sequence(to_sequence(notes)), notes) == []


@pytest.mark.quick
def test_golden_sequence():
    rows = [(0, 480, 60, 80, 0), (480, 960, 64, 90, 0), (480, 120, 36, 100, 1)]
    notes = make_notes(
        *zip(*rows),
        program=[25, 0],
        drum=[False, True],
        tempos=((0, 120.0), (480, 60.0)),
        meters=((0, 3, 4),),
        end=1920,
        labels=Labels.of_changes({"key": [(0, 12 + 9)], "chord": [(480, 12 + 9)]}),
    )
    sequence = to_sequence(notes)
    assert sequence.ticks_per_quarter == 480 and sequence.total_time == 3.5
    assert [(n.start_time, n.end_time) for n in sequence.notes] == [
        *((0.0, 0.5), (0.5, 2.5), (0.5, 0.75))
    ]
    assert [(n.instrument, n.program, n.is_drum) for n in sequence.notes] == [
        *((0, 25, False), (0, 25, False), (1, 0, True))
    ]
    assert [(t.time, t.qpm) for t in sequence.tempos] == [(0.0, 120.0), (0.5, 60.0)]
    assert sequence.key_signatures[0].key == 9 and sequence.key_signatures[0].mode == 1
    assert [(t.time, t.text) for t in sequence.text_annotations] == [(0.5, "Am")]


@pytest.mark.quick
def test_a_bare_sequence_is_at_120_on_480_ticks():
    sequence = sequence_class()()
    sequence.notes.add(start_time=1.0, end_time=1.0001, pitch=60, velocity=80)
    sequence.notes.add(start_time=0.0, end_time=0.25, pitch=62, velocity=80, program=5)
    notes = from_sequence(sequence)
    assert notes.ticks_per_beat == 480 and notes.tempo_qpm.tolist() == [120.0]
    assert notes.onset.tolist() == [0, 960] and notes.duration.tolist() == [240, 1]
    assert notes.program.tolist() == [0, 5] and notes.track.tolist() == [1, 0]
    assert notes.meter_num.tolist() == [4] and notes.end == 961


@pytest.mark.quick
def test_absurd_tempos_meters_and_unknown_chords_are_left_out():
    sequence = sequence_class()()
    sequence.notes.add(start_time=1.0, end_time=2.0, pitch=60, velocity=80)
    for qpm in (0.0, -3.0, float("nan"), float("inf"), 4.0, 1001.0):
        sequence.tempos.add(time=0.5, qpm=qpm)
    sequence.time_signatures.add(numerator=4, denominator=3)
    for text in ("Ddim/F", "Cmaj9#11", "E#m7", "hello"):
        sequence.text_annotations.add(time=1.0, text=text, annotation_type=1)
    notes = from_sequence(sequence)
    assert notes.tempo_qpm.tolist() == [120.0] and notes.meter_den.tolist() == [4]
    assert notes.labels.chord.tolist() == [4 * 12 + 5]  # of two at one time the later


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"start_time": -1.0}, "time in the sequence is -1.0: give seconds from 0"),
        ({"end_time": float("nan")}, "time in the sequence is nan"),
        ({"end_time": 1e12}, "1e\\+12 seconds: shorten it"),
        ({"pitch": 128}, "pitch 128"),
        ({"velocity": 0}, "velocity 0"),
    ],
)
def test_wrong_sequences_say_what_to_do(fields, said):
    sequence = sequence_class()()
    sequence.notes.add(**{"start_time": 0.0, "end_time": 1.0, "pitch": 60, "velocity": 80} | fields)
    with pytest.raises(UserError, match=said):
        from_sequence(sequence)


LAZY = """
import sys
from jaxmusic._src.formats.sequence import sequence_class
ours = sequence_class()
assert "librosa" not in sys.modules and "note_seq" not in sys.modules
import note_seq
assert ours is note_seq.NoteSequence and note_seq.protobuf.music_pb2.NoteSequence is ours
sequence_class.cache_clear()
assert sequence_class() is note_seq.NoteSequence
"""


def test_the_class_is_note_seqs_own_at_none_of_its_cost():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LAZY],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode == 0, done.stderr


def test_note_seq_understands_the_chords():
    import note_seq
    from note_seq import chord_symbols_lib

    from jaxmusic._src.formats.symbols import chord_symbol

    assert chord_symbol(NO_CHORD) == note_seq.NO_CHORD
    for quality, intervals in enumerate(CHORD_TONES):
        for root in range(12):
            pitches = chord_symbols_lib.chord_symbol_pitches(chord_symbol(quality * 12 + root))
            assert {p % 12 for p in pitches} == {(root + i) % 12 for i in intervals}
