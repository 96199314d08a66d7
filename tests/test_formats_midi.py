"""MIDI files: what is written is read back, by everyone, and what is broken says so."""

import os
import pathlib
import subprocess
import sys
import tempfile

import mido
import numpy as np
import pytest
import strategies
from hypothesis import given, settings

from benchmarks.roundtrip import midi_events
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.formats.symbols import chord_number, chord_symbol, fifths_key, key_fifths
from jaxmusic._src.music import grid
from jaxmusic._src.music.notes import CHORD_COUNT, NO_CHORD, SECTIONS, Labels, make_notes


def by_track(notes):
    """Rows of each track with its instrument, in an order that does not number the tracks."""
    rows = [
        (
            int(notes.program[i]),
            bool(notes.drum[i]),
            np.stack([c[notes.track == i] for c in columns(notes)]).tolist(),
        )
        for i in range(len(notes.program))
    ]
    return sorted(rows, key=str)


def columns(notes):
    return notes.onset, notes.duration, notes.pitch, notes.velocity


def piece(**fields):
    """Eight seconds: a scale on a piano, and a kick drum on each beat."""
    onset = [480 * i for i in range(8)]
    return make_notes(
        onset * 2,
        [480] * 8 + [120] * 8,
        [60, 62, 64, 65, 67, 69, 71, 72] + [36] * 8,
        [80] * 16,
        [0] * 8 + [1] * 8,
        program=[0, 0],
        drum=[False, True],
        tempos=((0, 120.0), (1920, 60.0)),
        **fields,
    )


@pytest.mark.quick
@settings(max_examples=60, deadline=None)
@given(strategies.separate_notes())
def test_what_is_written_is_read_back(tmp_path_factory, notes):
    path = tmp_path_factory.getbasetemp() / "round.mid"
    files.write(notes, path)
    again = read_notes(path)
    assert by_track(again) == by_track(notes)
    assert again.ticks_per_beat == 480
    assert again.end == notes.end
    in_time = notes.tempo_tick <= notes.end
    np.testing.assert_array_equal(again.tempo_tick, notes.tempo_tick[in_time])
    np.testing.assert_allclose(again.tempo_qpm, notes.tempo_qpm[in_time], rtol=1e-12)
    in_time = notes.meter_tick <= notes.end
    for name in ("meter_tick", "meter_num", "meter_den"):
        np.testing.assert_array_equal(getattr(again, name), getattr(notes, name)[in_time])


@pytest.mark.quick
def test_end_of_track_stands_at_the_end_and_nothing_later(tmp_path):
    notes = piece(end=4321)
    files.write(notes, tmp_path / "a.mid")
    file = mido.MidiFile(tmp_path / "a.mid")
    assert file.type == 1 and file.ticks_per_beat == 480
    for track in file.tracks:
        assert track[-1].type == "end_of_track"
        assert sum(message.time for message in track) == 4321


def test_ten_minutes_last_ten_minutes(tmp_path):
    # 133.7 quarter notes per minute are no whole number of microseconds; 641,760 ticks: 600 s.
    notes = make_notes([0], [480], [60], [64], [0], tempos=((0, 133.7),), end=641_760)
    files.write(notes, tmp_path / "a.mid")
    assert mido.MidiFile(tmp_path / "a.mid").length == pytest.approx(600, abs=0.002)


def test_other_readers_hear_the_same(tmp_path):
    import pretty_midi

    files.write(piece(), tmp_path / "a.mid")
    melody, drums = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).instruments
    assert (melody.is_drum, drums.is_drum) == (False, True)
    # Four beats at 120, then four at 60 quarter notes per minute.
    times = [0, 0.5, 1, 1.5, 2, 3, 4, 5]
    np.testing.assert_allclose([n.start for n in melody.notes], times, atol=1e-6)
    assert [n.pitch for n in melody.notes] == [60, 62, 64, 65, 67, 69, 71, 72]


