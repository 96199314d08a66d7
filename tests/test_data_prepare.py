"""Preparing datasets from files, end to end."""

import dataclasses
import errno
import json
import os
import pathlib
import shutil
import textwrap

import data_music
import mido
import numpy as np
import pytest
from etils import epath

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core import locks
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import assembly, cached_statistics, catalog, workers
from jaxmusic._src.data.builder import prepare, prepare_pieces
from jaxmusic._src.data.loader import Loader
from jaxmusic._src.data.packing import Sizes
from jaxmusic._src.data.sources import find
from jaxmusic._src.formats import files
from jaxmusic._src.music.grid import quantise
from jaxmusic._src.music.notes import SECTIONS, make_notes
from jaxmusic._src.music.piece import Losses
from jaxmusic.config import Data, Prepare


@pytest.fixture(scope="module")
def midi(tmp_path_factory):
    folder = data_music.folder(tmp_path_factory.mktemp("midi"), 6)
    shutil.copy(folder / "tune000.mid", folder / "copy of tune000.MIDI")
    files.write(data_music.tune(50, bars=2), folder / "few.mid")
    (folder / "few.mid").rename(folder / "few.kar")
    (folder / "broken.mid").write_bytes(b"MThd\0\0\0\6 this is none")
    (folder / "album.mid").mkdir()
    (folder / "readme.txt").write_text("no music")
    return folder


@pytest.fixture
def options(tmp_path):
    return Prepare(
        name="tunes", style="pop", data_dir=str(tmp_path / "data"), workers=1, validation=0.3
    )


def test_files_become_a_dataset(midi, options):
    summary = prepare([str(midi)], options, progress=False)
    assert (summary.files, summary.pieces, summary.is_new) == (9, 6, True)
    assert summary.skipped == {
        "cannot be read": 1,
        "copy of another file": 1,
        "fewer than 32 notes": 1,
    }
    found = data_music.stored(summary)
    assert len(found) == 6
    expected, notes = data_music.tune(2), found["b/ü c/tune002.mid"].notes
    assert np.array_equal(notes.onset, expected.onset)
    assert np.array_equal(notes.pitch, expected.pitch)
    assert notes.labels.styles == ("pop",)
    assert found["b/ü c/tune002.mid"].record["grid_error"][2] == 0
    assert summary.notes == sum(len(piece.notes) for piece in found.values())
    codec = MetricalCodec()
    pieces = [quantise(piece.notes)[0] for piece in found.values()]
    assert summary.tokens == sum(len(codec.encode(piece)) for piece in pieces)
    report = pathlib.Path(summary.report).read_text("utf-8").splitlines()
    assert report[0] == "file\treason\tdetail" and len(report) == 4
    assert any("duplicate of copy of tune000.MIDI" in line for line in report)
    assert str(summary).splitlines()[0] == "Dataset tunes 2.0.0: prepared"
    assert "6 of 6 songs" in str(summary)
    assert "1  fewer than 32 notes (--min-notes" in str(summary) and summary.report in str(summary)
    assert summary.missing == {"sections": 6} and "sections: 6 of 6" in str(summary)
    folder = epath.Path(summary.path)
    values = json.loads((folder / "summary.json").read_text())
    assert values["pieces"] == 6 and "path" not in values
    # The sizes of the default codec are measured on the way.
    file = cached_statistics.sizes_file(folder, "train", codec.fingerprint)
    sizes = cached_statistics.kept(file, Sizes, lambda: pytest.fail("not kept"))
    mine = [codec.sizes(p) for p, s in zip(pieces, found.values()) if s.split == "train"]
    assert all(map(np.array_equal, sizes, Sizes.of(mine)))


def test_what_no_grid_fits_is_left_out_or_kept_with_a_warning(midi, options, tmp_path):
    rng = np.random.default_rng(1)
    onset = np.sort(rng.integers(0, 200_000, 400))
    played = make_notes(onset, [300] * 400, rng.integers(40, 90, 400), [64] * 400, [0] * 400)
    files.write(played, tmp_path / "played.mid")
    sources = [str(midi), str(tmp_path / "played.mid")]
    summary = prepare(sources, options, progress=False)
    assert summary.skipped["no beat grid fits its notes"] == 1 and summary.off_grid == 0
    summary = prepare(sources, dataclasses.replace(options, off_grid="keep"), progress=False)
    assert "no beat grid fits its notes" not in summary.skipped and summary.off_grid == 1
    assert "no beat grid fits 1 pieces that were kept" in str(summary)
    assert summary.pieces == 7


