import itertools
import pathlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import strategies

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music import beat_grid, beat_tracking, beats, notes
from jaxmusic._src.music.beats import BeatLabels, align
from jaxmusic._src.music.notes import Labels, Notes, make_notes

BAR = 4 * 480
TICKS, PITCHES = st.integers(0, 60_000), st.integers(0, 127)
NOTE_FIELDS = ("onset", "duration", "pitch", "velocity", "track")


def song(
    bars: int = 48,
    delay: int = 0,
    unit: int = 480,
    beats_per_bar: int = 4,
    meters: tuple[tuple[int, int, int], ...] = ((0, 4, 4),),
    qpm: float = 96.0,
) -> Notes:
    """Bass on each downbeat, a new chord per bar, off-beat chords and a running melody."""
    rng = np.random.default_rng(7)
    rows: list[tuple[int, int, int, int, int]] = []
    roots = [0, 9, 5, 7]
    for bar in range(bars):
        root, at = roots[bar % 4], bar * beats_per_bar * unit
        rows.append((at, beats_per_bar * unit, 36 + root, 90, 1))
        for beat in range(beats_per_bar):
            for pitch in (0, 4, 7):
                when = at + beat * unit + (0 if beat == 0 else unit // 2)
                rows.append((when, unit // 2, 60 + root + pitch, 70, 1))
            for step in range(4):
                if step == 0 or rng.random() < 0.5:
                    length = unit // 4 * (4 if step == 0 else 1)
                    pitch = 72 + root + int(rng.choice([0, 4, 7]))
                    rows.append((at + beat * unit + step * unit // 4, length, pitch, 80, 0))
    onset, *others = np.array(rows).T
    fields = dict(tempos=((0, qpm),), meters=meters, ticks_per_beat=unit)
    return make_notes(onset + delay, *others, (0, 0), (False, False), **fields)


def seconds_moved(before: Notes, after: Notes) -> float:
    """Largest change of an onset in seconds, relative to the first onset."""
    was, now = before.seconds(before.onset), after.seconds(after.onset)
    return float(np.abs((now - now[0]) - (was - was[0])).max())


def check(before: Notes, after: Notes) -> None:
    """What holds for every aligned piece."""
    assert after.ticks_per_beat == notes.TICKS_PER_BEAT
    assert len(after) == len(before)
    assert after.tempo_tick[0] == 0 and after.meter_tick[0] == 0
    assert np.all(np.diff(after.tempo_tick) > 0) and np.all(np.diff(after.meter_tick) > 0)
    assert np.all(np.isfinite(after.tempo_qpm)) and np.all(after.tempo_qpm > 0)
    assert np.all(after.meter_num > 0)
    if not len(after):
        return
    order = np.lexsort((after.pitch, after.track, after.onset))
    assert np.array_equal(order, np.arange(len(after)))
    assert np.array_equal(np.sort(after.pitch), np.sort(before.pitch))
    assert after.onset[0] >= 0 and np.all(after.duration > 0)
    assert after.onset[0] < 1920 * int(after.meter_num[0]) / int(after.meter_den[0])
    assert int((after.onset + after.duration).max()) <= after.end
    lengths = 1920 * after.meter_num.astype(int) // after.meter_den
    run = np.diff(np.append(after.meter_tick, after.end))
    assert np.all(run % lengths == 0)


@pytest.mark.quick
def test_file_that_fits_is_kept():
    piece = song(delay=2 * BAR)
    aligned, fit = align(piece)
    assert fit.source == "file"
    assert fit.error == fit.error_ms == fit.file_error_ms == 0.0
    assert np.array_equal(aligned.onset, piece.onset - 2 * BAR)
    assert np.array_equal(aligned.duration, piece.duration)
    assert aligned.end == 48 * BAR
    assert aligned.tempo_qpm.tolist() == [96.0]
    check(piece, aligned)


@pytest.mark.quick
def test_pickup_lies_late_in_bar_one():
    piece = song(delay=BAR)
    first = dict(zip(NOTE_FIELDS, (480 * 3, 480, 72, 80, 0)))
    columns = (np.append(value, getattr(piece, name)) for name, value in first.items())
    aligned, _ = align(make_notes(*columns, (0, 0), (False, False), piece.tempos))
    assert aligned.onset[0] == 3 * 480 and aligned.onset[1] == BAR


@pytest.mark.quick
@pytest.mark.parametrize(
    ("delay", "stated"), [(1, 1), (57, 1), (240, 1), (1500, 1), (333, 1), (333, 4)]
)
def test_random_phase_is_found(delay: int, stated: int):
    clean, _ = align(song())
    piece = song(delay=delay, meters=((0, stated, 4),))
    aligned, fit = align(piece)
    assert fit.source == "estimate" and fit.error == 0.0
    assert np.array_equal(aligned.onset, clean.onset)
    assert aligned.meter_num.tolist() == [4] and aligned.end == clean.end
    check(piece, aligned)


@pytest.mark.quick
def test_a_little_late_all_along_keeps_the_file_bars():
    aligned, fit = align(song(delay=BAR + 480 + 9))
    assert fit.source == "estimate" and fit.error == 0.0
    assert aligned.onset[0] == 480  # the file's bar lines, though chords change a beat later


@pytest.mark.quick
def test_meter_of_three_is_found():
    piece = song(beats_per_bar=3, delay=211, meters=((0, 1, 4),))
    aligned, fit = align(piece)
    assert (int(aligned.meter_num[0]), int(aligned.meter_den[0])) == (3, 4)
    assert aligned.onset[0] == 0 and aligned.end == 48 * 3 * 480
    assert fit.error_ms == 0.0


@pytest.mark.parametrize("unit", [96, 1024])
def test_any_resolution(unit: int):
    same, _ = align(song(unit=480))
    other, fit = align(song(unit=unit))
    assert fit.source == "file"
    assert np.abs(same.onset - other.onset).max() <= 1


def test_an_unknown_tempo_is_followed():
    reference, _ = align(song(bars=60, qpm=103.0))
    for drift in (0.0, 0.06):
        at = np.arange(0, reference.end + 960, 120)
        pace = 60 / 103 * (1 + drift * np.sin(2 * np.pi * at / (64 * 480)))
        time = 0.7 + np.append(0, np.cumsum(pace[:-1] * 120 / 480))
        seconds = np.interp(reference.onset, at, time)
        stop = np.interp(reference.onset + reference.duration, at, time)
        piece = reference.replace(
            onset=np.rint(seconds * 960).astype(np.int32),
            duration=np.rint((stop - seconds) * 960).astype(np.int32),
            tempo_qpm=np.array([120.0]),
        )
        aligned, fit = align(piece)
        assert fit.source == "estimate"
        assert fit.error_ms < 4 < fit.file_error_ms
        assert seconds_moved(piece, aligned) < 0.002
        assert np.abs(aligned.onset - reference.onset).max() < 40
        check(piece, aligned)


@pytest.mark.quick
def test_labels_rule():
    piece = song(delay=333, meters=((0, 1, 4),), qpm=80.0)
    beat = np.arange(-8, 48 * 4 + 1)
    time = piece.seconds(beat * 480 + 333)
    aligned, fit = align(piece, BeatLabels(time, beat % 4 == 2))
    assert fit.source == "labels"
    assert aligned.onset[0] == 2 * 480  # as labelled, though the music says otherwise
    assert aligned.tempo_qpm.tolist() == [80.0]
    check(piece, aligned)
    without, _ = align(piece, BeatLabels(time, np.zeros(len(time), bool)))
    assert without.onset[0] == 0


@pytest.mark.quick
def test_labels_with_bars_of_other_lengths():
    piece = song(bars=12)
    downbeat = np.isin(np.arange(48), [0, 4, 8, 10, 14, 18, 22, 34, 38, 42])
    aligned, _ = align(piece, BeatLabels(np.arange(48) * 60 / 96, downbeat))
    assert list(zip(aligned.meter_tick // 480, aligned.meter_num)) == [(0, 4), (8, 2), (10, 4)]
    check(piece, aligned)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("time", "downbeat"),
    [([0.0], [True]), ([0.0, 1.0], [True]), ([1.0, 0.5], [True, False]), ([0.0, np.nan], [1, 0])],
)
def test_wrong_labels_are_named(time: list[float], downbeat: list[bool]):
    with pytest.raises(UserError, match="at least two beats"):
        align(song(4), BeatLabels(np.array(time), np.array(downbeat)))


@pytest.mark.quick
def test_meter_changes_in_the_middle_of_a_bar():
    piece = song(bars=6, meters=((0, 4, 4), (BAR + 2 * 480, 3, 4), (BAR + 5 * 480 + 360, 4, 4)))
    aligned, _ = align(piece)
    assert aligned.meters == [
        (0, 4, 4),
        (BAR, 2, 4),
        (BAR + 960, 3, 4),
        (BAR + 960 + 1440, 3, 16),
        (BAR + 960 + 1440 + 360, 4, 4),
    ]
    check(piece, aligned)


@pytest.mark.quick
@pytest.mark.parametrize("off", [-70, -1, 47])
def test_a_cut_bar_of_odd_length_keeps_later_bars_in_place(off: int):
    cut = 3 * BAR + 2 * 480 + off
    piece = song(bars=3)
    later = song(bars=4, delay=cut)
    columns = (np.append(getattr(piece, f), getattr(later, f)) for f in NOTE_FIELDS)
    meters = ((0, 4, 4), (cut, 4, 4))
    both = make_notes(*columns, (0, 0), (False, False), ((0, 96.0),), meters)
    grid_notes = beat_grid.warp(both, beat_grid.from_file(both))
    first_later = grid_notes.onset[len(piece)]
    assert first_later in grid_notes.meter_tick
    assert seconds_moved(both, grid_notes) < 0.002
    check(both, grid_notes)


@pytest.mark.quick
def test_labels_of_a_piece_move_along():
    lines = {"key": [(0, 7)], "chord": [(0, 1), (333, 2), (333 + BAR, 3)]}
    labels = Labels.of_changes(lines | {"section": [(333 + 8 * BAR, 2)]}, styles=("pop",))
    piece = song(delay=333, meters=((0, 1, 4),)).replace(labels=labels)
    moved = align(piece)[0].labels
    assert moved.styles == ("pop",)
    assert moved.changes("key") == [(0, 7)] and moved.changes("section") == [(8 * BAR, 2)]
    assert moved.changes("chord") == [(0, 2), (BAR, 3)]


@pytest.mark.quick
def test_few_or_odd_notes():
    empty = make_notes([], [], [], [], [])
    aligned, fit = align(empty)
    assert fit == beats.Fit("file", 0.0, 0.0, 0.0) and aligned.end == 0
    one = make_notes([1234], [100], [60], [90], [0])
    for piece in (one, one.replace(meter_num=np.array([1], np.uint8))):
        aligned, fit = align(piece)
        check(piece, aligned)
    chord = make_notes([50000] * 40, [10] * 40, range(40, 80), [90] * 40, [0] * 40)
    check(chord, align(chord)[0])
    wide = make_notes([0, 2**30], [1, 1], [60, 60], [90, 90], [0, 0], ticks_per_beat=1)
    assert len(align(wide)[0]) == 2


@pytest.mark.quick
@pytest.mark.parametrize("qpm", [1e-3, 5.0, 6e7])
def test_absurd_tempos(qpm: float):
    piece = song(bars=8, delay=77).replace(tempo_qpm=np.array([qpm]))
    check(piece, align(piece)[0])


@pytest.mark.quick
def test_drums_alone():
    rows = [
        (bar * BAR + at, 36 if at % 960 == 0 else 38 if at % 480 == 0 else 42)
        for bar in range(32)
        for at in range(0, BAR, 240)
    ] + [(bar * BAR, 49) for bar in range(32)]
    rows = [(onset + 100, 60, pitch, 90, 0) for onset, pitch in rows]
    piece = make_notes(*zip(*rows), (0,), (True,), ((0, 110.0),), ((0, 1, 4),))
    aligned, fit = align(piece)
    assert aligned.onset[0] == 0 and int(aligned.meter_num[0]) == 4
    assert fit.error == 0.0
    check(piece, aligned)


@pytest.mark.quick
@pytest.mark.parametrize("steps", [2, 3, 4, 6])
def test_a_pulse_played_loosely_is_a_grid(steps: int):
    rng = np.random.default_rng(steps)
    reach = 480 // 24  # a 12th of a beat from end to end
    onset = np.arange(1, 401) * 480 // steps + rng.integers(-reach, reach + 1, 400)
    assert beat_grid.pulse_error(onset, (12,)) == pytest.approx(0.25, abs=0.03)
    assert beat_grid.pulse_error(onset) == pytest.approx(steps / 48, abs=0.01)


@pytest.mark.quick
def test_pulse_error_of_known_onsets():
    assert beat_grid.pulse_error(np.zeros(0, np.int32)) == 0.0
    assert beat_grid.pulse_error(np.array([0, 160, 240, 320])) == 0.0  # of the sixths
    assert beat_grid.pulse_error(np.array([60, 180, 300, 420])) == 0.25  # of the halves
    assert beat_grid.pulse_error(np.array([0, 24, 480, 504])) == pytest.approx(0.05)  # of halves


@pytest.mark.quick
def test_what_says_nothing_is_no_pulse():
    loose = np.rint(np.arange(70) * 120 + 16 * np.sin(np.arange(70) * 2.4)).astype(int)
    for size in (70, 60):
        piece = make_notes(loose[:size] + 480, [60] * size, [60] * size, [90] * size, [0] * size)
        aligned, fit = align(piece)
        pulses = beat_grid.PULSES if size == 70 else (12,)
        assert fit.error == beat_grid.pulse_error(aligned.onset, pulses)


@pytest.mark.quick
@pytest.mark.parametrize("size", [100, 1600])
@pytest.mark.parametrize("density", [0.3, 16.0])
def test_random_onsets_have_no_grid(size: int, density: float):
    rng = np.random.default_rng(size)
    for meter in (1, 4):
        onset = rng.integers(0, int(480 * size / density), size)
        pitch = rng.integers(40, 90, size)
        piece = make_notes(onset, [99] * size, pitch, [90] * size, [0] * size)
        assert align(piece.replace(meter_num=np.array([meter], np.uint8)))[1].error > 0.2


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.lists(st.floats(-20, 20), min_size=1, max_size=14), st.sampled_from([2, 3, 4]))
def test_bar_lines_are_the_likeliest(ratios: list[float], size: int):
    costs = {4: {2: 10, 6: 10, 3: 18, 5: 18}, 3: {2: 14, 4: 14}, 2: {3: 14}}[size] | {size: 0}

    def best(first: int) -> float:
        """Score of the likeliest of all ways to go on from a bar line."""
        ways = [best(first + n) - cost for n, cost in costs.items() if first + n < len(ratios)]
        ways += [0.0] if first + size >= len(ratios) else []
        return ratios[first] + max(ways, default=-np.inf)

    scores = beat_tracking._bar_scores(ratios, size)
    score = max(scores[-size:])
    assert score == pytest.approx(max(best(first) for first in range(len(ratios))[:size]))
    lines = beat_tracking._bar_lines(ratios, scores, size).astype(int).tolist()
    paid = sum(costs[b - a] for a, b in itertools.pairwise(lines))
    assert sum(ratios[t] for t in lines) - paid == pytest.approx(score)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(
    rows=st.lists(
        st.tuples(TICKS, st.integers(1, 4000), PITCHES, st.integers(1, 127), st.integers(0, 2)),
        max_size=60,
    ),
    unit=st.sampled_from([24, 96, 120, 384, 480, 960]),
    tempos=st.lists(st.tuples(TICKS, st.floats(30, 300)), max_size=4),
    meters=st.lists(
        st.tuples(TICKS, st.integers(1, 12), st.sampled_from([2, 4, 8, 16])), max_size=4
    ),
)
def test_any_piece(rows, unit, tempos, meters):
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    instruments = (0, 1, 2), (False, False, True)
    piece = make_notes(*columns, *instruments, tempos, meters, ticks_per_beat=unit)
    aligned, fit = align(piece)
    check(piece, aligned)
    assert 0 <= fit.error <= 0.5
    if len(piece):
        # The two onsets compared are rounded by half a tick each, and so may the change of tempo
        # next to each of them be.
        tempos = np.concatenate([piece.tempo_qpm, aligned.tempo_qpm])
        slowest, fastest = 60 / tempos.min(), 60 / tempos.max()
        bound = (slowest + (slowest - fastest)) / 480
        assert seconds_moved(piece, aligned) <= 1.01 * bound + 1e-6
    assert strategies.differences(aligned, align(piece)[0]) == []


def test_pop909(music: pathlib.Path):
    from jaxmusic._src.formats.annotations import read_beats
    from jaxmusic._src.formats.midi import read_notes

    folders = sorted(p for p in (music / "pop909/POP909").iterdir() if p.is_dir())[::20]
    estimated, labelled, given = [], [], []
    right = 0
    for folder in folders:
        piece = read_notes(folder / f"{folder.name}.mid")
        labels = read_beats(folder / "beat_midi.txt")
        aligned, fit = align(piece)
        check(piece, aligned)
        assert seconds_moved(piece, aligned) < 0.002
        estimated.append(fit.error_ms)
        given.append(fit.file_error_ms)
        known, fit = align(piece, labels)
        check(piece, known)
        labelled.append(fit.error_ms)
        shift = float(aligned.onset[0] - known.onset[0]) / 480
        right += abs(shift - round(shift)) < 0.1
    assert np.mean(estimated) < 3 and np.mean(labelled) < 3
    assert np.mean(given) > 10
    assert right >= 0.9 * len(folders)


def test_grid_phase_of_triplets_and_sixteenths():
    rng = np.random.default_rng(1)
    for sub in (4, 6):
        x = rng.integers(0, 400, 500) / sub + 0.03
        phase, found, share = beat_grid.grid_phase(np.sort(x))
        assert found == sub
        assert abs(phase - 0.03) < 1e-6
        assert share > 0.95
