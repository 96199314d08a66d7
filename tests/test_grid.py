"""Quantising: golden cases, what is lost, bars and tempos, parts and transposition."""

import numpy as np
import pytest
import strategies
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmusic._src.music import meters
from jaxmusic._src.music.grid import dequantise, quantise
from jaxmusic._src.music.meters import METERS, TEMPOS
from jaxmusic._src.music.notes import NO_CHORD, Labels, make_notes
from jaxmusic._src.music.piece import DRUM_SLOT, Losses

BEAT = 480


def meter(*names):
    return [METERS.index(n) for n in names]


def notes_of(rows, **fields):
    """Notes from (onset in beats, duration in beats, pitch, velocity, track) rows."""
    columns = list(zip(*rows)) if rows else [[]] * 5
    onset, duration = (np.round(np.array(c) * BEAT) for c in columns[:2])
    return make_notes(onset, duration, *columns[2:], **fields)


@pytest.mark.quick
@settings(max_examples=400, deadline=None)
@given(strategies.pieces())
def test_dequantise_is_undone_by_quantise(piece):
    again, losses = quantise(dequantise(piece), piece.steps_per_beat, piece.velocities)
    assert strategies.differences(piece, again) == []
    assert (losses.share, losses.regrouped) == (0, 0)


@settings(max_examples=400, deadline=None)
@given(strategies.notes(), st.sampled_from((12, 24)))
def test_invariants_of_a_piece(notes, steps):
    piece, losses = quantise(notes, steps)
    assert len(piece) == len(notes) - losses.drum_pitch - losses.duplicate
    assert piece.onset.dtype == piece.duration.dtype == piece.bar_step.dtype == np.int32
    assert (piece.duration >= 1).all() and (piece.duration[piece.slot == DRUM_SLOT] == 1).all()
    lengths = [meters.bar_length(m, steps) for m in piece.meter]
    assert (np.diff(piece.bar_step) == lengths).all() and piece.bar_step[0] == 0
    assert piece.bar_step[-1] * (BEAT // steps) >= notes.end
    assert (piece.onset < piece.bar_step[-1]).all()
    used = np.flatnonzero(piece.programs >= 0)
    assert used.tolist() == np.unique(piece.slot).tolist()
    pitched = used[used < DRUM_SLOT]
    assert pitched.tolist() == list(range(len(pitched)))
    assert (np.diff(piece.programs[pitched]) >= 0).all()
    order = np.lexsort((piece.pitch, piece.slot, piece.onset))
    assert (order == np.arange(len(piece))).all()
    voice = piece.slot.astype(int) * 128 + piece.pitch
    for v in np.unique(voice):
        onset, duration = piece.onset[voice == v], piece.duration[voice == v]
        assert (onset[:-1] + duration[:-1] <= onset[1:]).all()
    assert (piece.chord >= 0).all() or (piece.chord == -1).all()
    for column in (piece.tempo, piece.key, piece.section):
        assert len(column) == piece.bars and column.dtype == np.int16


def test_onsets_and_ends_go_to_the_nearest_step():
    notes = make_notes([0, 19, 20, 100], [19, 40, 21, 61], [60, 61, 62, 63], [64] * 4, [0] * 4)
    piece, _ = quantise(notes, 12)
    assert piece.onset.tolist() == [0, 0, 1, 3]
    assert piece.duration.tolist() == [1, 1, 1, 1]


@pytest.mark.quick
def test_losses_of_duplicates_and_overlaps():
    rows = [
        (0, 1, 60, 10, 0),
        (0, 2, 60, 90, 0),  # the longer of two at one place stays
        (4, 3, 64, 64, 0),
        (5, 1, 64, 64, 0),  # cuts the one before to a beat
        (4, 3, 64, 64, 1),  # another instrument
    ]
    piece, losses = quantise(notes_of(rows, program=(0, 40), drum=(False, False)))
    assert losses == Losses(notes=5, duplicate=1, cut=1)
    assert losses.share == pytest.approx(0.4)
    assert piece.onset.tolist() == [0, 48, 48, 60]
    assert piece.duration.tolist() == [24, 12, 36, 12]
    assert piece.velocity.tolist() == [5, 4, 4, 4]
    assert piece.slot.tolist() == [0, 0, 1, 0]


def test_an_overlap_shorter_than_a_step_is_rounding_and_no_loss():
    """A release a moment after the same key goes down again, as transcriptions have it."""
    for overlap, lost in ((30, 0), (80, 1)):
        notes = make_notes([0, 475], [475 + overlap, 480], [60, 60], [64, 64], [0, 0])
        piece, losses = quantise(notes)
        assert piece.onset.tolist() == [0, 12] and piece.duration.tolist() == [12, 12]
        assert losses == Losses(notes=2, cut=lost)


def hits(*rows):
    """Drum hits of (tick, pitch)."""
    onset, pitch = zip(*rows)
    n = len(rows)
    return make_notes(onset, [10] * n, pitch, [64] * n, [0] * n, (0,), (True,), end=1920)


@pytest.mark.parametrize(
    ("ticks", "steps", "merged"),
    (
        ((470, 490), (11, 12), 0),  # equally far: the first goes back
        ((475, 495), (12, 13), 0),
        ((475, 475), (12,), 1),  # the same hit twice
        ((0, 10), (0, 1), 0),  # nothing is before the piece
        ((440, 470, 490), (11, 12, 13), 0),  # the step before is taken
        ((440, 470, 490, 520), (11, 12, 13), 1),  # both are
    ),
)
def test_flams_keep_both_hits_where_there_is_room(ticks, steps, merged):
    piece, losses = quantise(hits(*((t, 38) for t in ticks)))
    assert piece.onset.tolist() == list(steps)
    assert losses == Losses(notes=len(ticks), duplicate=merged)
    others = quantise(hits(*((t, 38) for t in ticks), (480, 40)))[0]
    assert others.onset[others.pitch == 38].tolist() == list(steps)


def test_drum_pitches_out_of_range_are_replaced_or_dropped():
    # Hits on the rim of a hi-hat are its hits.
    rows = zip(range(0, 3 * BEAT, BEAT // 2), (22, 26, 25, 27, 87, 88))
    piece, losses = quantise(hits(*rows))
    assert losses == Losses(notes=6, drum_pitch=2)
    assert piece.pitch.tolist() == [42, 46, 27, 87]
    assert (piece.duration == 1).all() and (piece.slot == DRUM_SLOT).all()


def test_slots_are_sorted_by_program_and_drums_share_one():
    rows = [(0, 1, 60, 64, t) for t in range(5)] + [(1, 1, 38, 64, 3)]
    notes = notes_of(rows, program=(40, 8, 24, 16, 8), drum=(0, 1, 0, 1, 0))
    piece, losses = quantise(notes)
    assert piece.programs.tolist() == [8, 24, 40] + [-1] * 12 + [8]
    assert piece.slot.tolist() == [0, 1, 2, DRUM_SLOT, DRUM_SLOT]
    assert losses.duplicate == 1  # both kits hit 60 at once


def test_the_smallest_tracks_join_a_track_of_their_family():
    programs = [*range(0, 120, 8), 3, 42]  # 17 tracks: one too many in family 0 and in family 5
    rows = [(b, 1, 60, 64, t) for t in range(17) for b in range(3 if t < 15 else 1)]
    notes = notes_of(
        [(b, d, p + t, v, t) for b, d, p, v, t in rows], program=programs, drum=[0] * 17
    )
    piece, losses = quantise(notes)
    assert piece.programs[:15].tolist() == list(range(0, 120, 8))
    assert losses == Losses(notes=47, regrouped=2)
    assert piece.slot[piece.pitch == 75].tolist() == [0]
    assert piece.slot[piece.pitch == 76].tolist() == [5]


@pytest.mark.parametrize(
    "given_, expected",
    (
        ((7, 4), [(4, 4), (3, 4)]),
        ((11, 8), [(4, 4), (3, 8)]),
        ((8, 8), [(4, 4)]),
        ((10, 8), [(5, 4)]),
        ((4, 2), [(4, 4), (4, 4)]),
        ((5, 16), [(1, 4), (1, 16)]),
        ((13, 16), [(3, 4), (1, 16)]),
        ((1, 64), [(1, 16)]),
        ((2, 2), [(2, 2)]),
        ((12, 8), [(12, 8)]),
    ),
)
@pytest.mark.parametrize("steps", (12, 24))
def test_bars_outside_the_table_are_divided(given_, expected, steps):
    end = round(2 * BEAT * 4 * given_[0] / given_[1])
    notes = make_notes([0], [10], [60], [64], [0], meters=((0, *given_),), end=max(end, 240))
    piece, _ = quantise(notes, steps)
    assert [METERS[m] for m in piece.meter] == expected * 2


@pytest.mark.parametrize(
    ("change", "end", "steps"),
    [
        (6 * BEAT, 9 * BEAT, [0, 48, 72, 108]),  # inside a bar, which it divides
        (4 * BEAT + 50, 7 * BEAT, [0, 48, 84]),  # off the sixteenths: at the nearest one
        (20 * BEAT, 5 * BEAT, [0, 48, 96]),  # after the end: it counts for nothing
    ],
)
def test_changes_of_meter(change, end, steps):
    notes = make_notes([0], [10], [60], [64], [0], meters=((change, 3, 4),), end=end)
    piece, _ = quantise(notes)
    assert piece.bar_step.tolist() == steps
    assert [meters.bar_length(m, 12) for m in piece.meter] == np.diff(steps).tolist()


@pytest.mark.quick
def test_an_empty_piece_is_one_bar():
    for fields in ({}, {"program": (), "drum": ()}):
        piece, losses = quantise(notes_of([], **fields))
        assert (len(piece), piece.bars, losses.notes, losses.share) == (0, 1, 0, 0)
        assert (piece.programs == -1).all() and piece.density == 0
        assert strategies.differences(piece, quantise(dequantise(piece))[0]) == []


@pytest.mark.quick
def test_tempos_are_2_percent_apart_and_change_at_bar_lines():
    assert TEMPOS[60] == 120 and np.allclose(TEMPOS[1:] / TEMPOS[:-1], 1.02)
    tempos = ((0, 120.0), (4 * BEAT, 121.0), (8 * BEAT, 124.0), (14 * BEAT, 60.0), (20 * BEAT, 1.0))
    notes = make_notes([0], [10], [60], [64], [0], tempos=tempos, end=24 * BEAT)
    piece, _ = quantise(notes)
    # Bar 2 is within 1.5 % of 120; bar 4 is half at 124 and half at 60; no tempo is below 36.6.
    mean = 4 / (2 / 124 + 2 / 60)
    assert TEMPOS[piece.tempo[:2]].tolist() == [120, 120]
    assert TEMPOS[piece.tempo[2]] == pytest.approx(124, rel=0.01)
    assert TEMPOS[piece.tempo[3]] == pytest.approx(mean, rel=0.01)
    assert TEMPOS[piece.tempo[4]] == pytest.approx(60, rel=0.01)
    assert piece.tempo[5] == 0


@pytest.mark.parametrize("qpm, index", ((1, 0), (30, 0), (36, 0), (37, 1), (240, 95), (900, 96)))
def test_tempos_beyond_the_table_take_its_ends(qpm, index):
    notes = make_notes([0], [10], [60], [64], [0], tempos=((0, qpm),), end=8 * BEAT)
    assert quantise(notes)[0].tempo.tolist() == [index] * 2


@settings(max_examples=100, deadline=None)
@given(strategies.notes(max_notes=5))
def test_each_bar_lasts_as_long_as_in_the_notes(notes):
    piece, _ = quantise(notes)
    given_ = np.diff(notes.seconds(piece.bar_step * 40))
    ours = np.diff(dequantise(piece).seconds(piece.bar_step * 40))
    # Tempos beyond the table, 36.6 to 245, cannot be kept.
    kept = (piece.tempo > 0) & (piece.tempo < len(TEMPOS) - 1)
    assert np.allclose(ours[kept], given_[kept], rtol=0.0155)


def labelled(**fields):
    labels = Labels.of_changes(fields)
    return quantise(make_notes([0], [10], [60], [64], [0], end=16 * BEAT, labels=labels))[0]


def test_labels_by_bar_and_by_half_bar():
    piece = labelled(
        key=[(0, 0), (4 * BEAT + 100, 21)],
        section=[(8 * BEAT, 2)],
        chord=[(2 * BEAT, 5), (4 * BEAT, NO_CHORD), (7 * BEAT, 12)],
    )
    assert piece.key.tolist() == [0, 21, 21, 21]  # a change a little late counts for its bar
    assert piece.section.tolist() == [-1, -1, 2, 2]
    assert piece.chord.tolist() == [NO_CHORD, 5, NO_CHORD, NO_CHORD, 12, 12, 12, 12]
    bare = labelled()
    for column in (bare.key, bare.section, bare.chord):
        assert (column == -1).all()


def test_labels_of_short_bars_stay_in_their_bar():
    labels = Labels.of_changes({"key": [(0, 1), (120, 2)], "chord": [(0, 3), (60, 4), (120, 5)]})
    notes = make_notes([0], [9], [60], [64], [0], meters=((0, 1, 16),), end=240, labels=labels)
    piece, _ = quantise(notes)
    assert piece.key.tolist() == [1, 2] and piece.chord.tolist() == [3, 4, 5, 5]


@pytest.mark.parametrize("per_beat, level", ((0.25, 0), (0.5, 0), (1, 2), (2, 3), (4, 7), (16, 13)))
def test_density_has_levels(per_beat, level):
    count = int(16 * per_beat)
    rows = [(i / per_beat, 0.1, 60 + i % 5, 64, 0) for i in range(count)]
    assert quantise(notes_of(rows, end=16 * BEAT))[0].density == level


@settings(max_examples=200, deadline=None)
@given(strategies.pieces(), st.data())
def test_parts_join_to_the_whole(piece, data):
    cut = data.draw(st.integers(0, piece.bars - 1))
    a, b = piece.part(0, cut), piece.part(cut, piece.bars)
    assert (a.bars, b.bars) == (cut, piece.bars - cut)
    assert (a.bars_before, a.bars_after) == (0, piece.bars - cut)
    assert (b.bars_before, b.bars_after) == (cut, 0)
    line = int(piece.bar_step[cut])
    assert (a.onset < line).all() and (b.onset >= 0).all()
    assert np.array_equal(np.concatenate([a.onset, b.onset + line]), piece.onset)
    for name in ("duration", "pitch", "velocity", "slot", "meter", "tempo", "key", "chord"):
        joined = np.concatenate([getattr(a, name), getattr(b, name)])
        assert np.array_equal(joined, getattr(piece, name))
    assert np.array_equal(b.programs, piece.programs) and b.density == piece.density
    inner = b.part(0, 1)
    assert (inner.bars_before, inner.bars_after) == (cut, piece.bars - cut - 1)
    assert strategies.differences(piece.part(0, piece.bars), piece) == []


@pytest.mark.quick
def test_transpose_moves_notes_chords_and_keys_but_no_drums():
    rows = [(0, 1, 60, 64, 0), (0, 1, 38, 64, 1), (1, 1, 126, 64, 0), (2, 1, 1, 64, 0)]
    # A minor; B minor, then no chord.
    labels = Labels.of_changes({"key": [(0, 21)], "chord": [(0, 23), (2 * BEAT, NO_CHORD)]})
    notes = notes_of(rows, program=(0, 0), drum=(False, True), labels=labels)
    piece, _ = quantise(notes)
    up, down = piece.transpose(5), piece.transpose(-4)
    assert up.pitch.tolist() == [65, 38, 119, 6]
    assert down.pitch.tolist() == [56, 38, 122, 9]
    assert up.key.tolist() == [12 + 2] and down.key.tolist() == [12 + 5]
    assert up.chord.tolist() == [12 + 4, NO_CHORD] and down.chord.tolist() == [12 + 7, NO_CHORD]
    assert strategies.differences(piece.transpose(0), piece) == []
    bare = piece.with_controls(key=piece.key * 0 - 1, chord=piece.chord * 0 - 1)
    assert (bare.transpose(3).key == -1).all() and (bare.transpose(3).chord == -1).all()


@settings(max_examples=200, deadline=None)
@given(strategies.pieces(), st.integers(-6, 6))
def test_transposed_pieces_are_pieces(piece, semitones):
    moved = piece.transpose(semitones)
    again, _ = quantise(dequantise(moved), piece.steps_per_beat, piece.velocities)
    # Where a fold merges notes the density may be another.
    assert strategies.differences(moved, again, ignore=("density", "energy", "plays")) == []
    low, high = piece.pitch.min(initial=60), piece.pitch.max(initial=60)
    if low >= 6 and high <= 121:
        assert strategies.differences(moved.transpose(-semitones), piece) == []


def test_notes_that_fold_onto_others_are_merged():
    rows = [(0, 1, 127, 64, 0), (0, 2, 120, 64, 0)]
    piece, _ = quantise(notes_of(rows))
    moved = piece.transpose(5)  # 127 + 5 folds to 120, 120 + 5 is 125
    assert moved.pitch.tolist() == [120, 125]
    collide, _ = quantise(notes_of([(0, 1, 127, 64, 0), (0, 2, 115, 20, 0)]))
    moved = collide.transpose(1)  # 128 folds onto 116
    assert moved.pitch.tolist() == [116] and moved.duration.tolist() == [24]
