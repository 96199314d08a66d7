"""Composing with --originality: copies are thrown away, original pieces are written."""

import data_music
import numpy as np
import pytest

from jaxmusic import config
from jaxmusic._src import originals
from jaxmusic._src.commands import cli
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.builder import prepare_pieces
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.generate.composition import Composition
from jaxmusic._src.model import MusicModel
from jaxmusic._src.music.notes import make_notes
from jaxmusic._src.runs import weights


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with `starter`: twelve tunes, all but two of them to train on."""
    folder = tmp_path_factory.mktemp("tunes")
    tunes = [data_music.tune(seed, bars=40, low=45, song=f"song {seed}") for seed in range(12)]
    options = config.Prepare(name="starter", data_dir=str(folder), validation=0.1, test=0.0)
    prepare_pieces(iter(tunes), options, 12, progress=False)
    return folder


@pytest.fixture(scope="module")
def training(data):
    return originals.copy_index.read("starter", str(data), progress=False)


def copies(training, piece, host=100):
    """A new tune that contains 16 bars of a training piece, a third higher."""
    return data_music.planted(data_music.tune(host, bars=40), training[0].pieces[piece], 16, up=4)


def composition(notes, written=None):
    return Composition(notes, np.zeros(0, np.int32), 40, 0.0, written)


@pytest.fixture
def composed(monkeypatch):
    """Makes the model compose what a test says of each seed, and keeps the seeds asked for."""
    seeds = []

    def say(pieces_of):
        def compose(self, controls, count, **options):
            seeds.append(controls.seed)
            return [composition(notes) for notes in pieces_of(controls.seed)[:count]]

        monkeypatch.setattr(MusicModel, "compose", compose)
        return seeds

    return say


def generate(*options):
    with pytest.raises(SystemExit) as left:
        cli.main(["generate", *map(str, options)])
    return left.value.code


def same_notes(a, b):
    return np.array_equal(a.onset, b.onset) and np.array_equal(a.pitch, b.pitch)


def test_a_planted_copy_is_thrown_away_and_the_next_seed_written(
    toy_run, data, training, composed, tmp_path, capsys
):
    new = data_music.tune(300, bars=40)
    seeds = composed(lambda seed: [copies(training, 2, 100 + seed) if seed < 9 else new])
    out = tmp_path / "song.mid"
    options = ("--model", toy_run, "--data-dir", data, "--seed", 7, "--out", out)
    assert generate(*options, "--originality", 28) == 0
    assert seeds == [7, 8, 9]
    assert same_notes(read_notes(out), new)
    shown = capsys.readouterr()
    told = [line for line in shown.err.splitlines() if "threw away" in line]
    assert [line[:33] for line in told] == [f"jaxmusic: threw away seed {n}: bars" for n in (7, 8)]
    assert training[0].name(2) in told[0] and "4 semitones above it" in told[0]
    assert shown.out == f"wrote {out}\n"


def test_where_all_tries_are_copies_nothing_is_written(
    toy_run, data, training, composed, tmp_path, capsys
):
    seeds = composed(lambda seed: [copies(training, 3)])
    out = tmp_path / "song.mid"
    options = ("--model", toy_run, "--data-dir", data, "--out", out, "--originality", 28)
    assert generate(*options, "--seed", 0, "--png", tmp_path / "song.png") == 2
    assert seeds == list(range(originals.TRIES)) and not list(tmp_path.iterdir())
    last = capsys.readouterr().err.splitlines()[-1]
    assert "piece 1 was not written" in last and "5" in last and "28" in last


def test_pieces_are_judged_one_by_one(toy_run, data, training, composed, tmp_path, capsys):
    """Piece 1 is new at once, piece 2 with the next seed, piece 3 never."""
    new = [data_music.tune(300 + i, bars=40) for i in range(3)]
    copy = copies(training, 1)
    seeds = composed(lambda seed: [new[0], new[1], copy] if seed else [new[2], copy, copy])
    options = ("--model", toy_run, "--data-dir", data, "--out", tmp_path / "song.mid")
    assert generate(*options, "--seed", 0, "--count", 3, "--originality", 28) == 2
    assert seeds == [0, 1, 2, 3, 4]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["song-1.mid", "song-2.mid"]
    assert same_notes(read_notes(tmp_path / "song-1.mid"), new[2])
    assert same_notes(read_notes(tmp_path / "song-2.mid"), new[1])
    shown = capsys.readouterr().err.splitlines()
    assert sum("threw away piece 2 of seed 0" in line for line in shown) == 1
    assert "piece 3 was not written" in shown[-1]


def test_the_passage_of_just_so_many_notes_is_refused(training):
    piece = composition(copies(training, 4))
    telling = originals.judge(piece, training).telling
    for limit, kept in ((int(telling), False), (int(telling) + 1, True)):
        assert (originals.compose(lambda _: [piece], training, limit) != [None]) == kept
    with pytest.raises(UserError, match="above 0, not 0"):
        originals.compose(lambda _: [piece], training, 0)
    for nothing in (make_notes([], [], [], [], []), make_notes([0], [480], [60], [90], [0])):
        assert originals.compose(lambda _, n=nothing: [composition(n)], training, 1) != [None]
    assert originals.compose(lambda _: [], training, 1) == []


def test_what_was_given_is_no_copy(training):
    """A training piece is given, in other ticks; a new track, or what it copies, is written."""
    source = training[0].pieces[5]
    for melody, copied in ((data_music.tune(300, bars=40), False), (training[0].pieces[6], True)):
        rows = melody.track == 0
        names = ("onset", "duration", "pitch", "velocity")
        columns = [np.concatenate([getattr(source, n), getattr(melody, n)[rows]]) for n in names]
        track = np.concatenate([source.track, np.full(rows.sum(), 3)])
        piece = make_notes(
            *(columns[0] // 5, columns[1] // 5, *columns[2:], track),
            program=[*source.program, 40],
            drum=[*source.drum, False],
            ticks_per_beat=96,
        )
        judged = originals.judge(composition(piece, piece.track == 3), training)
        assert judged.copied == copied and (not copied or judged.piece == 6)
        assert originals.judge(composition(piece), training).copied


def test_a_file_needs_the_folder_of_its_training_music(toy_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "toy.safetensors"
    weights.export(toy_run, file)
    assert generate("--model", file, "--originality", 28, "--out", tmp_path / "song.mid") == 2
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 1 and "--data-dir" in shown[0] and "starter" in shown[0]
    assert generate("--model", toy_run, "--originality", -3, "--out", tmp_path / "song.mid") == 2
    assert "originality must be" in capsys.readouterr().err
