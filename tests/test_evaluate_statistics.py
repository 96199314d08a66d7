import dataclasses
import math
import pathlib

import hypothesis
import numpy as np
import pytest
from codec_walks import real_notes

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.evaluate import (
    adherence,
    bars,
    endings,
    pitch,
    rhythm,
    sound,
    statistics,
    structure,
)
from jaxmusic._src.formats.symbols import chord_number
from jaxmusic._src.music import beats
from jaxmusic._src.music.notes import NO_CHORD, Notes, make_notes
from tests import strategies
from tests.data_music import tune

DOCS = pathlib.Path(__file__).parents[1] / "docs" / "evaluation.md"


def line(pitches, step=480, length=480, track=0, **fields) -> Notes:
    """Notes that follow each other."""
    n = len(pitches)
    onset = np.arange(n) * step
    return make_notes(onset, [length] * n, pitches, [80] * n, [track] * n, **fields)


EMPTY = make_notes([], [], [], [], [], program=(), drum=())
SILENT = EMPTY.replace(end=1920 * 4)
ONE = line([60])
DRUMS = line([36, 38] * 16, drum=(True,))
NO_DRUMS = tune(1, bars=24, drums=False)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(strategies.notes())
def test_any_piece_can_be_measured(notes: Notes):
    for name, value in statistics.measure(notes).items():
        kinds = statistics.STATISTICS[name].kinds
        if value is None:
            continue
        assert isinstance(value, np.ndarray if kinds else float), name
        assert np.isfinite(value).all(), name
        if kinds:
            assert value.shape == (len(kinds),)
            assert value.min() >= 0 and value.sum() == pytest.approx(1)


@pytest.mark.quick
def test_what_is_not_defined():
    def undefined(notes):
        return {name for name, value in statistics.measure(notes).items() if value is None}

    everything = set(statistics.STATISTICS)
    assert undefined(EMPTY) == everything
    there = {"notes_per_second", "notes_per_quarter", "empty_beats", "empty_bars", "tempo"}
    assert undefined(SILENT) == everything - there
    comparing = {"inter_onsets", "groove_consistency", "groove_similarity", "chord_irregularity"}
    form = {f"structureness_{span}" for span in structure.SPANS}
    far = {"bar_similarity_4", "bar_similarity_8"}
    assert undefined(ONE) == comparing | form | far
    pitched = {"pitch_class_entropy", "scale_consistency", "pitches", "pitch_classes"}
    pitched |= {"pitch_range", "polyphony", "polyphony_rate", "durations", "chord_irregularity"}
    assert undefined(DRUMS) == pitched | form | {"bar_similarity_8"}
    assert undefined(NO_DRUMS) == set()


def test_statistics_of_pitch_by_hand():
    two = make_notes([0, 0, 480, 960], [960, 480, 480, 480], [60, 64, 72, 67], [80] * 4, [0] * 4)
    assert pitch.pitch_class_entropy(two) == pytest.approx(1.5)  # C twice, E, G
    assert pitch.pitch_class_entropy(line([60, 72])) == 0
    assert pitch.scale_consistency(line(range(60, 72))) == pytest.approx(7 / 12)
    assert (pitch.pitches(two), pitch.pitch_classes(two), pitch.pitch_range(two)) == (4, 3, 12)
    # C and E for a quarter, then C and the C above, then G alone.
    assert pitch.polyphony(two) == pytest.approx(5 / 3)
    assert pitch.polyphony_rate(two) == pytest.approx(2 / 3)
    # A rest counts for the rate alone; a pitch that two instruments play counts once.
    both = make_notes([0, 240, 960], [480, 480, 480], [60, 60, 60], [80] * 3, [0, 1, 0], (0, 1))
    assert pitch.polyphony(dataclasses.replace(both, drum=np.zeros(2, bool))) == 1