def test_the_summary_says_what_the_grid_changed(options, tmp_path):
    rows = [(120 * i, 100, 60 + i % 5, 64, 0) for i in range(200)]
    # One twice, and one that is cut.
    rows += [(0, 100, 60, 64, 0), (0, 900, 75, 64, 0), (480, 600, 75, 64, 0)]
    files.write(make_notes(*zip(*rows)), tmp_path / "a.mid")
    summary = prepare([str(tmp_path / "a.mid")], options, progress=False)
    assert summary.losses == Losses(notes=203, duplicate=1, cut=1)
    assert "0.99% of notes (1 merged, 1 cut)" in str(summary)
    again = prepare([str(tmp_path / "a.mid")], options, progress=False)
    assert again.losses == summary.losses and not again.is_new


def test_markers_become_sections_of_the_piece(options, tmp_path):
    files.write(data_music.tune(1), tmp_path / "a.mid")
    played = mido.MidiFile(tmp_path / "a.mid")
    marks = [mido.MetaMessage("marker", text="Verse 1")]
    marks.append(mido.MetaMessage("marker", text="Guitar Solo", time=4 * 1920))
    played.tracks[0] = mido.MidiTrack([m for m in played.tracks[0] if m.type != "marker"])
    played.tracks.append(mido.MidiTrack(marks))
    played.save(tmp_path / "a.mid")
    summary = prepare([str(tmp_path / "a.mid")], options, progress=False)
    (piece,) = data_music.stored(summary).values()
    verse, bridge = (SECTIONS.index(name) for name in ("verse", "bridge"))
    assert piece.notes.labels.changes("section") == [(0, verse), (7680, bridge)]


def test_again_nothing_is_done_and_other_input_makes_another_version(midi, options):
    first = prepare([str(midi)], options, progress=False)
    before = sorted(os.walk(options.data_dir))
    again = prepare([str(midi)], dataclasses.replace(options, workers=3), progress=False)
    assert not again.is_new and sorted(os.walk(options.data_dir)) == before
    assert dataclasses.replace(again, is_new=True) == first
    assert "already prepared" in str(again)
    other = prepare([str(midi)], dataclasses.replace(options, min_notes=200), progress=False)
    assert other.version == "2.0.1" and other.is_new
    back = prepare([str(midi)], dataclasses.replace(options, workers=3), progress=False)
    assert (back.version, back.content) == ("2.0.2", first.content)
    assert catalog.versions("tunes", options.data_dir) == ["2.0.0", "2.0.1", "2.0.2"]
    assert catalog.open_dataset("tunes", options.data_dir).version == "2.0.2"
    assert catalog.open_dataset("tunes:2.0.1", options.data_dir).version == "2.0.1"
    assert sorted(os.listdir(options.data_dir + "/tunes")) == [".lock", "notes"]


def test_names_that_are_no_text(tmp_path, options):
    for i, name in enumerate((b"caf\xe9.mid", b"new\nline.mid", "漢字 \U0001f3b5.MID".encode())):
        files.write(data_music.tune(i), tmp_path / "in.mid")
        (tmp_path / "in").mkdir(exist_ok=True)
        os.rename(tmp_path / "in.mid", os.path.join(os.fsencode(tmp_path), b"in", name))
    (tmp_path / "in" / os.fsdecode(b"bad\xff\t.mid")).write_bytes(b"none")
    summary = prepare([str(tmp_path / "in")], options, progress=False)
    assert set(data_music.stored(summary)) == {
        "caf\ufffd.mid",
        "new\nline.mid",
        "漢字 \U0001f3b5.MID",
    }
    assert summary.skipped == {"cannot be read": 1}
    assert pathlib.Path(summary.report).read_bytes().count(b"\n") == 2


