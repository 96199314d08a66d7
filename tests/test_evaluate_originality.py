"""Originality: planted copies are found whatever was done to them, and new music is let through."""

import pathlib
import re

import data_music
import numpy as np
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.catalog import open_dataset
from jaxmusic._src.data.melodic_lines import MelodicLines
from jaxmusic._src.evaluate import copy_index, originality, surprise
from jaxmusic._src.evaluate.passages import passages
from jaxmusic._src.music.notes import make_notes

BAR = data_music.BAR
planted = data_music.planted


@pytest.fixture(scope="module")
def tunes():
    return [data_music.tune(seed, bars=40, low=45) for seed in range(12)]


@pytest.fixture(scope="module")
def training(tunes):
    return [copy_index.build(tunes, progress=False)]


@pytest.mark.parametrize(
    ("bars", "up", "stretch", "tracks"),
    [
        (8, 0, 1.0, (0,)),
        (8, 5, 1.1, (0, 1, 2)),
        (8, 3, 0.5, (0,)),
        (16, -4, 2.0, (0,)),
        (32, -4, 2.0, (0, 1, 2)),
        (32, 1, 1.1, (0,)),
    ],
)
def test_planted_copies_are_found(tunes, training, bars, up, stretch, tracks):
    piece = planted(data_music.tune(100, bars=80), tunes[7], bars, up, stretch, tracks)
    match = originality.find(training, piece)
    assert match.copied and match.piece == 7 and match.name == "piece 7"
    assert match.transposition == -up
    assert match.stretch == pytest.approx(1 / stretch, rel=0.01)
    assert match.here.bars[0] in (4, 5) and match.there.bars[0] in (6, 7)
    assert abs(match.there.bars[1] - (6 + bars)) <= 1
    assert match.notes >= 0.9 * bars * 6


def test_what_was_found_can_be_shown(tunes, training):
    piece = planted(data_music.tune(100), tunes[3], 8, up=2)
    match = originality.find(training, piece)
    for part, span in ((match.passage, match.here), (match.source, match.there)):
        assert part.onset[0] == 0 and part.end >= part.onset.max()
        assert span.end - span.start == pytest.approx(8 * BAR, abs=BAR)
    pitched = match.source.pitch[~match.source.is_drum].astype(int) + 2
    # By chance a note more of the host may have a partner, with a bar of its accompaniment.
    assert np.isin(match.passage.pitch[~match.passage.is_drum], pitched).mean() > 0.95
    assert match.seconds == pytest.approx((match.here.end - match.here.start) / 480 * 60 / 87)
    told = match.describe()
    assert re.match(r"bars 5-1[23] .* with bars 7-1[45] .* of piece 3,", told)
    assert "2 semitones above it" in told and "\n" not in told


def test_the_share_is_that_of_copied_notes(tunes, training):
    whole = originality.find(training, tunes[2])
    assert whole.share == 1 and whole.piece == 2 and whole.bars == 40
    half = originality.find(training, planted(data_music.tune(100, bars=32), tunes[2], 16))
    assert half.share == pytest.approx(0.5, abs=0.05)
    melody = planted(data_music.tune(100, bars=32), tunes[2], 16, tracks=(0,))
    assert originality.find(training, melody).share == pytest.approx(0.5 * 6 / 9, abs=0.05)


@pytest.mark.parametrize("drop", [0.05, 0.1])
def test_some_notes_may_be_missing(tunes, training, drop):
    piece = planted(data_music.tune(100, bars=40), tunes[5], 16, up=1, drop=drop)
    match = originality.find(training, piece)
    assert match.copied and match.piece == 5
    assert match.notes > 0.7 * (1 - drop) * 16 * 6


def test_new_music_is_let_through(training):
    found = [originality.find(training, data_music.tune(s, bars=40)) for s in range(200, 220)]
    assert not any(m.copied for m in found)
    assert all(m.share == 0 for m in found)


def test_what_all_music_shares_is_no_copy():
    """A bass on the beat, repeated chords and scales, in many pieces and in a new one."""
    scale = [60, 62, 64, 65, 67, 69, 71, 72, 71, 69, 67, 65, 64, 62]

    def piece(seed):
        tune = data_music.tune(seed, bars=32, low=60)
        at = np.arange(32 * 8) * 240
        pitch = np.resize(scale, len(at))
        beat = np.arange(32 * 4) * 480
        return make_notes(
            np.concatenate([tune.onset, at, beat]),
            np.concatenate([tune.duration, np.full(len(at), 240), np.full(len(beat), 480)]),
            np.concatenate([tune.pitch, pitch, np.full(len(beat), 36)]),
            np.concatenate([tune.velocity, np.full(len(at) + len(beat), 80)]),
            np.concatenate([tune.track, np.full(len(at), 3), np.full(len(beat), 4)]),
            program=[73, 0, 0, 0, 33],
            drum=[False, False, True, False, False],
        )

    training = [copy_index.build([piece(s) for s in range(10)], progress=False)]
    match = originality.find(training, piece(50))
    long = max(len(p.partners) for p in passages(training[0], MelodicLines.of(piece(50))))
    assert long > 100 and 0 < match.telling < originality.COPIED / 2


