"""Named datasets: downloading, labels, splits, and the ways to read them."""

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import json
import logging
import os
import pathlib
import shutil
import tarfile
import tempfile
import threading
import zipfile

import data_music
import numpy as np
import pytest

from jaxmusic._src.commands import cli
from jaxmusic._src.core import locks
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import catalog, dataset_labels, datasets, downloading, tfds_builders
from jaxmusic._src.data.builder import prepare
from jaxmusic._src.data.downloading import Archive
from jaxmusic._src.data.sources import NOTHING, MusicFile, find
from jaxmusic._src.formats import files
from jaxmusic._src.formats.midi import read_notes
from jaxmusic.config import Prepare


@pytest.fixture
def options(tmp_path):
    return Prepare(data_dir=str(tmp_path / "data"), workers=1)


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which it is served."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.path.endswith("broken.zip"):  # breaks off in the middle
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"half")
            else:
                super().do_GET()

    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        serve = functools.partial(http_server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()


def chorales(folder, count=9):
    """Files as those of jsb_chorales, which say 100 ticks for a quarter of 120."""
    for i in range(count):
        place = ("train", "valid", "test")[i % 3] if i < 6 else "train"
        notes = data_music.tune(i, drums=False)
        quarter = dict(onset=notes.onset // 4, duration=notes.duration // 4, end=notes.end // 4)
        written = notes.replace(**quarter, ticks_per_beat=100)
        files.write(written, folder / "JSB Chorales" / place / f"{i}.mid")
    return folder


def packed(folder, path):
    with zipfile.ZipFile(path, "w") as out:
        for file in sorted(folder.rglob("*.mid")):
            out.write(file, file.relative_to(folder))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def at(monkeypatch, name, archive):
    known = dataclasses.replace(datasets.DATASETS[name], archive=archive)
    monkeypatch.setitem(datasets.DATASETS, name, known)


def test_a_dataset_is_downloaded_once_and_prepared(server, options, tmp_path, monkeypatch, capsys):
    folder, url = server
    sha256 = packed(chorales(tmp_path / "music"), folder / "jsb.zip")
    at(monkeypatch, "jsb_chorales", Archive(f"{url}/jsb.zip", sha256))
    summary = prepare(["jsb_chorales"], options)
    said = capsys.readouterr()
    assert "licence: none stated" in said.out + said.err
    assert (summary.name, summary.styles) == ("jsb_chorales", ["baroque", "hymn"])
    found = data_music.stored(summary)
    assert len(found) == 9
    for name, piece in found.items():
        assert piece.split == {"valid": "validation"}.get(name.split("/")[0], name.split("/")[0])
    first = found["train/0.mid"].notes
    assert np.array_equal(first.onset, data_music.tune(0, drums=False).onset)
    values = json.loads((pathlib.Path(summary.path) / "summary.json").read_text())
    assert values["licence"].startswith("none stated") and "ICML 2012" in values["citation"]

    (folder / "jsb.zip").unlink()  # what is there is not downloaded again
    again = prepare(["jsb_chorales"], options, progress=False)
    assert not again.is_new and "licence" in str(again)
    by_hand = dataclasses.replace(
        options, data_dir=str(tmp_path / "other"), manual_dir=str(tmp_path / "music")
    )
    assert prepare(["jsb_chorales"], by_hand, progress=False).content == summary.content


@pytest.fixture
def twins(tmp_path):
    """Chorales of which two are another's twins, transposed, and one is a copy."""
    folder = chorales(tmp_path / "m") / "JSB Chorales"
    notes = read_notes(folder / "test" / "2.mid")
    for place in ("train", "valid"):
        files.write(notes.replace(pitch=notes.pitch + 2), folder / place / "twin.mid")
    shutil.copy(folder / "train" / "0.mid", folder / "train" / "copy.mid")
    return str(tmp_path / "m")


@pytest.mark.parametrize("keep", [False, True])
def test_official_splits_lose_twins_and_copies_or_are_kept_whole(twins, options, keep):
    options = dataclasses.replace(options, manual_dir=twins, keep_splits=keep)
    summary = prepare(["jsb_chorales"], options, progress=False)
    whole = {"train": 7, "validation": 3, "test": 2}
    assert summary.splits == (whole if keep else {"train": 5, "validation": 2, "test": 2})
    assert sum(summary.skipped.values()) == summary.left_split == (0 if keep else 3)
    assert summary.kept_twins == (2 if keep else 0)
    assert ("--keep-splits keeps" in str(summary)) is not keep
    assert ("2 pieces are near-duplicates" in str(summary)) is keep
    if not keep:
        report = pathlib.Path(summary.report).read_text()
        assert report.count("test piece\tof test/2.mid") == 1 and "copy of another" in report
    assert not prepare(["jsb_chorales"], options, progress=False).is_new


def test_with_nothing_to_train_on_official_splits_do_not_count(twins, options):
    options = dataclasses.replace(options, manual_dir=twins, validation=0.0, test=1.0)
    summary = prepare(["jsb_chorales"], options, progress=False)
    assert summary.splits == {"test": 10} and summary.left_split == 0


def rolls(folder, name="Jsb16thSeparated.json"):
    """Piano rolls of four voices in JSON: two pieces to train on, one of each other split."""
    rng = np.random.default_rng(0)
    made = [rng.integers(40, 80, (160, 4)).tolist() for _ in range(4)]
    (folder / name).write_text(
        json.dumps({"train": made[:2], "valid": made[2:3], "test": made[3:]})
    )
    return folder / name


def test_piano_rolls_in_json_keep_their_splits(options, tmp_path):
    summary = prepare([str(rolls(tmp_path))], options, progress=False)
    assert summary.splits == {"train": 2, "validation": 1, "test": 1}
    assert set(data_music.stored(summary)) == {
        f"Jsb16thSeparated.json#{piece}" for piece in ("train1", "train2", "valid1", "test1")
    }
    files.write(data_music.tune(0), tmp_path / "a.mid")
    assert [f.name for f in find([str(tmp_path)])] == ["a.mid"]  # other JSON lies in folders
    assert len(find([str(tmp_path / "*.json")])) == 4


@pytest.mark.parametrize(("step", "seconds"), [("16th", 20), ("quarter", 80)])
def test_the_step_of_piano_rolls_is_told_by_name_or_option(options, tmp_path, step, seconds):
    path = str(rolls(tmp_path, "chorales.json"))
    with pytest.raises(UserError, match="--json-step"):
        prepare([path], options, progress=False)
    options = dataclasses.replace(options, json_step=step)
    summary = prepare([path], options, progress=False)
    assert summary.hours * 3600 == pytest.approx(4 * seconds, rel=0.05)


@pytest.mark.parametrize(
    ("file", "sha256", "words"),
    [
        ("none.zip", None, "cannot be downloaded .HTTP code: 404.*when the network is up"),
        ("broken.zip", None, "cannot be downloaded .*when the network is up"),
        ("bad.zip", None, "cannot be unpacked .*delete"),
        ("bad.zip", "0" * 64, "another checksum"),
        ("outside.tar.gz", None, "cannot be unpacked"),
    ],
)
def test_downloads_that_fail(server, options, tmp_path, monkeypatch, file, sha256, words):
    folder, url = server
    (folder / "bad.zip").write_bytes(b"PK no archive")
    with tarfile.open(folder / "outside.tar.gz", "w:gz") as out:
        entry = tarfile.TarInfo("../outside.mid")
        entry.size = 4
        out.addfile(entry, io.BytesIO(b"evil"))
    at(monkeypatch, "lakh_full", Archive(f"{url}/{file}", sha256))
    with pytest.raises(UserError, match=words):
        prepare(["lakh_full"], options, progress=False)
    assert catalog.versions("lakh_full", options.data_dir) == []
    left = [p.name for p in (pathlib.Path(options.data_dir) / "downloads/lakh_full").iterdir()]
    assert "unpacked" not in left
    assert not any("unpacking" in name or "tmp" in name for name in left)
    assert not list(tmp_path.rglob("outside.mid"))


def test_what_a_killed_download_left_is_cleared_away(server, tmp_path):
    folder, url = server
    packed(chorales(tmp_path / "music", 1), folder / "a.zip")
    home = tmp_path / "downloads" / "jsb_chorales"
    (home / ".unpacking-1").mkdir(parents=True)
    (home / ".unpacking-1" / "half").write_text("half")
    (home / "tmp0123").write_text("half")
    downloading.fetch("jsb_chorales", Archive(f"{url}/a.zip"), str(tmp_path), progress=False)
    names = {p.name for p in home.iterdir()}
    assert {"unpacked", ".lock"} < names
    assert not any("unpacking" in name or "tmp" in name for name in names)


def test_a_full_disk_while_unpacking_leaves_nothing(server, options, tmp_path, monkeypatch):
    folder, url = server
    packed(chorales(tmp_path / "music", 1), folder / "a.zip")
    at(monkeypatch, "jsb_chorales", Archive(f"{url}/a.zip"))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="Free some space"):
        patch.setattr(zipfile.ZipFile, "extract", full)
        prepare(["jsb_chorales"], options, progress=False)
    (folder / "a.zip").unlink()  # the archive was whole and is kept
    assert prepare(["jsb_chorales"], options, progress=False).pieces == 1


def test_two_downloads_at_once(tmp_path):
    home = tmp_path / "downloads" / "x"
    home.mkdir(parents=True)
    archive = Archive("http://127.0.0.1:9/a.zip")
    with locks.held(home / ".lock"), pytest.raises(UserError, match="being downloaded by"):
        downloading.fetch("x", archive, str(tmp_path), progress=False)


@pytest.mark.parametrize(
    ("sources", "manual_dir", "words"),
    [
        (["pop909", "more"], "", r"prepared alone: .* as \./pop909"),
        (["pop909"], "/none", "manual_dir /none is no folder"),
        (["mutopia"], "", "mutopia cannot be downloaded as a whole"),
        (["pop909"], "music", "holds nothing of pop909"),
    ],
)
def test_requests_that_make_no_sense(options, tmp_path, monkeypatch, sources, manual_dir, words):
    data_music.folder(tmp_path / "music", 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        prepare(sources, dataclasses.replace(options, manual_dir=manual_dir), progress=False)


def test_a_folder_that_is_called_like_a_dataset(options, tmp_path, monkeypatch):
    data_music.folder(tmp_path / "pop909", 2)
    monkeypatch.chdir(tmp_path)
    assert datasets.named(["pop909"]) == "pop909" and datasets.named(["./pop909"]) == ""
    assert prepare(["./pop909"], options, progress=False).name == "music"


def test_a_licence_without_commercial_use_is_said_aloud(options, tmp_path, caplog):
    files.write(data_music.tune(1), tmp_path / "m/2004/a.midi")
    files.write(data_music.tune(2), tmp_path / "m/2004/b.midi")
    table = "midi_filename,split\n2004/a.midi,train\n2004/b.midi,test\n"
    (tmp_path / "m/maestro-v3.0.0.csv").write_text(table)
    options = dataclasses.replace(options, manual_dir=str(tmp_path / "m"))
    with caplog.at_level(logging.WARNING):
        summary = prepare(["maestro"], options, progress=False)
    assert "(CC BY-NC-SA 4.0) forbids commercial use" in caplog.text
    assert "FORBIDS COMMERCIAL USE" in str(summary)
    assert summary.splits == {"train": 1, "test": 1} and summary.styles == ["classical"]


def test_every_named_dataset_says_where_it_is_from_as_help_and_page_do():
    page = (pathlib.Path(__file__).parents[1] / "docs" / "datasets.md").read_text()
    for name, known in datasets.DATASETS.items():
        assert catalog.check_name(name) and known.citation and known.homepage.startswith("http")
        assert (known.archive is None) == bool(known.hint)
        assert not known.archive or len(known.archive.sha256 or "0" * 64) == 64
        assert name in cli.COMMANDS["prepare"].__doc__
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert known.licence in row and ("no commercial use" in row) == (not known.commercial)
    assert {n for n, known in datasets.DATASETS.items() if not known.commercial} == {"maestro"}


def file(name, known=NOTHING):
    return MusicFile(f"/x/{name}", name, 1, 1, known)


def test_labels_of_tunes_and_of_folders():
    names = ("reelsa-c12.mid", "jigs7.mid", "hpps65.mid", "slip1.mid", "ashover3.mid")
    known = dataset_labels.nottingham(pathlib.Path())
    styles = [known(file(name)).styles[1] for name in names]
    assert styles == ["reel", "jig", "hornpipe", "slip jig", "ashover"]
    found = dataset_labels.from_folders([file("Rock/a/b.mid"), file("c.mid")])
    assert [f.known.styles for f in found] == [("rock",), ()]


def test_a_table_of_labels(options, tmp_path):
    for i in range(4):
        files.write(data_music.tune(i), tmp_path / "in" / ("Rock", "Jazz")[i % 2] / f"{i}.mid")
    table = tmp_path / "labels.csv"
    table.write_text(
        "path,style,song,split\nRock/0.mid,Pop; Ballad,one,test\n./Jazz/1.mid,,two,\n"
        "Jazz/gone.mid,x,,\nRock/2.mid,pop,one\n"
    )
    changed = dataclasses.replace(options, labels=str(table), style_from_folders=True, style="all")
    summary = prepare([str(tmp_path / "in")], changed, progress=False)
    assert summary.unknown_labels == 1 and "1 rows of the labels" in str(summary)
    assert summary.skipped == {"near-duplicate of a validation or test piece": 1}
    found = data_music.stored(summary)
    assert {name: piece.notes.labels.styles for name, piece in found.items()} == {
        "Rock/0.mid": ("rock", "pop", "ballad", "all"),
        "Jazz/1.mid": ("jazz", "all"),
        "Jazz/3.mid": ("jazz", "all"),
    }
    assert [name for name, piece in found.items() if piece.split == "test"] == ["Rock/0.mid"]
    assert {piece.notes.labels.song for piece in found.values()} > {"one", "two"}
    assert not prepare([str(tmp_path / "in")], changed, progress=False).is_new
    table.write_text("path,style\nRock/0.mid,metal\n")
    assert prepare([str(tmp_path / "in")], changed, progress=False).styles[-1] == "rock"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be opened: No such file"),
        (b"file,style\na,b\n", "has no column path"),
        (b"", "has no column path"),
        (b"path,style,split\na.mid,pop,dev\n", "into the split 'dev'"),
        (b"path,style\n\xff\xfe,\n", "no CSV file in UTF-8"),
    ],
)
def test_tables_that_are_wrong(tmp_path, text, words):
    if text is not None:
        (tmp_path / "l.csv").write_bytes(text)
    with pytest.raises(UserError, match=words):
        dataset_labels.from_csv(str(tmp_path / "l.csv"), [file("a.mid")])