def test_statistics_of_time_by_hand():
    notes = line([60] * 8, step=960, length=480, tempos=((0, 60.0),), end=8 * 960)
    assert rhythm.notes_per_second(notes) == rhythm.notes_per_quarter(notes) == 0.5
    assert rhythm.empty_beats(notes) == 0.5
    assert rhythm.empty_bars(notes) == 0
    assert rhythm.empty_bars(notes.replace(end=8 * 1920)) == 0.5
    assert rhythm.durations(notes)[rhythm.NOTE_VALUE_NAMES.index("quarter")] == 1
    assert rhythm.inter_onsets(notes)[rhythm.NOTE_VALUE_NAMES.index("half")] == 1
    assert rhythm.bar_positions(notes)[[0, 8]].tolist() == [0.5, 0.5]
    waltz = line([60] * 6, meters=((0, 3, 4),))
    assert rhythm.bar_positions(waltz) is None
    assert rhythm.beat_positions(waltz)[0] == 1
    assert (sound.instruments(notes), sound.tempo(notes)) == (1, 60)


def test_played_notes_count_for_the_nearest_place():
    rng = np.random.default_rng(0)
    exact = tune(3, bars=8)
    early = np.maximum(exact.onset + rng.integers(-15, 15, len(exact)), 0)
    others = (exact.duration, exact.pitch, exact.velocity, exact.track)
    played, straight = (make_notes(x, *others, end=9 * 1920) for x in (early, exact.onset))
    for of in (rhythm.bar_positions, rhythm.beat_positions, rhythm.inter_onsets):
        assert of(played).tolist() == of(straight).tolist()
    assert rhythm.groove_similarity(played) == rhythm.groove_similarity(straight)


def test_grooves_by_hand():
    # Bars with onsets on quarters 1 2 3 4, 1 3, 1 3; each has 48 steps.
    onset = [0, 480, 960, 1440, 1920, 2880, 3840, 4800]
    notes = make_notes(onset, [480] * 8, [60] * 8, [80] * 8, [0] * 8)
    assert rhythm.groove_consistency(notes) == pytest.approx(1 - (2 / 48 + 0) / 2)
    assert rhythm.groove_similarity(notes) == pytest.approx(1 - (2 / 48 + 2 / 48 + 0) / 3)
    # A bar of another length is compared with none.
    odd = notes.replace(
        meter_tick=np.array([0, 1920], np.int32),
        meter_num=np.array([4, 2], np.uint8),
        meter_den=np.array([4, 4], np.uint8),
    )
    assert rhythm.groove_consistency(odd) == 1


def test_chords_that_go_round_are_regular():
    def of(symbols):
        chords = [NO_CHORD if s == "-" else chord_number(s) for s in symbols.split()]
        return structure.irregularity(np.array(chords))

    assert structure.chord_irregularity(NO_DRUMS) is not None
    assert of("C G Am F " * 5) == pytest.approx(4 / 18)
    assert of("C G Am F Dm E7") == 1
    assert of("C C G - G Am F") == 1  # C G Am F, named once each
    assert of("C G C") == 1
    assert of("C G - G") is None