def test_transposed_versions_share_a_split(tmp_path, options):
    for i in range(12):
        notes = data_music.tune(i, bars=40)
        moved = np.where(notes.is_drum, notes.pitch, notes.pitch + 3)
        files.write(notes, tmp_path / "in" / f"{i}.mid")
        files.write(notes.replace(pitch=moved), tmp_path / "in" / f"{i}-moved.mid")
    summary = prepare([str(tmp_path / "in")], options, progress=False)
    assert (summary.pieces, summary.songs) == (24, 12)
    assert {"train", "validation"} <= set(summary.splits)
    where = {}
    for name, piece in data_music.stored(summary).items():
        number = name.split(".")[0].split("-")[0]
        where.setdefault(number, set()).add((piece.split, piece.notes.labels.song))
    assert all(len(places) == 1 for places in where.values())


def test_a_parser_that_crashes_or_hangs_costs_one_file(tmp_path, options, monkeypatch):
    for i, name in enumerate(("1good", "2crash", "3good", "4hang", "5good")):
        files.write(data_music.tune(i), tmp_path / "in" / f"{name}.mid")
    for name, mark in (("2crash", b"CRASH"), ("4hang", b"HANG!")):
        with open(tmp_path / "in" / f"{name}.mid", "ab") as file:
            file.write(mark)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import os, time
            import symusic
            real = symusic.Score
            class Score:
                @staticmethod
                def from_midi(data):
                    if data.endswith(b"CRASH"):
                        os.write(1, b"noise"); os.write(2, b"noise")
                        os.abort()
                    if data.endswith(b"HANG!"):
                        time.sleep(600)
                    return real.from_midi(data)
            symusic.Score = Score
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    options = dataclasses.replace(options, file_timeout=3.0)
    summary = prepare([str(tmp_path / "in")], options, progress=False)
    assert summary.skipped == {"the parser crashed": 1, "took too long": 1}
    assert summary.pieces == 3
    report = pathlib.Path(summary.report).read_text("utf-8")
    assert "2crash.mid\tthe parser crashed\t" in report
    assert "4hang.mid\ttook too long\tmore than 3 s" in report


