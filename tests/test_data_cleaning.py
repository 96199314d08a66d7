"""Rules by which pieces are left out."""

import dataclasses

import data_music
import numpy as np
import pytest

from jaxmusic._src.data import cleaning
from jaxmusic._src.data.builder import prepare_pieces
from jaxmusic._src.formats import midi
from jaxmusic._src.music.notes import make_notes
from jaxmusic.config import Prepare

RULES = Prepare()


def line(count=64, step=240, duration=240, pitches=(60, 62), drum=False, tracks=1):
    """Notes at 120 a minute: a step of 480 is half a second."""
    at = np.arange(count) * step
    pitch = np.resize(pitches, count)
    track = np.arange(count) % tracks
    return make_notes(at, [duration] * count, pitch, [80] * count, track, [0] * 4, [drum] * 4)


@pytest.mark.parametrize(
    ("notes", "change", "reason"),
    [
        (line(32), {}, None),
        (line(31), {}, "fewer than 32 notes"),
        (line(40, step=60, duration=60), {}, "shorter than 5 s"),
        (line(40, step=480, duration=480), {"max_seconds": 19.5}, "longer than 19.5 s"),
        (line(40, step=480, duration=480), {"max_seconds": 20.0}, None),
        (line(pitches=(60,)), {}, "fewer than 2 pitches"),
        (line(pitches=(36, 38), drum=True), {}, None),
        (line(pitches=(36,), drum=True), {}, "fewer than 2 pitches"),
        (line(pitches=(60, 62)), {"min_pitches": 3}, "fewer than 3 pitches"),
        (line(1300, step=8, duration=8), {}, None),
        (line(1300, step=7, duration=1), {}, "more than 120 notes a second"),
        (line(duration=480 * 180), {}, None),
        (line(duration=480 * 180 + 1), {}, "a note longer than 90 s"),
        (line(duration=480 * 181, pitches=(36, 38), drum=True), {}, None),
        (line(), {"need_drums": True}, "no drums"),
        (line(pitches=(36, 38), drum=True), {"need_drums": True}, None),
        (line(0), {}, "holds no notes"),
        (line(40, step=120_000, duration=9), {"max_note_seconds": 9e9}, "longer than 3600 s"),
        # A pitch of a drum is another than that of a tone.
        (
            make_notes([0, 9], [9, 9], [60, 60], [80, 80], [0, 1], [0, 0], [False, True]),
            {"min_notes": 1, "min_seconds": 0},
            None,
        ),
    ],
)
def test_each_rule_at_its_threshold(notes, change, reason):
    assert cleaning.reject(notes, dataclasses.replace(RULES, **change)) == reason


def test_tracks_of_few_notes_are_taken_out_where_that_is_wanted():
    notes = make_notes(
        [0, 10, 20, 30], [5] * 4, [60, 61, 62, 63], [80] * 4, [0, 2, 1, 2], [1, 2, 3], [False] * 3
    )
    less, count = cleaning.without_empty_tracks(
        notes, dataclasses.replace(RULES, min_track_notes=2)
    )
    assert count == 2 and less.program.tolist() == [3]
    assert less.pitch.tolist() == [61, 63] and less.track.tolist() == [0, 0]
    assert cleaning.without_empty_tracks(less, RULES) == (less, 0)


def test_every_rule_is_counted_in_the_summary(tmp_path):
    pieces = [data_music.tune(1), line(31), line(pitches=(60,)), line(1400, step=7, duration=1)]
    options = Prepare(name="tunes", data_dir=str(tmp_path))
    summary = prepare_pieces([*pieces, line(duration=90000)], options, progress=False)
    assert summary.skipped == {
        "fewer than 32 notes": 1,
        "fewer than 2 pitches": 1,
        "more than 120 notes a second": 1,
        "a note longer than 90 s": 1,
    }
    other = dataclasses.replace(options, name="empty")
    kept = prepare_pieces([line(96)], other, progress=False)
    assert kept.empty_tracks == 3 and "3 taken out" in str(kept)


@pytest.mark.parametrize("folder", ["freedoom", "multitrack_pop", "giantmidi"])
def test_real_music_is_kept(music, folder):
    rules = dataclasses.replace(RULES, min_notes=1, min_seconds=0, max_seconds=4000)
    found = sorted((music / folder).rglob("*.mid"))[::2]
    assert found
    assert [p.name for p in found if cleaning.reject(midi.read_notes(p), rules)] == []
