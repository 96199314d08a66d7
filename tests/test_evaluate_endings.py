"""Endings: a piece that comes to rest beside one that stops."""

import pytest

from jaxmusic._src.data import starter
from jaxmusic._src.evaluate import endings
from jaxmusic._src.music.notes import make_notes

pytestmark = pytest.mark.quick
BAR, BEAT = 1920, 480
TRIADS = {"C": (48, 64, 67), "F": (41, 60, 69), "G": (43, 62, 71), "Am": (45, 60, 64)}


def song(*names, last=4, drums=(), lead=(), end=None):
    """Chords of a bar each, held but the last, which lasts some beats; a lead in other notes.

    Args:
      names: of `TRIADS`.
      last: beats that the last chord sounds.
      drums: beats from the start of the last bar at which a drum is hit.
      lead: (beat from the start of the last bar, beats) of notes of a second instrument.
      end: beats from the start of the last bar to the end of the piece.
    """
    rows = []
    for bar, name in enumerate(names):
        for pitch in TRIADS[name]:
            # Struck on every beat, but in the last bar.
            beats = range(4) if bar < len(names) - 1 else range(1)
            length = BEAT if len(beats) > 1 else int(last * BEAT)
            rows += [(bar * BAR + b * BEAT, length, pitch, 80, 0) for b in beats]
    start = (len(names) - 1) * BAR
    rows += [(start + int(at * BEAT), int(n * BEAT), 76, 80, 1) for at, n in lead]
    rows += [(start + int(at * BEAT), 40, 36, 80, 2) for at in drums]
    return make_notes(
        *zip(*rows),
        program=(0, 73, 0),
        drum=(False, False, True),
        end=start + int(BEAT * (4 if end is None else end)),
    )


FORM = ("C", "F", "G", "C", "Am", "F", "G", "C")


def test_a_held_tonic_chord_is_an_ending():
    found = endings.ending(song(*FORM))
    # 3 final notes of 4 beats; 3 * 7 * 4 notes of one beat besides.
    mean = (3 * 4 + 84) / (3 + 84)
    assert found == endings.Ending(
        tonic=True,
        bass=True,
        together=1.0,
        lengthening=pytest.approx(4 / mean),
        rest=4.0,
        cut_off=False,
    )


@pytest.mark.parametrize(
    ("last", "options", "found"),
    [
        ("G", {}, {"tonic": False, "bass": False}),
        # Tracks end together within an eighth; one that was silent before is not asked.
        ("C", {"lead": [(0, 3.5)]}, {"together": 1}),
        ("C", {"lead": [(0, 3.4)]}, {"together": 0.5}),
        ("C", {"lead": [(-1, 1)]}, {"together": 1}),
        # The rest begins with the last onset, whoever plays it.
        ("C", {"drums": [0]}, {"rest": 4}),
        ("C", {"drums": [0, 3]}, {"rest": 1}),
        ("C", {"last": 2, "drums": [3]}, {"rest": 0}),
        # A short note up to the very end is cut off.
        ("C", {"lead": [(3.75, 0.25)]}, {"cut_off": True}),
        ("C", {"lead": [(3.5, 0.5)]}, {"cut_off": False}),
        ("C", {"lead": [(3.75, 0.25)], "end": 5}, {"cut_off": False}),
    ],
)
def test_endings_of_every_kind(last, options, found):
    ending = endings.ending(song(*FORM[:-1], last, **options))
    assert {name: getattr(ending, name) for name in found} == found


@pytest.mark.parametrize("drums", [[0, 1, 2], []])
def test_without_a_pitched_note_there_is_no_ending(drums):
    rows = [(BEAT * beat, 40, 36, 80, 0) for beat in drums]
    notes = make_notes(*(zip(*rows) if rows else ([],) * 5), drum=(True,), end=BAR)
    assert endings.ending(notes) is None


def test_one_note_ends_with_itself():
    found = endings.ending(make_notes([0], [960], [60], [90], [0], end=BAR))
    assert found.together == found.lengthening == 1
    assert found.rest == 2
    assert found.bass


def test_songs_made_by_rule_end_on_their_tonic():
    for notes in starter.corpus(5):
        found = endings.ending(notes)
        assert found.tonic and found.bass and found.together == 1 and found.lengthening > 2