def test_drums_go_to_channel_ten_and_others_keep_off_it(tmp_path):
    notes = make_notes(
        range(20), [1] * 20, [60] * 20, [64] * 20, range(20), range(20), [False] * 19 + [True]
    )
    files.write(notes, tmp_path / "a.mid")
    program, seen = {}, []
    for message in mido.merge_tracks(mido.MidiFile(tmp_path / "a.mid").tracks):
        if message.type == "program_change":
            program[message.channel] = message.program
        if message.type == "note_on":
            seen.append((program[message.channel], message.channel == 9))
    # Even played as one stream of 15 channels, each of the 19 programs sounds in its turn.
    assert seen == [(i, i == 19) for i in range(20)]
    assert by_track(read_notes(tmp_path / "a.mid")) == by_track(notes)


def test_tracks_of_one_program_share_channels_first(tmp_path):
    notes = make_notes(
        [0] * 16, [1] * 16, range(16), [64] * 16, range(16), [*range(15), 7], [False] * 16
    )
    files.write(notes, tmp_path / "a.mid")
    tracks = mido.MidiFile(tmp_path / "a.mid").tracks[1:]
    assert [t[1].channel for t in tracks] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 7]
    assert sum(m.type == "program_change" for t in tracks for m in t) == 16


def test_labels_become_markers_and_key_signatures(tmp_path):
    lines = {"key": [(0, 2), (960, 21)], "chord": [(0, 4 * 12 + 9), (480, NO_CHORD)]}
    lines |= {"bass": [(0, 0), (240, 10), (480, 0)], "section": [(0, 1)], "phrase": [(0, 1)]}
    labels = Labels.of_changes(lines, styles=("pop",))
    files.write(piece(labels=labels), tmp_path / "a.mid")
    conductor = mido.MidiFile(tmp_path / "a.mid").tracks[0]
    assert [m.key for m in conductor if m.type == "key_signature"] == ["D", "Am"]
    assert [m.text for m in conductor if m.type == "marker"] == [
        *("[jaxmusic]", "[style pop]", "[verse]", "[phrase B]", "Am7", "Am7/G", "N.C.", "[end]")
    ]
    again = read_notes(tmp_path / "a.mid")
    for name, value in vars(labels).items():
        assert np.array_equal(getattr(again.labels, name), value), name


def test_labels_of_other_programs_are_not_believed(tmp_path):
    """Rehearsal marks are no chords, and most files say C major whatever their key."""
    files.write(piece(labels=Labels.of_changes({"key": [(0, 2)]})), tmp_path / "a.mid")
    file = mido.MidiFile(tmp_path / "a.mid")
    for message in file.tracks[0]:
        if message.type == "marker":
            message.text = "A"
    file.save(tmp_path / "b.mid")
    again = read_notes(tmp_path / "b.mid").labels
    assert not any(len(value) for value in vars(again).values())


MARKERS = {
    "verse": ("Verse 1", "2. Strophe", "Pre-Chorus", "pre chorus 2"),
    "chorus": ("CHORUS", "[Refrain]", "Hook", "last chorus"),
    "bridge": ("Middle 8", "Guitar Solo"),
    "intro": ("Intro_1",),
    "outro": ("Coda", "Conclusion", "Ending:"),
    "": ("To Coda", "scripts.coda", "A", "Am7", "The bridge over the river", "", "\xdcberleitung"),
}


