import dataclasses
import itertools
import pathlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import starter
from jaxmusic._src.formats.annotations import read_beats, read_chords, read_keys
from jaxmusic._src.formats.symbols import chord_number, chord_symbol
from jaxmusic._src.music import beats, grid, harmony
from jaxmusic._src.music.notes import CHORD_TONES, NO_CHORD, Labels, Notes, make_notes
from tests import strategies

SONG = "C G Am F C Dm G7 C"


def band(
    symbols: str,
    meter: tuple[int, int] = (4, 4),
    per_bar: int = 1,
    bass: bool = True,
    drums: bool = False,
) -> Notes:
    """Block chords, each of them over its root."""
    bar = meter[0] * 1920 // meter[1]
    length, rows = bar // per_bar, []
    for k, symbol in enumerate(symbols.split()):
        number = chord_number(symbol)
        assert number is not None
        root = number % 12
        rows += [(k * length, length, 60 + root + i, 80, 0) for i in CHORD_TONES[number // 12]]
        rows += [(k * length, length, 36 + root, 90, 1)] * bass
        rows += [(k * length, 60, 36, 100, 2)] * drums
    drum = (False, False, True)
    return make_notes(*zip(*rows), (0, 33, 0), drum, meters=((0, *meter),))


def heard(notes: Notes) -> tuple[list[str], list[int]]:
    found = harmony.infer(notes)
    return [chord_symbol(c) for c in found.chord], found.chord_tick.tolist()


def transposed(notes: Notes, semitones: int) -> Notes:
    pitch = notes.pitch.astype(int) + np.where(notes.is_drum, 0, semitones)
    return notes.replace(pitch=pitch.astype(np.uint8))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("symbols", "key"),
    [
        ("C G Am F " * 4, 0),
        ("Am F C G " * 3 + "Am", 21),
        ("Cm Fm G7 Cm " * 3, 12),
        ("Dm7 G7 C C " * 4, 0),
        ("D G A7 D Bm Em A7 D", 2),
        ("F Bb C7 F Dm Gm C7 F", 5),
        ("Em Am B7 Em C Am B7 Em", 16),
    ],
)
def test_progressions(symbols: str, key: int):
    found = harmony.infer(band(symbols))
    assert found.key.tolist() == [key] and found.key_tick.tolist() == [0]
    assert all(getattr(found, f"{n}_tick").dtype == np.int32 for n in ("key", "chord", "bass"))
    assert all(getattr(found, n).dtype == np.uint8 for n in ("key", "chord", "bass"))
    expected = [symbol for symbol, _ in itertools.groupby(symbols.split())]
    assert [chord_symbol(c) for c in found.chord] == expected


@pytest.mark.parametrize("quality", range(7))
def test_every_fitted_quality_is_known(quality: int):
    """In bars of its own between chords of the key, over its root."""
    number = (5, 9, 7, 5, 2, 11, 7)[quality] + quality * 12
    symbol = chord_symbol(number)
    symbols, _ = heard(band(f"C {symbol} Em {symbol} C"))
    assert symbols == ["C", symbol, "Em", symbol, "C"]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("meter", "half"),
    [((4, 4), 960), ((3, 4), 720), ((6, 8), 720), ((5, 4), 1200), ((7, 8), 840), ((12, 8), 1440)],
)
def test_half_bars_of_every_meter(meter: tuple[int, int], half: int):
    symbols = SONG.split()
    whole = heard(band(SONG, meter))
    assert whole == (symbols, [2 * half * k for k in range(8)])
    assert heard(band(SONG, meter, per_bar=2)) == (
        symbols,
        [half * k for k in range(8)],
    )


def test_changes_of_meter():
    a, b = band("C G Am F", (4, 4)), band("C G Am F", (3, 4))
    b = b.replace(onset=b.onset + 7680)
    names = ("onset", "duration", "pitch", "velocity", "track")
    columns = (np.concatenate([getattr(a, name), getattr(b, name)]) for name in names)
    joined = make_notes(*columns, a.program, a.drum, meters=((0, 4, 4), (7680, 3, 4)))
    assert heard(joined) == (
        ["C", "G", "Am", "F"] * 2,
        [*range(0, 7680, 1920), *range(7680, 13440, 1440)],
    )


