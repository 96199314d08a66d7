"""Records, splits and augmentation."""

import data_music
import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.data import record
from jaxmusic._src.data.augmentation import Change, alter, draw
from jaxmusic._src.data.songs import SPLITS, assign
from jaxmusic._src.music import controls
from jaxmusic._src.music.beats import Fit
from jaxmusic._src.music.notes import Labels, make_notes, semitones_to_c
from jaxmusic.config import Data

FIT = Fit("estimate", 1.25, 15.5, 0.03)


@st.composite
def pieces(draw_):
    count = draw_(st.integers(0, 40))
    tracks = draw_(st.integers(1, 5))

    def column(low, high):
        return draw_(st.lists(st.integers(low, high), min_size=count, max_size=count))

    changes = draw_(st.lists(st.integers(1, 10**6), max_size=4, unique=True))
    ticks = np.array(sorted(changes), np.int32)
    return make_notes(
        column(0, 2**30),
        column(1, 2**29),
        column(0, 127),
        column(1, 127),
        column(0, tracks - 1),
        program=draw_(st.lists(st.integers(0, 127), min_size=tracks, max_size=tracks)),
        drum=draw_(st.lists(st.booleans(), min_size=tracks, max_size=tracks)),
        tempos=tuple((t, draw_(st.floats(10, 900))) for t in (0, *changes)),
        meters=tuple((t, draw_(st.integers(1, 15)), 4) for t in (0, *changes)),
        end=draw_(st.integers(0, 2**31 - 1)),
        labels=Labels(
            styles=draw_(st.sampled_from([(), ("pop",), ("pop", "rock")])),
            song=draw_(st.text(max_size=5)),
            chord_tick=ticks,
            chord=np.arange(len(ticks), dtype=np.uint8),
        ),
    )


@pytest.mark.quick
@settings(max_examples=60, deadline=None)
@given(pieces())
def test_records_round_trip_exactly(notes):
    features = record.features()
    stored = features.serialize_example(record.to_example(notes, "a/ü.mid", FIT))
    assert data_music.fields(record.from_bytes(stored)) == data_music.fields(notes)
    example = features.deserialize_example_np(stored)
    assert example["path"].decode() == "a/ü.mid" and example["grid_source"] == b"estimate"
    assert example["grid_error"].tolist() == [FIT.error_ms, FIT.file_error_ms, FIT.error]


def test_only_aligned_pieces_are_stored():
    with pytest.raises(ValueError, match="96 ticks per beat"):
        record.to_example(data_music.tune(0).replace(ticks_per_beat=96), "a", FIT)


def test_splits_are_by_song_stable_and_near_their_shares():
    names = [f"song {i}" for i in range(4000)]
    split = dict(zip(names, assign(names, 0.05, 0.1, [""] * 4000)))
    counts = [list(split.values()).count(s) for s in SPLITS]
    assert abs(counts[1] - 200) < 60 and abs(counts[2] - 400) < 80
    fewer = names[::3]
    assert assign(fewer, 0.05, 0.1, [""] * len(fewer)) == [split[n] for n in fewer]


@pytest.mark.quick
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_songs_fill_train_and_validation(count):
    for seed in range(30):
        names = [f"{seed} {i}" for i in range(count)]
        split = assign(names, 0.05, 0.05, [""] * count)
        assert "train" in split
        assert ("validation" in split) == (count > 1)
    assert assign(["a", "b"], 0.0, 0.0, ["", ""]) == ["train", "train"]
    assert sorted(assign(["a", "b"], 0.5, 0.49, ["", ""])) == ["train", "validation"]


def pitched(notes):
    return notes.pitch[~notes.is_drum]


