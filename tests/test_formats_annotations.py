import pathlib

import numpy as np
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.annotations import NEAREST, read_beats, read_chords, read_keys
from jaxmusic._src.formats.symbols import chord_number
from jaxmusic._src.music.notes import CHORD_QUALITIES, NO_CHORD


def written(folder: pathlib.Path, text: str) -> pathlib.Path:
    path = folder / "annotation.txt"
    path.write_text(text)
    return path


@pytest.mark.quick
def test_chords(tmp_path: pathlib.Path):
    text = """
0.0 1.0 N
1.0\t2.0\tB:maj
2.0 3.0 Eb:maj/3
3.0 4.0 C#:min7/b7

4.0004 5.0 G:sus4(b7)
5.0 6.0 Fb:hdim7
6.0 7.0 A
"""
    time, chord, bass = read_chords(written(tmp_path, text))
    assert time.dtype == np.float64 and chord.dtype == np.uint8
    assert time.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 4.0004, 5.0, 6.0, 7.0]
    none = NO_CHORD
    assert chord.tolist() == [none, 11, 3, 4 * 12 + 1, none, 6 * 12 + 7, 5 * 12 + 4, 9, none]
    assert bass.tolist() == [0, 0, 4, 10, 0, 0, 0, 0, 0]


def test_gaps_are_silent_and_equal_neighbours_are_one(tmp_path: pathlib.Path):
    text = "1 2 C:maj\n2 3 C:maj6\n3.5 4 C:maj\n3.9995 5 C:min\n5 6 N\n6.5 7 N\n"
    time, chord, _ = read_chords(written(tmp_path, text))
    assert time.tolist() == [1.0, 3.0, 3.5, 3.9995, 5.0]
    assert chord.tolist() == [0, NO_CHORD, 0, 12, NO_CHORD]


def test_every_quality_stands_for_one_that_has_a_number():
    assert set(NEAREST.values()) == set(CHORD_QUALITIES)
    for quality in CHORD_QUALITIES:
        assert NEAREST[quality] == quality
        assert chord_number(f"D{quality}") == CHORD_QUALITIES.index(quality) * 12 + 2


@pytest.mark.quick
def test_keys(tmp_path: pathlib.Path):
    time, key = read_keys(written(tmp_path, "2.67 100 Gb:maj\n100 191.5 Eb:min\n"))
    assert time.dtype == np.float64 and key.dtype == np.uint8
    assert time.tolist() == [2.67, 100.0] and key.tolist() == [6, 15]


@pytest.mark.quick
def test_beats(tmp_path: pathlib.Path):
    four = "".join(f"{0.5 * i} {(i + 1) % 2}.0 {i % 4 == 2:d}.0\n" for i in range(9))
    found = read_beats(written(tmp_path, four))
    assert found.time.tolist() == [0.5 * i for i in range(9)]
    assert np.flatnonzero(found.downbeat).tolist() == [2, 6]
    three = "".join(f"{0.5 * i} {i % 3 == 1:d} {i % 6 == 1:d}\n" for i in range(9))
    assert np.flatnonzero(read_beats(written(tmp_path, three)).downbeat).tolist() == [1, 4, 7]
    assert not read_beats(written(tmp_path, "0 0 0\n1 0 0\n")).downbeat.any()


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (read_chords, "", "three columns"),
        (read_chords, "0 1 C:maj\n1 2\n", "three columns"),
        (read_chords, "0 1 C:maj and more\n", "three columns"),
        (read_chords, "0 end C:maj\n", "number belongs"),
        (read_chords, "0 nan C:maj\n", "forward in time"),
        (read_chords, "1 1 C:maj\n", "forward in time"),
        (read_chords, "0 2 C:maj\n1 3 D:maj\n", "forward in time"),
        (read_chords, "0 1 C:funny\n", "C:funny"),
        (read_chords, "0 1 H:maj\n", "H:maj"),
        (read_keys, "0 1 C\n", "no key"),
        (read_keys, "0 1 C:min7\n", "no key"),
        (read_keys, "0 1 C7:maj\n", "no key"),
        (read_keys, "0 1 N\n", "no key"),
        (read_beats, "0 1\n", "three columns"),
        (read_beats, "0 1 downbeat\n", "number belongs"),
    ],
)
def test_what_is_wrong_is_named(read, text: str, says: str, tmp_path: pathlib.Path):
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=says) as error:
        read(path)
    assert str(error.value).startswith(str(path)) and str(error.value).count(". ") == 0


@pytest.mark.parametrize("read", [read_chords, read_keys, read_beats])
def test_files_that_cannot_be_read(read, tmp_path: pathlib.Path):
    with pytest.raises(UserError, match="cannot be opened"):
        read(tmp_path / "none.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not a text file"):
        read(tmp_path / "binary.txt")


def test_pop909(music: pathlib.Path):
    folders = sorted(p for p in (music / "pop909/POP909").iterdir() if p.is_dir())
    for folder in folders:
        time, chord, bass = read_chords(folder / "chord_midi.txt")
        assert np.all(np.diff(time) > 0) and len(time) > 20
        assert np.all((chord[1:] != chord[:-1]) | (bass[1:] != bass[:-1])) and chord[-1] == NO_CHORD
        assert 1 <= len(read_keys(folder / "key_audio.txt")[0]) <= 5
        beats = read_beats(folder / "beat_midi.txt")
        assert beats.downbeat.sum() > 10 and len(beats.time) == len(beats.downbeat)
    time, chord, _ = read_chords(folders[0] / "chord_midi.txt")
    assert time[:5].tolist() == [0.055333, 2.721993, 4.055323, 5.388653, 6.721983]
    assert chord[:5].tolist() == [NO_CHORD, 11, 1, 22, 15]
    assert [x.tolist() for x in read_keys(folders[0] / "key_audio.txt")] == [
        [2.670294784580499],
        [6],
    ]


@pytest.mark.parametrize("reader", [read_beats, read_chords, read_keys])
def test_only_regular_files_are_read(tmp_path: pathlib.Path, reader):
    (tmp_path / "endless.txt").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="device"):
        reader(tmp_path / "endless.txt")
    with pytest.raises(UserError, match="folder"):
        reader(tmp_path)