def test_a_worker_that_cannot_start_says_why(midi, options, monkeypatch, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "symusic.py").write_text("")
    (tmp_path / "site" / "numpy.py").write_text("raise ImportError('a numpy that is none')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(RuntimeError, match="a numpy that is none"):
        list(workers.examine_files(find([str(midi)]), options))


def test_pieces_made_in_the_process(options):
    pieces = [data_music.tune(i, styles=("waltz",), song=f"song {i % 4}") for i in range(8)]
    options = dataclasses.replace(options, style="")
    summary = prepare_pieces(iter(pieces), options, total=8, progress=False)
    assert (summary.pieces, summary.songs, summary.styles) == (8, 4, ["waltz"])
    assert summary.grids == {"labels": 8} and summary.error_ms == 0
    again = prepare_pieces(iter(pieces), options, progress=False)
    assert not again.is_new and again.version == "2.0.0"
    other = prepare_pieces(iter(pieces[1:]), options, progress=False)
    assert other.version == "2.0.1"


@pytest.mark.parametrize(
    ("source", "change", "words"),
    [
        ("nowhere", {}, "does not exist"),
        ("nowhere/*.mid", {}, "does not exist"),
        ("empty", {}, "There is no music file in"),
        ("text", {}, "There is no music file in"),
        ("text/words.txt", {}, "is not a music file by its name"),
        ("bad", {}, r"None of the 2 files can be used: 2 cannot be read, such as a.mid: \S"),
        ("few", {}, r"1 fewer than 32 notes \(--min-notes .*such as a.mid"),
        ("bad", {"name": "No Name"}, "cannot be called 'No Name'"),
        ("bad", {"name": "../up"}, "cannot be called"),
        ("bad", {"validation": 0.6, "test": 0.5}, "add up to at most 1, not 0.6 and 0.5"),
        ("bad", {"validation": -0.1}, "validation must be"),
        ("bad", {"validation": 0.0, "test": 1.0, "keep_splits": True}, "Leave out --keep-splits"),
        ("bad", {"json_step": "32nd"}, "Set --json-step to 16th"),
        ("bad", {"workers": -1}, "workers must be"),
        ("bad", {"off_grid": "maybe"}, "skip or keep"),
        ("bad", {"where": "style"}, "Write each condition as FIELD=VALUES"),
        ("bad", {"manual_dir": "/tmp"}, "--manual-dir holds a named"),
        ("bad", {"data_dir": "bad/a.mid/data"}, "cannot be written to"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, options, monkeypatch, source, change, words):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "text", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "words.txt").write_text("words")
    for name in ("a.mid", "b.mid"):
        (tmp_path / "bad" / name).write_bytes(b"none")
    files.write(data_music.tune(50, bars=2), tmp_path / "few" / "a.mid")
    with pytest.raises(UserError, match=words):
        prepare([source], dataclasses.replace(options, **change), progress=False)
    assert catalog.versions("tunes", options.data_dir) == []


def test_no_pieces_are_a_sentence(options):
    with pytest.raises(UserError, match="no pieces to prepare"):
        prepare_pieces([], options, progress=False)


def test_a_pure_test_set_has_no_training_split(midi, options):
    options = dataclasses.replace(options, validation=0.0, test=1.0)
    summary = prepare([str(midi)], options, progress=False)
    assert summary.splits == {"test": 6} and "no training split" in str(summary)
    assert {piece.split for piece in data_music.stored(summary).values()} == {"test"}
    data = Data(dataset="tunes", data_dir=options.data_dir)
    with pytest.raises(UserError, match=r"no train split \(it has test\)"):
        Loader(data, MetricalCodec())


def test_scores_and_every_tune_of_a_book_become_pieces(tmp_path, options):
    folder = tmp_path / "scores"
    files.write(data_music.tune(1, bars=8), folder / "a.mxl")
    bars = ["CDEF GABc|", "cBAG FEDC|", "EGce dBGD|", "FAce gecA|"]
    book = "\n\n".join(
        f"X:{i}\nT:Tune {i}\nM:4/4\nL:1/8\nK:{'CGF'[i]}\n" + "".join(bars[i:] + bars[:i]) * 3
        for i in range(3)
    )
    (folder / "book.abc").write_text(book + "\n\nX:4\nT:Rests\nK:C\nz8|\n")
    (folder / "no.abc").write_bytes(b"\0none\xff")
    (folder / "page.xml").write_text("<html/>")
    tunes = [f"book.abc#{i}" for i in (1, 2, 3, 4)]
    assert [f.name for f in find([str(folder)])] == ["a.mxl", *tunes, "no.abc", "page.xml"]
    summary = prepare([str(folder)], options, progress=False)
    assert (summary.files, summary.pieces) == (7, 4)
    assert summary.skipped == {"cannot be read": 2, "holds no notes": 1}
    assert summary.grids == {"file": 4}
    assert set(data_music.stored(summary)) == {"a.mxl", *tunes[:3]}
    assert prepare([str(folder)], options, progress=False).is_new is False


@pytest.mark.quick
def test_sources_are_found_once_and_in_order(midi):
    everything = find([str(midi)])
    assert [f.name for f in everything] == sorted(f.name for f in everything)
    assert len(everything) == 9
    assert find([str(midi), str(midi / "tune000.mid")]) == everything
    assert len(find([str(midi / "**" / "tune*.mid")])) == 6
    assert [f.name for f in find([str(midi / "a" / "*.mid")])] == ["tune001.mid", "tune004.mid"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("No space left on device")],
)
def test_a_full_disk_is_a_sentence_and_leaves_nothing(midi, options, monkeypatch, error):
    def full(*_, **__):
        raise error

    monkeypatch.setattr(assembly, "write_shards", full)
    with pytest.raises(UserError, match="Free some space"):
        prepare([str(midi)], options, progress=False)
    assert [p.name for p in os.scandir(options.data_dir + "/tunes")] == [".lock"]


def test_two_preparations_of_one_dataset(midi, options, tmp_path):
    folder = tmp_path / "data" / "tunes"
    folder.mkdir(parents=True)
    lock = locks.held(folder / ".lock")
    with lock, pytest.raises(UserError, match="being prepared by another"):
        prepare([str(midi)], options, progress=False)
    assert prepare([str(midi)], options, progress=False).pieces == 6


def test_odd_files_are_read_or_skipped_with_a_reason(music, options):
    summary = prepare([str(music / "odd")], options, progress=False)
    assert summary.files == 119 == summary.pieces + sum(summary.skipped.values())
    assert summary.pieces >= 25
    assert "the parser crashed" not in summary.skipped
    assert "cannot be processed" not in summary.skipped