def test_pieces_are_selected_by_where(options, tmp_path):
    for i in range(4):
        files.write(data_music.tune(i, drums=i % 2 == 0), tmp_path / "in" / f"{i}.mid")
    changed = dataclasses.replace(options, where="has=drums tempo=100..101")
    summary = prepare([str(tmp_path / "in")], changed, progress=False)
    assert (summary.pieces, summary.skipped) == (1, {"not selected": 3})
    assert "does not match has=drums tempo=100..101" in pathlib.Path(summary.report).read_text()


def pop_song(folder, number, beats_at, notes=None):
    notes = notes or data_music.tune(int(number), drums=False)
    files.write(notes, folder / number / f"{number}.mid")
    files.write(notes, folder / number / "versions" / f"{number}-v1.mid")
    lines = [f"{t} {float(i % 2 == 0)} {float(i % 4 == 0)}" for i, t in enumerate(beats_at)]
    (folder / number / "beat_midi.txt").write_text("\n".join(lines))
    (folder / number / "chord_midi.txt").write_text("0.0\t4.0\tC:maj\n4.0\t8.0\tA:min7\n")
    (folder / number / "key_audio.txt").write_text("1.5\t30.0\tGb:maj\n")


def test_pop909_gives_beats_chords_and_keys(options, tmp_path):
    quarter = 60 / 101
    good = np.arange(70) * quarter
    pop_song(tmp_path / "POP909", "001", good)
    pop_song(tmp_path / "POP909", "002", np.arange(70) * 0.577 + 0.213)  # other beats than its own
    pop_song(tmp_path / "POP909", "003", [3.0, 2.0, 1.0])
    pop_song(tmp_path / "POP909", "004", good)
    (tmp_path / "POP909/004/chord_midi.txt").write_text("no chords")
    options = dataclasses.replace(options, manual_dir=str(tmp_path))
    summary = prepare(["pop909"], options, progress=False)
    assert (summary.pieces, summary.refused, summary.grids["labels"]) == (3, 2, 1)
    assert summary.skipped == {"its labels cannot be read": 1}
    assert "labels of 2 pieces fit worse" in str(summary)
    found = data_music.stored(summary)
    labels = found["001/001.mid"].notes.labels
    assert labels.styles == ("pop",) and found["001/001.mid"].record["grid_source"] == b"labels"
    assert labels.key_tick.tolist() == [0] and labels.key.tolist() == [6]
    # Chord changes after 0, 4 and 8 seconds, at 101 quarters a minute.
    assert labels.chord.tolist()[:2] == [0, 4 * 12 + 9]
    expected = np.rint(np.array([0, 4, 8]) / quarter * 480)
    assert np.abs(labels.chord_tick - expected).max() <= 2
    assert found["002/002.mid"].record["grid_source"] in (b"file", b"estimate")
    # Labels are part of what a dataset is made from.
    (tmp_path / "POP909/001/key_audio.txt").write_text("0\t30.0\tD:min\n")
    assert prepare(["pop909"], options, progress=False).version.endswith(".0.1")