def test_pieces_without_lines_share_nothing(tunes, training):
    drums = make_notes(
        np.arange(64) * 240, [60] * 64, [36, 38] * 32, [90] * 64, [0] * 64, drum=[True]
    )
    one = make_notes([0], [480], [60], [90], [0])
    none = make_notes([], [], [], [], [])
    for piece in (drums, one, none):
        match = originality.find(training, piece)
        assert (match.notes, match.telling, match.share, match.bars) == (0, 0, 0, 0)
        assert match.piece == -1 and match.passage is None and not match.copied
        assert match.describe() == "No passage is shared with the training music."
    empty = copy_index.build([], progress=False)
    silent = copy_index.build([drums, one, none], progress=False)
    for music in ([], [empty], [silent], [empty, silent]):
        assert originality.find(music, tunes[0]).notes == 0
        assert originality.find(music, drums).notes == 0
    assert originality.find([empty, *training], tunes[1]).piece == 1


def test_the_longest_is_that_of_the_definition(tunes, training):
    """Every pair of a note and its partner lies on the one line that `Way` says."""
    piece = planted(data_music.tune(100), tunes[3], 8, up=2, stretch=1.1)
    lines, index = MelodicLines.of(piece), training[0]
    found = max(passages(index, lines), key=lambda p: len(p.partners))
    way = found.way
    steps, pitches = (getattr(index.columns, n)[found.partners] for n in ("step", "pitch"))
    mine = slice(found.start, found.stop)
    moved = np.rint(way.stretch * lines.step[mine] + way.shift)
    near = np.abs(moved[:, None] - steps) <= 1
    assert (near & (lines.pitch[mine][:, None] + way.transposition == pitches)).any(0).all()


def test_surprise_is_that_of_a_markov_model():
    rng = np.random.default_rng(0)
    notes = make_notes(
        np.arange(400) * 240, [240] * 400, rng.integers(60, 63, 400), [90] * 400, [0] * 400
    )
    lines = MelodicLines.of(notes)
    found = surprise.grams(lines)
    music, nothing = surprise.Counts.of(found), surprise.Counts.of(found[:, :0])
    bits = surprise.bits(found, music, nothing)
    assert (bits[:2] == 0).all()
    # The times are even, so that an event is an interval.
    events = np.diff(lines.pitch)[1:].tolist()
    i = 100
    p = 1 / surprise.EVENTS
    for k in range(surprise.ORDER + 1):
        context, gram = events[i - k : i], events[i - k : i + 1]
        places = range(len(events))
        n = sum(events[j - k : j + 1] == gram for j in places if j >= k)
        t = sum(events[j - k : j] == context for j in places if j >= k)
        p = (n + surprise.PRIOR * p) / (t + surprise.PRIOR)
    # A context that ends the piece is counted though nothing follows it.
    assert bits[i + 2] == pytest.approx(-np.log2(p), abs=0.1)
    unheard = surprise.bits(found, music, music)
    assert (unheard[2:] == surprise.MOST).all()


def test_an_index_is_kept_beside_the_shards(starter_data):
    first = copy_index.read("starter", str(starter_data), progress=False)
    folder = open_dataset("starter", str(starter_data)).path / "copies"
    folder = pathlib.Path(folder)
    kept = {p: p.stat().st_mtime_ns for p in folder.rglob("*.npy")}
    assert len(kept) == len(copy_index.Columns._fields)
    second = copy_index.read("starter", str(starter_data), progress=False)
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.npy")} == kept
    assert isinstance(second[0].columns.step, np.memmap)
    piece = second[0].pieces[3]
    found = [originality.find(index, piece) for index in (first, second)]
    assert found[0].describe() == found[1].describe()
    assert found[1].piece == 3 and found[1].name == second[0].name(3) != "piece 3"
    # A damaged index is built anew.
    next(iter(kept)).write_bytes(b"")
    third = copy_index.read("starter", str(starter_data), progress=False)
    assert originality.find(third, piece).describe() == found[0].describe()
    assert {p.name for p in folder.iterdir()} == {f"{copy_index.VERSION}-train"}
    with pytest.raises(UserError, match="no dataset 'nothing'"):
        copy_index.read("nothing", str(starter_data))