def test_structureness_is_what_it_says():
    notes = tune(7, bars=13, drums=False).replace(tempo_qpm=np.array([120.0]))
    alike = structure.self_similarity(notes).astype(float)
    sets = [set() for _ in range(13)]
    for onset, key in zip(notes.onset, notes.pitch):
        sets[onset // 1920].add((onset % 1920, int(key)))
    assert alike == pytest.approx(np.array([[len(a & b) / len(a | b) for a in sets] for b in sets]))
    lengths = []
    for n in (2, 3):  # 4 and 6 seconds
        best = []
        for a in range(13 - n + 1):
            others = [b for b in range(13 - n + 1) if abs(a - b) >= n]
            sums = [sum(alike[a + k, b + k] for k in range(n)) / n for b in others]
            best += [max(sums)] if sums else []
        lengths.append(np.mean(best))
    assert structure.structureness(notes, "short") == pytest.approx(np.mean(lengths))


def test_a_long_piece_is_compared_in_blocks(monkeypatch: pytest.MonkeyPatch):
    whole = structure.self_similarity(tune(8))
    monkeypatch.setattr(structure, "_BLOCK", 7)
    assert structure.self_similarity(tune(8)) == pytest.approx(whole)


@pytest.mark.quick
@pytest.mark.parametrize(
    "measure",
    [
        statistics.measure,
        bars.similarity,
        bars.longest_run,
        endings.ending,
        adherence.opens_and_closes,
        adherence.main_key,
        lambda notes: adherence.chords(notes, np.array([0])),
        lambda notes: adherence.density_error(notes, 1.0),
    ],
)
def test_pieces_that_are_not_aligned_are_refused(measure):
    with pytest.raises(UserError, match=r"beats\.align"):
        measure(NO_DRUMS.replace(ticks_per_beat=384))


@pytest.mark.quick
def test_mean_and_deviation_of_what_is_defined():
    assert statistics.mean_and_deviation([]) == (None, None)
    assert statistics.mean_and_deviation([None, 2.0]) == (2.0, None)
    assert statistics.mean_and_deviation([1.0, None, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    found = statistics.measure_all([NO_DRUMS, EMPTY, DRUMS])
    assert set(found) == set(statistics.STATISTICS)
    assert [value is None for value in found["durations"]] == [False, True, True]


@pytest.mark.quick
def test_each_statistic_is_explained_in_the_documentation():
    text = DOCS.read_text()
    for name, statistic in statistics.STATISTICS.items():
        row = next(row for row in text.splitlines() if row.startswith(f"| `{name}` |"))
        assert f"| {statistic.unit} | {statistic.meaning} |" in row


def test_real_files_agree_with_muspy(music: pathlib.Path):
    muspy = pytest.importorskip("muspy", reason="muspy, in the extra test, is not installed")
    folders = ("pop909", "freedoom", "multitrack_pop", "mutopia", "nottingham", "groove")
    compared = 0
    for number, read in enumerate(real_notes(music, *folders, count=9)):
        notes = beats.align(read)[0]
        # On whole steps, which both of us can say.
        onset, length = (notes.onset + 20) // 40, np.maximum(notes.duration // 40, 1)
        end = int((onset + length).max())
        snapped = make_notes(
            *(onset * 40, length * 40, notes.pitch, notes.velocity, notes.track),
            *(notes.program, notes.drum),
            end=end * 40,
        )
        kinds = zip(notes.program.tolist(), notes.drum.tolist())
        tracks = [muspy.Track(program=program, is_drum=drum) for program, drum in kinds]
        for row in zip(onset.tolist(), notes.pitch.tolist(), length.tolist(), notes.track.tolist()):
            tracks[row[3]].notes.append(muspy.Note(*row[:3]))
        peer = muspy.Music(resolution=12, tracks=tracks)
        # What sounds up to a beat's first instant sounds in that beat, and a last one is counted.
        held = snapped.replace(duration=snapped.duration + 1, end=(end // 12 + 1) * 480)
        barred = snapped.replace(end=(end // 48 + 1) * 1920)
        lines = end // 48 + 2
        ours = {
            "pitch_class_entropy": pitch.pitch_class_entropy(snapped),
            "scale_consistency": pitch.scale_consistency(snapped),
            "n_pitches_used": pitch.pitches(snapped),
            "n_pitch_classes_used": pitch.pitch_classes(snapped),
            "pitch_range": pitch.pitch_range(snapped),
            "polyphony": pitch.polyphony(snapped),
            "polyphony_rate": pitch.polyphony_rate(snapped),
            "empty_beat_rate": rhythm.empty_beats(held),
            "empty_measure_rate": rhythm.empty_bars(held),
            "groove_consistency": rhythm.groove_consistency(barred),
        }
        for name, value in ours.items():
            if value is None:  # drums alone
                assert snapped.is_drum.all() or lines == 2, (number, name)
                continue
            sized = {"polyphony_rate": 1, "empty_measure_rate": 48, "groove_consistency": 48}
            theirs = getattr(muspy, name)(peer, *([sized[name]] if name in sized else []))
            assert value == pytest.approx(theirs, abs=1e-6), (number, name)
            compared += 1
    assert compared > 450
