"""Repetition: likeness of bars at a distance, runs of one bar."""

import numpy as np
import pytest

from jaxmusic._src.evaluate import bars
from jaxmusic._src.formats.annotations import read_beats
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music import beats
from jaxmusic._src.music.notes import make_notes

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


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        # Bars 0 and 1 share one of five notes, bars 1 and 2 none, bars 0 and 2 two of three.
        ([A, [(0, 60), (4, 65), (8, 69)], A[1:]], {1: (1 / 5 + 0) / 2, 2: 2 / 3, 3: None}),
        ([A, B, A, B, A, B], {1: 0, 2: 1, 3: 0, 4: 1, 6: None}),
        # The same pitch of another instrument is alike, a drum is not.
        ([[(0, 40, 0)], [(0, 40, 1)], [(0, 40, 2)]], {1: 0.5, 2: 0}),
        # Two silent bars are not compared, and one is like no other.
        ([A, [], [], A], {1: 0, 3: 1}),
        ([[], [], [], []], {1: None, 16: None}),
        ([[(0, 36, 2), (4, 38, 2)]] * 5, {1: 1}),
    ],
)
def test_likeness_is_the_mean_jaccard_index_of_what_begins_in_two_bars(contents, found):
    notes = piece(contents, (0, 33, 0), (False, False, True))
    assert bars.similarity(notes, lags=found) == {
        lag: value if value is None else pytest.approx(value) for lag, value in found.items()
    }
    assert tuple(bars.similarity(notes)) == tuple(range(1, 17))


@pytest.mark.parametrize(
    ("contents", "run"),
    [
        ([], 0),
        ([A], 1),
        ([A, B, A, B], 1),
        ([B, A, A, A, B], 3),
        ([A, A, [], A, A, A], 3),
        ([[], [], []], 0),
        ([[(0, 60, 0)], [(0, 60, 1)]], 1),  # another instrument makes another bar
    ],
)
def test_the_longest_run_of_one_bar(contents, run):
    notes = piece(contents, (0, 33), (False, False), bars=max(len(contents), 1))
    assert bars.longest_run(notes) == run


def test_length_and_loudness_do_not_make_another_bar():
    notes = piece([A] * 4)
    notes = notes.replace(
        duration=np.arange(60, 60 + len(notes), dtype=np.int32),
        velocity=np.arange(50, 50 + len(notes), dtype=np.uint8),
    )
    assert bars.longest_run(notes) == 4


def test_real_songs_are_like_themselves_four_and_eight_bars_later(music):
    folders = sorted(p for p in (music / "pop909/POP909").iterdir() if p.is_dir())[:40]
    found = []
    for folder in folders:
        notes = read_notes(folder / f"{folder.name}.mid")
        aligned, _ = beats.align(notes, read_beats(folder / "beat_midi.txt"))
        found.append(bars.similarity(aligned, lags=(3, 4, 5, 8)))
    mean = {lag: np.mean([f[lag] for f in found]) for lag in found[0]}
    assert min(mean[4], mean[8]) > 1.5 * max(mean[3], mean[5])
