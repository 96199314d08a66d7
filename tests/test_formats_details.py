"""What a given file says besides notes comes back: names, controllers, bends, texts, programs."""

import io
import warnings

import mido
import numpy as np
import pytest

from benchmarks.roundtrip import in_sequence, midi_events
from jaxmusic._src.commands import cli, composing
from jaxmusic._src.core.errors import Remark
from jaxmusic._src.formats import files, midi, midi_writing
from jaxmusic._src.formats import sequence as sequences
from jaxmusic._src.generate.composition import Composition
from jaxmusic._src.music import beats
from jaxmusic._src.music.details import Details


@pytest.fixture
def given(tmp_path):
    """A file that says a bit of everything."""
    conductor = mido.MidiTrack(
        [
            mido.MetaMessage("track_name", name="My Song"),
            mido.MetaMessage("copyright", text="2026 Somebody"),
            mido.MetaMessage("set_tempo", tempo=600_000),
            mido.MetaMessage("time_signature", numerator=3, denominator=4),
            mido.MetaMessage("key_signature", key="Eb"),
            mido.MetaMessage("marker", text="Verse 1", time=960),
            mido.MetaMessage("set_tempo", tempo=500_000, time=480),
        ]
    )
    lead = mido.MidiTrack([mido.MetaMessage("track_name", name="Lead Voice")])
    lead.append(mido.Message("program_change", channel=3, program=53))
    lead.append(mido.Message("control_change", channel=3, control=7, value=90))
    for i, word in enumerate(("shine", "on", "you")):
        lead.append(mido.MetaMessage("lyrics", text=word))
        lead.append(mido.Message("pitchwheel", channel=3, pitch=512 * i))
        lead.append(mido.Message("note_on", channel=3, note=60 + i, velocity=80))
        lead.append(mido.Message("note_off", channel=3, note=60 + i, time=480))
    lead.append(mido.Message("program_change", channel=3, program=73))
    lead.append(mido.Message("note_on", channel=3, note=70, velocity=80))
    lead.append(mido.Message("note_off", channel=3, note=70, time=480))
    piano = mido.MidiTrack([mido.MetaMessage("track_name", name="Grand")])
    piano.append(mido.Message("control_change", channel=0, control=64, value=127))
    piano.append(mido.Message("note_on", channel=0, note=40, velocity=70))
    piano.append(mido.Message("note_off", channel=0, note=40, time=1900))
    piano.append(mido.Message("control_change", channel=0, control=64, value=0, time=20))
    path = tmp_path / "given.mid"
    mido.MidiFile(ticks_per_beat=480, tracks=[conductor, lead, piano]).save(path)
    return path


def test_a_file_comes_back(given, tmp_path):
    files.convert(given, tmp_path / "again.mid")
    assert midi_events((tmp_path / "again.mid").read_bytes()) == midi_events(given.read_bytes())
    channels = [
        {m.channel for m in track if not m.is_meta}
        for track in mido.MidiFile(tmp_path / "again.mid").tracks
    ]
    assert channels == [set(), {3}, {0}]


def test_a_sequence_holds_it_too(given, tmp_path):
    sequence = files.read(given)
    assert {info.name for info in sequence.instrument_infos} == {"Lead Voice", "Grand"}
    assert sequence.sequence_metadata.title == "My Song"
    files.write(sequence, tmp_path / "again.mid")
    was, now = (midi_events(path.read_bytes()) for path in (given, tmp_path / "again.mid"))
    assert in_sequence(was) == in_sequence(now)
    # A key that a MIDI file states is kept, and no label.
    assert not len(sequences.from_sequence(sequence).labels.key)


def test_new_tracks_have_names(given):
    notes = midi.read_notes(given, details=True)
    count = len(notes.program)
    more = notes.replace(
        program=np.append(notes.program, [33, 0]).astype(np.uint8),
        drum=np.append(notes.drum, [False, True]),
    )
    tracks = mido.MidiFile(file=io.BytesIO(midi_writing.midi_bytes(more))).tracks
    assert [t.name for t in tracks] == ["My Song", "Lead Voice", "Grand", "Fingered Bass", "Drums"]
    assert count == 3  # the voice has two programs
    used = {m.channel for t in tracks[3:] for m in t if not m.is_meta}
    assert 9 in used and not used & {0, 3}


def test_pedals_and_bends_do_not_hang_where_a_piece_is_cut():
    details = Details(
        part=np.zeros(1, np.int16),
        chunk=np.ones(1, np.int16),
        channel=np.zeros(1, np.int16),
        tick=np.array([0, 10, 20, 30, 90], np.int32),
        at=np.ones(5, np.int16),
        message=(b"\xb0\x40\x7f", b"\xe0\0\x50", b"\xb0\x42\x7f", b"\xb0\x42\0", b"\xb0\x40\0"),
    )
    cut = details.until(50)
    assert cut.tick.tolist() == [0, 10, 20, 30, 50, 50]
    assert set(cut.message[4:]) == {b"\xb0\x40\0", b"\xe0\0\x40"}
    assert details.until(91).message == (*details.message, b"\xe0\0\x40")


def test_names_title_and_copyright_survive_a_score(given, tmp_path):
    with pytest.warns(Remark):
        files.convert(given, tmp_path / "score.musicxml")
    files.convert(tmp_path / "score.musicxml", tmp_path / "again.mid")
    files.write(files.read(tmp_path / "score.musicxml"), tmp_path / "sequence.mid")
    for name in ("again.mid", "sequence.mid"):
        file = mido.MidiFile(tmp_path / name)
        # The voice has two programs, and so two parts.
        assert [t.name for t in file.tracks] == ["My Song", "Lead Voice", "Lead Voice", "Grand"]
        assert [p for p, *_ in programs(file)] == [53, 73, 0]
    again = midi_events((tmp_path / "again.mid").read_bytes())
    assert again["copyright", 0, ("2026 Somebody",)] == 1


def programs(file):
    """The programs of each track that has any."""
    found = [[m.program for m in t if m.type == "program_change"] for t in file.tracks]
    return [row for row in found if row]


def test_what_a_score_cannot_hold_is_said(given, tmp_path, capsys):
    left = "leaves out 3 controllers, 3 lyrics, 3 pitch bends and 1 key signature."
    target = tmp_path / "score.musicxml"
    with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
        cli.main(["convert", str(given), str(target)])
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err) == (
        *(0, f"wrote {target}\n", f"jaxmusic: {target} {left}\n"),
    )
    piece = Composition(midi.read_notes(given, details=True), np.zeros(1, np.int32), bars=1)
    with pytest.warns(Remark, match=left):
        composing._write([piece], [target], given=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files.convert(given, tmp_path / "again.mid")
        files.convert(target, tmp_path / "again.musicxml")


def test_many_parts_share_channels_by_program():
    tracks = [(part, part % 15, False) for part in range(20)]
    details = Details.of_tracks(tracks, [])
    assert details.channel[15:].tolist() == details.channel[:5].tolist()
    assert 9 not in details.channel


def test_details_move_with_the_notes(given):
    notes = midi.read_notes(given, details=True)
    aligned, _ = beats.align(notes)
    late = beats.offset(notes, aligned)
    was, now = (piece.seconds(piece.details.tick) for piece in (notes, aligned))
    np.testing.assert_allclose(now, np.maximum(was - late, 0), atol=1e-3)