def test_inversions_and_early_notes():
    notes = band("C G Am F " * 2, bass=False)
    first_inversion = np.where(notes.pitch % 12 == 0, notes.pitch + 12, notes.pitch)
    assert heard(notes.replace(pitch=first_inversion.astype(np.uint8))) == heard(notes)
    early = np.maximum(notes.onset - 25, 0)  # a human player's
    assert heard(notes.replace(onset=early.astype(np.int32))) == heard(notes)


def test_a_song_that_modulates():
    notes = band("C F G C " * 6 + "D G A D " * 6)
    found = harmony.infer(notes)
    assert found.key.tolist() == [0, 2] and abs(found.key_tick[1] - 24 * 1920) <= 1920


def test_silence_is_no_chord():
    notes = band("C G C G")
    late = notes.replace(onset=notes.onset + 4 * 1920, end=12 * 1920)
    assert heard(late) == (
        ["N.C.", "C", "G", "C", "G", "N.C."],
        [0, 7680, 9600, 11520, 13440, 15360],
    )


@pytest.mark.parametrize("symbols", ["C G Am F " * 3, "C", "F#", "Ebm"])
def test_drums_are_left_aside(symbols: str):
    assert heard(band(symbols, drums=True)) == heard(band(symbols))
    assert heard(band(symbols))[0] == symbols.split()


@pytest.mark.quick
def test_nothing_pitched_has_no_harmony():
    drums = make_notes([0, 480], [60, 60], [36, 38], [90, 90], [0, 0], drum=(True,), end=1920)
    for notes in (make_notes([], [], [], [], []), drums):
        labels = harmony.with_harmony(notes).labels
        assert len(labels.key) == len(labels.chord) == len(labels.bass) == 0


@pytest.mark.quick
@pytest.mark.parametrize("length", [1, 100, 1920, 100_000_000])
def test_one_note(length: int):
    found = harmony.infer(make_notes([0], [length], [62], [90], [0], end=1920))
    assert len(found.key) == 1
    assert found.key_tick.tolist() == [0] and found.chord_tick.tolist()[0] == 0


def test_labels_stay():
    notes = band("C G Am F " * 2)
    inferred = harmony.infer(notes)
    for has_key, has_chord in itertools.product((False, True), repeat=2):
        lines = {"section": [(0, 1)]} | ({"key": [(0, 7)]} if has_key else {})
        lines |= {"chord": [(0, NO_CHORD)]} if has_chord else {}
        given = Labels.of_changes(lines, styles=("pop",), song="four")
        labels = harmony.with_harmony(notes.replace(labels=given)).labels
        assert (labels.styles, labels.song, labels.section.tolist()) == (("pop",), "four", [1])
        assert labels.changes("key") == (given if has_key else inferred).changes("key")
        assert labels.changes("chord") == (given if has_chord else inferred).changes("chord")
        assert labels.changes("bass") == (given if has_chord else inferred).changes("bass")


def test_pieces_in_ticks_of_their_file_are_refused():
    with pytest.raises(UserError, match="96 ticks"):
        harmony.infer(dataclasses.replace(band("C"), ticks_per_beat=96))