@pytest.mark.quick
@pytest.mark.parametrize(
    ("text", "section"), [(text, name) for name, texts in MARKERS.items() for text in texts]
)
def test_markers_of_other_programs_name_sections(tmp_path, text, section):
    data = text.encode("latin-1")
    marker = b"\x60\xff\x06" + bytes([len(data)]) + data
    (tmp_path / "a.mid").write_bytes(file_of(NOTE, marker, NOTE))
    expected = [(192, SECTIONS.index(section))] if section else []
    for details in (False, True):
        labels = read_notes(tmp_path / "a.mid", details=details).labels
        assert labels.changes("section") == expected
    # They stay as they are written, and become sections of a score and a sequence.
    files.convert(tmp_path / "a.mid", tmp_path / "b.mid")
    was, now = (midi_events((tmp_path / name).read_bytes()) for name in ("a.mid", "b.mid"))
    assert now == was
    sequence = files.read(tmp_path / "b.mid")
    assert [s.section_id for s in sequence.section_annotations] == [s for _, s in expected]
    files.write(sequence, tmp_path / "c.musicxml")
    assert files.read_notes(tmp_path / "c.musicxml").labels.section.tolist() == [
        s for _, s in expected
    ]


@pytest.mark.quick
@settings(max_examples=150, deadline=None)
@given(strategies.pieces())
def test_a_written_piece_is_read_again(piece):
    """Notes, instruments, bars, tempos, key, chords, sections, styles and length."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a.mid"
        files.write(grid.dequantise(piece), path)
        if not len(piece):
            return
        again, losses = grid.quantise(read_notes(path), piece.steps_per_beat, piece.velocities)
    assert losses.share == 0
    assert strategies.differences(piece, again, ignore=("song", "role")) == []


@pytest.mark.quick
def test_keys_and_chords():
    majors = [0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5]
    assert [key_fifths(k) for k in range(12)] == [(f, False) for f in majors]
    assert [fifths_key(*key_fifths(k)) for k in range(24)] == list(range(24))
    assert key_fifths(12 + 9) == (0, True) and key_fifths(12 + 0) == (-3, True)
    assert [chord_number(chord_symbol(c)) for c in range(CHORD_COUNT)] == list(range(CHORD_COUNT))


def file_of(*events, division=480):
    """A type 0 file of raw bytes."""
    body = b"".join(events) + b"\x00\xff\x2f\x00"
    head = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01" + division.to_bytes(2, "big")
    return head + b"MTrk" + len(body).to_bytes(4, "big") + body


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"


@pytest.mark.quick
def test_absurd_tempos_and_meters_are_dropped(tmp_path):
    (tmp_path / "a.mid").write_bytes(
        file_of(
            b"\x00\xff\x51\x03\x00\x00\x00",  # 0 microseconds to the quarter note
            b"\x00\xff\x58\x04\x00\x02\x18\x08",  # 0/4
            NOTE,
            b"\x00\xff\x51\x03\x07\xa1\x20",  # 120 from tick 96 on
            b"\x00\xff\x51\x03\x00\x00\x64",  # 600,000
            b"\x00\xff\x58\x04\x03\x02\x18\x08",  # 3/4
        )
    )
    notes = read_notes(tmp_path / "a.mid")
    assert notes.tempo_tick.tolist() == [0, 96] and notes.tempo_qpm.tolist() == [120.0, 120.0]
    assert notes.meter_num.tolist() == [4, 3] and notes.meter_tick.tolist() == [0, 96]


def test_frames_become_beats_of_half_a_second(tmp_path):
    for frames, per_second in ((24, 24.0), (25, 25.0), (29, 30000 / 1001), (30, 30.0)):
        division = (256 - frames) << 8 | 40
        # A tempo has no meaning where time is counted in frames.
        (tmp_path / "a.mid").write_bytes(
            file_of(b"\x00\xff\x51\x03\x0f\x42\x40", NOTE, division=division)
        )
        notes = read_notes(tmp_path / "a.mid")
        assert notes.duration.tolist() == [96]
        assert float(notes.seconds(96)) == pytest.approx(96 / (per_second * 40), rel=1e-9)
        assert notes.tempo_qpm[0] == pytest.approx(120, rel=0.01)


def test_notes_without_length_get_one_tick(tmp_path):
    (tmp_path / "a.mid").write_bytes(file_of(b"\x00\x90\x3c\x40\x00\x80\x3c\x40", NOTE))
    assert read_notes(tmp_path / "a.mid").duration.tolist() == [1, 96]


@pytest.mark.quick
def test_the_pedal_holds_to_its_release_or_the_next_onset(tmp_path):
    def pedal(delta, value):
        return bytes([delta, 0xB0, 64, value])

    data = file_of(
        pedal(0, 127),
        b"\x00\x90\x3c\x40",  # C from 0 to 10, again at 50
        b"\x00\x90\x40\x40",  # E from 0 to 10, held until 80
        b"\x0a\x80\x3c\x40",
        b"\x00\x80\x40\x40",
        b"\x28\x90\x3c\x40",  # C from 50 to 60, held until 80
        b"\x0a\x80\x3c\x40",
        pedal(20, 0),
        b"\x0a\x90\x43\x40",  # G from 90 to 100, after the pedal
        b"\x0a\x80\x43\x40",
    )
    (tmp_path / "a.mid").write_bytes(data)
    assert read_notes(tmp_path / "a.mid").duration.tolist() == [10, 10, 10, 10]
    held = read_notes(tmp_path / "a.mid", sustain=True)
    assert held.onset.tolist() == [0, 0, 50, 90]
    assert held.duration.tolist() == [50, 80, 30, 10]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a MIDI file that can be read"),
        (b"hello, this is no music at all", "not a MIDI file that can be read"),
        (bytes(128) + file_of(NOTE), "not a MIDI file that can be read"),
        (file_of(NOTE)[:-6], "not a MIDI file that can be read"),
        (file_of(NOTE, division=0), "not a MIDI file that can be read"),
        (file_of(NOTE, division=0xE700), "not a MIDI file that can be read"),
        (file_of(), "holds no notes"),
    ],
    ids=[
        "empty",
        "text",
        "wrapped for a Mac",
        "cut short",
        "no ticks",
        "no ticks in a frame",
        "no notes",
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, data, said):
    (tmp_path / "a.mid").write_bytes(data)
    with pytest.raises(UserError, match=said):
        read_notes(tmp_path / "a.mid")


@pytest.mark.quick
def test_the_longest_rest_is_read_and_longer_ones_are_not_written(tmp_path):
    late = b"\xff\xff\xff\x7f\x90\x3c\x40\x60\x80\x3c\x40"
    (tmp_path / "a.mid").write_bytes(file_of(late))
    notes = read_notes(tmp_path / "a.mid")
    assert notes.onset.tolist() == [2**28 - 1]
    with pytest.raises(UserError, match="further apart"):
        files.write(notes.replace(onset=notes.onset + 1), tmp_path / "b.mid")
    assert not (tmp_path / "b.mid").exists()


@pytest.mark.quick
def test_files_appear_whole_or_not_at_all(tmp_path):
    (tmp_path / "a.mid").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        files.write(piece(), tmp_path / "a.mid")
    files.write(piece(), tmp_path / "new" / "folder" / "b.mid")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.mid", "b.mid", "folder", "new"]


READ_ALL = """
import pathlib, sys
from benchmarks.roundtrip import midi_events
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.midi import read_notes
for line in sys.stdin:
    try:
        notes = read_notes(line.rstrip("\\n"), sustain=True)
        assert notes.end > 0 and (notes.duration > 0).all() and (notes.velocity > 0).all()
        said = f"{len(notes)} notes"
    except UserError as error:
        said = str(error)
    print(said, flush=True)
"""


def test_odd_files_are_read_or_say_why(music):
    files = sorted(p for p in (music / "odd").rglob("*") if p.suffix in (".mid", ".midi"))
    assert len(files) == 119
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input="\n".join(map(str, files)),
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(files)
    assert sum(line.endswith(" notes") for line in lines) == 102
    assert sum("holds no notes" in line for line in lines) == 13
    assert sum("is not a MIDI file that can be read" in line for line in lines) == 4