def test_through_tfds_the_same_records_are_read(options, tmp_path):
    import tensorflow_datasets as tfds

    chorales(tmp_path / "m")
    assert "jaxmusic_jsb_chorales" in tfds_builders.register()
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "m")
    source = tfds.data_source(
        "jaxmusic_jsb_chorales",
        data_dir=options.data_dir,
        download_and_prepare_kwargs={"download_config": config},
    )
    assert [len(source[split]) for split in ("train", "validation", "test")] == [5, 2, 2]
    options = dataclasses.replace(options, manual_dir=str(tmp_path / "m"))
    same = prepare(["jsb_chorales"], options, progress=False)
    assert not same.is_new
    mine = data_music.stored(same)
    for other in tfds.data_source("jaxmusic_jsb_chorales", data_dir=options.data_dir, split="test"):
        assert np.array_equal(mine[other["path"].decode()].notes.pitch, other["pitch"])


@contextlib.contextmanager
def unprivileged():
    """Runs as a user who may not read everything, also where the tests are run by root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_may_not_be_read():
    with tempfile.TemporaryDirectory() as folder:
        music = data_music.folder(pathlib.Path(folder) / "in", 2)
        os.chmod(folder, 0o755)
        (music / "a").chmod(0)
        words = "may not be read: change its permissions"
        with unprivileged(), pytest.raises(UserError, match=words):
            find([str(music)])
        (music / "a").chmod(0o700)
        assert len(find([str(music)])) == 2


@pytest.mark.parametrize(
    ("name", "files", "styles"),
    [("groove", 1021, {"funk", "fill"}), ("mutopia", 441, {"baroque", "hymn"})],
)
def test_real_datasets(music, options, name, files, styles):
    options = dataclasses.replace(options, manual_dir=str(music / name))
    found = datasets.files_of(name, options, progress=False)
    assert len(found) == files and all(f.known.styles for f in found)
    assert styles < {style for f in found for style in f.known.styles}
    if name == "groove":
        assert sum(f.known.split == "validation" for f in found) == 124


def test_real_pop909_songs(music, options, tmp_path):
    for number in ("017", "018", "101", "103", "001"):
        shutil.copytree(music / "pop909" / "POP909" / number, tmp_path / "P" / number)
    options = dataclasses.replace(options, manual_dir=str(tmp_path / "P"))
    summary = prepare(["pop909"], options, progress=False)
    assert summary.songs == 3 and summary.grids == {"labels": summary.pieces}
    assert summary.error_ms < 6 and summary.error_ms < summary.file_error_ms
    labels = data_music.stored(summary)["001/001.mid"].notes.labels
    assert len(labels.chord) > 50 and labels.key.tolist() == [6]
