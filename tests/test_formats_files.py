"""The public edge: the suffix of a path decides."""

import os

import pytest
from etils import epath

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats import files
from jaxmusic._src.formats.sequence import from_sequence, to_sequence
from jaxmusic._src.music.notes import make_notes

NOTES = make_notes([0, 480], [480, 480], [60, 64], [80, 90], [0, 0], program=[4])


@pytest.mark.quick
@pytest.mark.parametrize("kind", [str, epath.Path], ids=["str", "epath"])
def test_midi_there_and_back(tmp_path, kind):
    for name, music in (("a.mid", NOTES), ("b.MIDI", to_sequence(NOTES))):
        files.write(music, kind(str(tmp_path / name)))
        again = files.read(kind(str(tmp_path / name)))
        assert [info.name for info in again.instrument_infos] == ["Electric Piano 1"]
        assert again.source_info.encoding_type == again.source_info.MIDI
        del again.instrument_infos[:]
        again.ClearField("source_info")
        assert again == to_sequence(NOTES)
        assert from_sequence(again).program.tolist() == [4]


@pytest.mark.quick
def test_scores_there_and_back(tmp_path):
    files.write(to_sequence(NOTES), tmp_path / "a.XML")
    sequence = files.read(tmp_path / "a.XML")
    assert [(n.pitch, n.start_time, n.end_time, n.velocity) for n in sequence.notes] == [
        *((60, 0.0, 0.5, 80), (64, 0.5, 1.0, 90)),
    ]
    (tmp_path / "a.abc").write_text("X:1\nL:1/4\nK:Em\nE2|\n\nX:2\nL:1/4\nK:C\nC\n")
    sequence = files.read(f"{tmp_path}/a.abc#1")
    assert (sequence.notes[0].pitch, sequence.key_signatures[0].key) == (64, 4)
    with pytest.raises(UserError, match="holds 2 tunes"):
        files.read(tmp_path / "a.abc")


def test_played_music_is_put_on_its_bars_before_it_becomes_a_score(tmp_path):
    # Quarters that begin 37 ticks late, and the first beat louder.
    onsets = [37 + 96 * i for i in range(64)]
    loud = [110 if i % 4 == 0 else 60 for i in range(64)]
    pitches = [36 if i % 4 == 0 else 60 + i % 3 for i in range(64)]
    played = make_notes(onsets, [90] * 64, pitches, loud, [0] * 64, ticks_per_beat=96)
    files.write(played, tmp_path / "a.mid")
    files.convert(tmp_path / "a.mid", tmp_path / "a.mxl")
    score = files.read_notes(tmp_path / "a.mxl")
    assert score.onset.tolist() == [480 * i for i in range(64)]
    files.convert(tmp_path / "a.mxl", tmp_path / "b.mid")
    assert files.read_notes(tmp_path / "b.mid").onset.tolist() == score.onset.tolist()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        *(("a.mid", b"MThd"), ("a.wav", b"RIFF"), ("a.png", b"\x89PNG"), ("a.PDF", b"%PDF")),
        ("new/folder/a.svg", b"<?xml"),
    ],
)
def test_the_suffix_decides_what_is_written(tmp_path, name, head):
    if name == "a.wav":
        pytest.importorskip("midirenderer")
    files.write(to_sequence(NOTES), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(head)


@pytest.mark.quick
def test_unknown_suffixes_name_the_known(tmp_path):
    with pytest.raises(UserError, match=r"a\.mp3 cannot be read: .*\.mid, .* or \.abc\."):
        files.read(tmp_path / "a.mp3")
    with pytest.raises(UserError, match=r"\.mid, .*\.mxl, .*\.wav, \.png, \.svg or \.pdf\."):
        files.write(NOTES, tmp_path / "a.mp3")
    assert not list(tmp_path.iterdir())


@pytest.mark.quick
def test_a_given_file_is_not_replaced_by_accident(tmp_path):
    files.write(NOTES, tmp_path / "a.mid")
    before = (tmp_path / "a.mid").read_bytes()
    (tmp_path / "link.mid").symlink_to(tmp_path / "a.mid")
    for name in ("a.mid", "link.mid"):
        with pytest.raises(UserError, match="--force"):
            files.convert(tmp_path / name, tmp_path / "a.mid")
    assert (tmp_path / "a.mid").read_bytes() == before
    files.convert(tmp_path / "a.mid", tmp_path / "a.mid", force=True)
    assert files.read(tmp_path / "a.mid").notes


@pytest.mark.quick
@pytest.mark.parametrize("suffix", files.READABLE)
@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_only_regular_files_are_read(tmp_path, suffix, kind):
    path = tmp_path / f"a{suffix}"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=kind):
        files.read_notes(path)


@pytest.mark.parametrize("suffix", [".mid", ".mxl", ".abc"])
def test_size_is_known_before_reading(tmp_path, suffix):
    with open(tmp_path / f"a{suffix}", "wb") as file:
        file.truncate(2**33)
    with pytest.raises(UserError, match="MB"):
        files.read_notes(tmp_path / f"a{suffix}")


@pytest.mark.quick
@pytest.mark.parametrize("suffix", sorted({*files.READABLE, *files.WRITABLE}))
@pytest.mark.parametrize("name", ["", "\0", "\ud800", "x" * 300, "junk", "folder"])
def test_odd_names_are_one_sentence(tmp_path, name, suffix):
    files.write(NOTES, tmp_path / "in.mid")
    (tmp_path / f"junk{suffix}").write_bytes(b"RIFF\x24\0\0\0WAVEfmt \0")
    (tmp_path / f"folder{suffix}").mkdir()
    path = f"{tmp_path}/{name}{suffix}"
    for act in (files.read_notes, lambda path: files.convert(path, tmp_path / "out.mid")):
        with pytest.raises(UserError) as error:
            act(path)
        assert "\n" not in str(error.value)
    if name != "junk":
        with pytest.raises(UserError):
            files.convert(tmp_path / "in.mid", path)