@hypothesis.given(strategies.notes(), st.integers(-11, 11))
@hypothesis.settings(deadline=None, max_examples=150)
def test_transposing_transposes(notes: Notes, semitones: int):
    room = np.clip(notes.pitch, 12, 115)
    notes = notes.replace(pitch=room)  # rows need not stay sorted by pitch
    found, moved = harmony.infer(notes), harmony.infer(transposed(notes, semitones))
    assert np.array_equal(found.chord_tick, moved.chord_tick)
    assert np.array_equal(found.key_tick, moved.key_tick)
    for was, now, rest in ((found.key, moved.key, 24), (found.chord, moved.chord, NO_CHORD)):
        was = was.astype(int)
        expected = np.where(was == rest, rest, was // 12 * 12 + (was % 12 + semitones) % 12)
        assert expected.tolist() == now.tolist()


@hypothesis.given(strategies.notes())
@hypothesis.settings(deadline=None, max_examples=150)
def test_ticks_ascend_within_the_piece(notes: Notes):
    found = harmony.infer(notes)
    bars = grid.quantise(notes)[0].bar_step * 40
    halves = [*bars, *(bars[:-1] + np.diff(bars) // 2)]
    for ticks, values, most, places in (
        (found.key_tick, found.key, 24, bars),
        (found.chord_tick, found.chord, NO_CHORD + 1, halves),
    ):
        assert len(ticks) == len(values)
        assert (len(ticks) > 0) == bool((~notes.is_drum).any())
        if len(ticks):
            assert ticks[0] == 0 and np.all(np.diff(ticks) > 0) and ticks[-1] < notes.end
            assert np.all(values[1:] != values[:-1]) and values.max() < most
            assert np.isin(ticks, places).all()


@hypothesis.given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 3))
def test_the_likeliest_path_is_the_best_of_all(seed: int, places: int, states: int):
    rng = np.random.default_rng(seed)
    evidence, stays = rng.normal(size=(places, states)), rng.uniform(0, 2, places)

    def score(path: tuple[int, ...]) -> float:
        kept = sum(stays[t] for t in range(1, places) if path[t] == path[t - 1])
        return kept + sum(evidence[t, state] for t, state in enumerate(path))

    best = max(itertools.product(range(states), repeat=places), key=score)
    assert tuple(harmony.likeliest(evidence, stays).tolist()) == best


def value_at(time: np.ndarray, value: np.ndarray, at: np.ndarray, before: int) -> np.ndarray:
    k = np.searchsorted(time, at, side="right") - 1
    return np.where(k < 0, before, value[np.maximum(k, 0)].astype(int))


def test_starter_corpus():
    """Chords and keys of songs made by rule, that the weights were not fitted on."""
    chords, triads, keys = [], [], []
    for notes in starter.corpus(40):
        true, found = notes.labels, harmony.infer(notes)
        at = np.arange(0, notes.end, 240)
        a = value_at(true.chord_tick, true.chord, at, NO_CHORD)
        b = value_at(found.chord_tick, found.chord, at, NO_CHORD)
        chords.append(np.mean(a == b))
        triads.append(np.mean(TRIAD[a] == TRIAD[b]))
        a = value_at(true.key_tick, true.key, at, 0)
        keys.append(np.mean(a == value_at(found.key_tick, found.key, at, 0)))
    assert np.mean(chords) > 0.9 and np.mean(triads) > 0.95 and np.mean(keys) > 0.95


TRIAD = np.array(
    [
        24 if c == NO_CHORD else {0: 0, 2: 0, 3: 0, 1: 12, 4: 12}.get(c // 12, -24) + c % 12
        for c in range(NO_CHORD + 1)
    ]
)
"""Major (0-11) or minor (12-23) triad in each chord, 24 for none, below 0 for neither."""


def test_pop909(music: pathlib.Path):
    """Overlap of major and minor chords in songs that the weights were not fitted on."""
    from jaxmusic._src.formats.midi import read_notes

    folders = sorted(p for p in (music / "pop909/POP909").iterdir() if p.is_dir())[1::20]
    overlap, same_key = {"labels": [], "estimate": []}, []
    for folder in folders:
        piece = read_notes(folder / f"{folder.name}.mid")
        time, chord, _ = read_chords(folder / "chord_midi.txt")
        at = np.arange(time[0], time[-1], 0.05)
        true = TRIAD[value_at(time, chord, at, NO_CHORD)]
        for grid_, labels in (("labels", read_beats(folder / "beat_midi.txt")), ("estimate", None)):
            aligned, _ = beats.align(piece, labels)
            found = harmony.infer(aligned)
            begins = piece.seconds(piece.onset[0]) - aligned.seconds(aligned.onset[0])
            seconds = aligned.seconds(found.chord_tick) + begins
            inferred = TRIAD[value_at(seconds, found.chord, at, NO_CHORD)]
            overlap[grid_].append(np.mean((inferred == true)[true >= 0]))
        same_key.append(found.key[0] == read_keys(folder / "key_audio.txt")[1][0])
    assert np.mean(overlap["labels"]) > 0.85 and np.mean(overlap["estimate"]) > 0.85
    assert np.mean(same_key) > 0.8
