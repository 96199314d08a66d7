"""Repetition: likeness of bars at a distance, runs of one bar."""

import numpy as np
import pytest

from jaxmusic.evaluate import bars
from jaxmusic.formats.annotations import read_beats
from jaxmusic.formats.midi import read_notes
from jaxmusic.music import beats
from jaxmusic.music.notes import make_notes

pytestmark = pytest.mark.quick
BAR = 1920


def piece(contents, programs=(0,), drums=(False,), bars=None):
    """A piece of 4/4 bars; a bar is a list of (sixteenth, pitch) or (sixteenth, pitch, track)."""
    rows = [
        (BAR * bar + 120 * note[0], 120, note[1], 90, note[2] if len(note) > 2 else 0)
        for bar, notes in enumerate(contents)
        for note in notes
    ]
    columns = zip(*rows) if rows else ([],) * 5
    end = BAR * (bars or len(contents))
    return make_notes(*columns, program=programs, drum=drums, end=end)


A, B = [(0, 60), (4, 64), (8, 67)], [(0, 62), (4, 65)]


def test_likeness_is_the_mean_jaccard_index_of_what_begins_in_two_bars():
    # Bars 0 and 1 share one of five notes, bars 1 and 2 none, bars 0 and 2 two of three.
    found = bars.similarity(piece([A, [(0, 60), (4, 65), (8, 69)], A[1:]]), lags=(1, 2, 3))
    assert found == {1: pytest.approx((1 / 5 + 0) / 2), 2: pytest.approx(2 / 3), 3: None}


def test_a_form_shows_at_the_lag_of_its_length():
    found = bars.similarity(piece([A, B, A, B, A, B]))
    assert [found[lag] for lag in (1, 2, 3, 4)] == [0, 1, 0, 1]
    assert tuple(found) == tuple(range(1, 17))
    assert found[6] is None


def test_the_same_pitch_by_another_instrument_is_alike_but_a_drum_is_not():
    programs, drums = (0, 33, 0), (False, False, True)
    found = bars.similarity(
        piece([[(0, 40, 0)], [(0, 40, 1)], [(0, 40, 2)]], programs, drums), lags=(1, 2)
    )
    assert found == {1: 0.5, 2: 0.0}


def test_two_silent_bars_are_not_compared_and_one_is_like_no_other():
    assert bars.similarity(piece([A, [], [], A]), lags=(1,))[1] == 0
    assert bars.similarity(piece([A, [], [], A]), lags=(3,))[3] == 1


@pytest.mark.parametrize(
    ("contents", "run"),
    [
        ([], 0),
        ([A], 1),
        ([A, B, A, B], 1),
        ([B, A, A, A, B], 3),
        ([A, A, [], A, A, A], 3),
        ([[], [], []], 0),
    ],
)
def test_the_longest_run_of_one_bar(contents, run):
    assert bars.longest_run(piece(contents, bars=max(len(contents), 1))) == run


def test_another_instrument_makes_another_bar():
    found = bars.longest_run(piece([[(0, 60, 0)], [(0, 60, 1)]], (0, 33), (False, False)))
    assert found == 1


def test_length_and_loudness_do_not_make_another_bar():
    notes = piece([A] * 4)
    notes = notes.replace(
        duration=np.arange(60, 60 + len(notes), dtype=np.int32),
        velocity=np.arange(50, 50 + len(notes), dtype=np.uint8),
    )
    assert bars.longest_run(notes) == 4


@pytest.mark.parametrize("notes", [piece([], bars=4), piece([[(0, 60)]])])
def test_next_to_nothing_has_no_likeness(notes):
    assert set(bars.similarity(notes).values()) == {None}


def test_drums_alone_are_compared():
    notes = piece([[(0, 36), (4, 38)]] * 5, drums=(True,))
    assert bars.similarity(notes, lags=(1,)) == {1: 1.0}
    assert bars.longest_run(notes) == 5


def test_real_songs_are_like_themselves_four_and_eight_bars_later(music):
    folders = sorted(p for p in (music / "pop909/POP909").iterdir() if p.is_dir())[:40]
    found = []
    for folder in folders:
        notes = read_notes(folder / f"{folder.name}.mid")
        aligned, _ = beats.align(notes, read_beats(folder / "beat_midi.txt"))
        found.append(bars.similarity(aligned, lags=(3, 4, 5, 8)))
    mean = {lag: np.mean([f[lag] for f in found]) for lag in found[0]}
    assert min(mean[4], mean[8]) > 1.5 * max(mean[3], mean[5])