def test_transposition_is_even_and_keeps_pitches_in_range():
    data, notes = Data(drop_controls=0.25), data_music.tune(0)
    changes = [draw(data, 7, epoch, 3, pitched(notes)) for epoch in range(2000)]
    shifts = np.bincount([c.semitones + 5 for c in changes], minlength=11)
    assert len(shifts) == 11 and shifts.min() > 130
    dropped = [np.mean([name in c.drop for c in changes]) for name in controls.names()]
    assert all(0.2 < share < 0.3 for share in dropped)
    assert changes[:5] == [draw(data, 7, epoch, 3, pitched(notes)) for epoch in range(5)]
    top = pitched(data_music.tune(0, low=97))
    reach = [draw(Data(), 0, epoch, 0, top).semitones for epoch in range(100)]
    assert max(reach) == 127 - int(top.max()) < 5 and min(reach) == -5


ALL = Data(tempo_scale=0.1, velocity_scale=0.2, drop_tracks=0.3)


def test_other_changes_leave_transposition_and_controls_as_they_were():
    notes = data_music.tune(0)
    for epoch in range(50):
        plain = draw(Data(), 1, epoch, 2, pitched(notes))
        more = draw(ALL, 1, epoch, 2, pitched(notes), notes.track)
        assert (more.semitones, more.drop) == (plain.semitones, plain.drop)


@pytest.mark.quick
def test_factors_are_even_on_a_logarithmic_scale():
    notes = data_music.tune(0)
    changes = [draw(ALL, 1, epoch, 2, pitched(notes), notes.track) for epoch in range(2000)]
    for factor, scale in (([c.tempo for c in changes], 1.1), ([c.velocity for c in changes], 1.2)):
        share = np.log(factor) / np.log(scale)
        assert np.abs(share).max() <= 1
        assert np.histogram(share, 4, (-1, 1))[0].min() > 430


def test_each_track_is_left_out_as_often_as_asked_and_never_all():
    notes = data_music.tune(0)
    kept = np.array([draw(ALL, 1, e, 2, pitched(notes), notes.track).tracks for e in range(3000)])
    assert kept.shape == (3000, 3) and kept.any(axis=1).all()
    # All three would go with 2.7 %, and one of them stays then: 0.3 - 0.027 / 3 are left out.
    assert np.allclose((~kept).mean(axis=0), 0.291, atol=0.03)
    two_of_four = np.array([1, 1, 3])
    kept = [draw(ALL, 1, e, 2, pitched(notes), two_of_four).tracks for e in range(200)]
    assert all(k[1] or k[3] for k in kept) and not any(k[0] or k[2] for k in kept)


@pytest.mark.quick
@settings(max_examples=60, deadline=None)
@given(strategies.notes(), st.floats(0.8, 1.25), st.floats(0.5, 2), st.integers(0, 2**20 - 1))
def test_altered_notes(notes, tempo, velocity, bits):
    tracks = np.array([bits >> t & 1 for t in range(len(notes.program))], bool)
    found = alter(notes, Change(0, frozenset(), tempo, velocity, tracks))
    stays = tracks[notes.track]
    assert len(found) == stays.sum() and found.end == notes.end
    for name in ("onset", "duration", "pitch", "track"):
        assert np.array_equal(getattr(found, name), getattr(notes, name)[stays])
    assert found.seconds(found.end) * tempo == pytest.approx(float(notes.seconds(notes.end)))
    louder = notes.velocity[stays].astype(float) * velocity
    assert np.abs(found.velocity - np.clip(louder, 1, 127)).max(initial=0) <= 0.51
    assert found.velocity.dtype == np.uint8 and found.labels is notes.labels


@pytest.mark.quick
def test_keys_move_to_c_major_and_a_minor():
    moves = [semitones_to_c(key) for key in range(24)]
    assert sorted(moves[:12]) == sorted(moves[12:]) == list(range(-5, 7))
    assert moves[0] == moves[12 + 9] == 0
    assert moves[7] == 5 and moves[6] == 6 and moves[12] == -3  # G, F# and C minor
    assert all((key % 12 + moves[key]) % 12 == (9 if key >= 12 else 0) for key in range(24))
