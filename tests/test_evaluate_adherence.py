"""Adherence: each measure on pieces of which the truth is known."""

import numpy as np
import pytest

from jaxmusic._src.data.metadata import DRUMS
from jaxmusic._src.evaluate import adherence
from jaxmusic._src.music.notes import CHORD_QUALITIES, NO_CHORD, PITCH_NAMES, make_notes

pytestmark = pytest.mark.quick
BAR, BEAT = 1920, 480


def chord(name):
    """Number of a root 0 to 11 and a quality, as in "7 min"."""
    root, quality = name.split()
    return 12 * CHORD_QUALITIES.index(quality) + int(root)


def song(*roots, thirds=None, end=None, **fields):
    """A root position triad on every beat of a bar for each root; minor where the third is 3."""
    thirds = thirds or [4] * len(roots)
    rows = [
        (bar * BAR + beat * BEAT, BEAT, pitch, 80, 0)
        for bar, (root, third) in enumerate(zip(roots, thirds))
        for beat in range(4)
        for pitch in (36 + root, 60 + root, 60 + root + third, 67 + root)
    ]
    return make_notes(*zip(*rows), end=end or BAR * len(roots), **fields)


EMPTY = make_notes([], [], [], [], [], end=BAR)
ONE = make_notes([0], [BEAT], [60], [90], [0], end=BAR)
BEATS = make_notes(
    [0, 480, 960], [40] * 3, [36, 38, 36], [90] * 3, [0] * 3, drum=[True], end=2 * BAR
)


def test_duration_is_off_by_seconds():
    notes = song(0, 0, 0, 0, tempos=((0, 120.0),))  # 16 beats of half a second
    assert adherence.duration_error(notes, 8.0) == pytest.approx(0)
    assert adherence.duration_error(notes, 8.25) == pytest.approx(0.25)
    assert adherence.duration_error(notes, 7.5) == pytest.approx(0.5)
    assert adherence.duration_error(EMPTY, 2.0) == pytest.approx(0)


def test_the_first_and_the_last_bar_must_sound():
    assert adherence.opens_and_closes(song(0, 0))
    assert adherence.opens_and_closes(song(0, 0, end=2 * BAR))
    assert not adherence.opens_and_closes(song(0, 0, end=3 * BAR))
    # The third bar is shorter than a whole one, and silent.
    assert not adherence.opens_and_closes(song(0, 0, end=2 * BAR + BEAT))
    late = song(0, 0, end=3 * BAR)
    late = late.replace(onset=late.onset + np.int32(BAR))
    assert not adherence.opens_and_closes(late)
    assert adherence.opens_and_closes(ONE)
    assert not adherence.opens_and_closes(EMPTY)


def test_the_worst_tempo_counts():
    notes = song(0, 0, tempos=((0, 101.0), (BAR, 98.0), (2 * BAR, 300.0)))
    assert adherence.tempo_error(notes, 100.0) == pytest.approx(0.02)
    assert adherence.tempo_error(EMPTY, 120.0) == 0


def test_every_bar_must_be_in_the_meter():
    assert adherence.keeps_meter(song(0, 0), (4, 4))
    assert not adherence.keeps_meter(song(0, 0), (2, 2))
    assert not adherence.keeps_meter(song(0, 0, meters=((0, 4, 4), (BAR, 2, 4))), (4, 4))
    assert adherence.keeps_meter(song(0, 0, meters=((0, 4, 4), (2 * BAR, 3, 4))), (4, 4))


def test_instruments_that_are_missing_and_others_that_sound():
    notes = make_notes(
        [0, 0, 0], [BEAT] * 3, [60, 40, 36], [90] * 3, [0, 1, 2], (0, 33, 0, 73), (0, 0, 1, 0)
    )
    piano, bass = frozenset(range(8)), frozenset({33})
    drums, flute = frozenset({DRUMS}), frozenset({73})
    assert adherence.instruments(notes, [piano, bass, drums]) == (0, 0)
    assert adherence.instruments(notes, [piano, bass]) == (0, 1)
    # The flute's track has no note.
    assert adherence.instruments(notes, [flute, drums]) == (1, 2)
    assert adherence.instruments(EMPTY, [flute]) == (1, 0)
    assert adherence.instruments(BEATS, [drums]) == (0, 0)


def test_the_main_key_is_that_of_the_cadences():
    assert adherence.main_key(song(0, 5, 7, 0, 0, 5, 7, 0)) == 0
    assert adherence.main_key(song(2, 7, 9, 2, 2, 7, 9, 2)) == 2
    minor = song(9, 2, 4, 9, 9, 2, 4, 9, thirds=[3, 3, 4, 3] * 2)
    assert adherence.main_key(minor) == 21


@pytest.mark.parametrize("notes", [EMPTY, BEATS])
def test_without_pitched_notes_there_is_neither_key_nor_chord(notes):
    assert adherence.main_key(notes) is None
    assert adherence.chords(notes, np.array([0])) == (None, None)


def test_key_scores_are_those_of_mir_eval():
    mir_eval = pytest.importorskip("mir_eval.key")
    names = [f"{t} {m}" for m in ("major", "minor") for t in PITCH_NAMES]
    for asked in range(24):
        for found in range(24):
            expected = mir_eval.weighted_score(names[asked], names[found])
            assert adherence.key_score(asked, found) == expected, (names[asked], names[found])


def test_the_share_of_half_bars_whose_chord_was_asked_for():
    notes = song(0, 5, 7, 0, 9, 5, 7, 0, thirds=[4, 4, 4, 4, 3, 4, 4, 4])
    truth = np.repeat(np.array([0, 5, 7, 0, 12 + 9, 5, 7, 0]), 2)
    assert adherence.chords(notes, truth) == (1.0, 1.0)
    # The progression of four bars is begun again; bar 5 is A minor and not C major.
    assert adherence.chords(notes, truth[:8]) == (7 / 8, 7 / 8)
    wrong = truth.copy()
    wrong[:2] = 12  # C minor: the right root alone
    assert adherence.chords(notes, wrong) == (7 / 8, 1.0)


def test_sevenths_are_their_triads_and_suspended_chords_count_by_root_alone():
    notes = song(0, 5, 7, 0)
    names = ("0 maj7", "5 sus4", "7 7", "0 maj")
    found = adherence.chords(notes, np.repeat([chord(name) for name in names], 2))
    assert found == (1.0, 1.0)
    assert adherence.chords(notes, np.array([chord("0 dim")])) == (None, 0.5)
    assert adherence.chords(notes, np.array([NO_CHORD])) == (0.0, 0.0)


def test_what_comes_after_the_end_is_not_asked():
    # The last bar ends after its first beat: its second half is not there.
    short = song(0, 5, 7, 0).until(3 * BAR + BEAT)
    asked = np.array([0, 0, 5, 5, 7, 7, 0, 1])
    assert adherence.chords(short, asked) == (1.0, 1.0)


def test_density_is_off_by_levels():
    notes = song(0, 0)  # 4 notes on each beat
    assert adherence.density_error(notes, 4.0) == pytest.approx(0)
    assert adherence.density_error(notes, 3.0) == pytest.approx(2)
    assert adherence.density_error(notes, 4.25) == pytest.approx(-0.5)
    assert adherence.density_error(EMPTY, 4.0) is None
    assert adherence.density_error(ONE, 0.25) == pytest.approx(0)
    # The last level has no end.
    assert adherence.density_error(notes, 100.0) == pytest.approx(7 - 15)
    assert adherence.density_error(ONE, 0.5) == pytest.approx(-0.25 / 0.6)
