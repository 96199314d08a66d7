"""Random music for property tests: everything follows from a few small numbers."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from jaxmusic import config
from jaxmusic._src.codecs.layout import BARS_LEFT, DEFAULT_STYLES, TASKS, bars_left_index
from jaxmusic._src.codecs.performance.codec import PerformanceCodec
from jaxmusic._src.codecs.performance.notes import Performance
from jaxmusic._src.codecs.tasks import Given
from jaxmusic._src.music import grid
from jaxmusic._src.music.controls import hidden, of
from jaxmusic._src.music.meters import METERS, TEMPOS
from jaxmusic._src.music.notes import (
    CHORD_COUNT,
    NO_CHORD,
    PHRASES,
    SECTIONS,
    TICKS_PER_BEAT,
    Labels,
    Notes,
    make_notes,
)
from jaxmusic._src.music.piece import Piece
from jaxmusic._src.music.roles import ROLES

P = TypeVar("P", Piece, Performance)


def _labels(rng: np.random.Generator, end: int, tracks: int) -> Labels:
    def changes(values: int, most: int) -> tuple[np.ndarray, np.ndarray]:
        at = np.unique(rng.integers(0, end + 1, rng.integers(0, most + 1)))
        return at.astype(np.int32), rng.integers(0, values, len(at)).astype(np.uint8)

    columns: dict[str, np.ndarray] = {}
    most = {"key": (24, 3), "chord": (CHORD_COUNT + 1, 20), "bass": (12, 10)}
    most |= {"section": (len(SECTIONS), 5), "phrase": (len(PHRASES), 5)}
    for name, (values, count) in most.items():
        columns[f"{name}_tick"], columns[name] = changes(values, count)
    columns["chord"][columns["chord"] == CHORD_COUNT] = NO_CHORD
    if rng.random() < 0.5:
        columns["role"] = rng.integers(-1, len(ROLES), tracks).astype(np.int8)
    styles = tuple(rng.permutation(["pop", "jazz", "waltz"])[: rng.integers(0, 3)].tolist())
    return Labels(styles=styles, song="song", **columns)


def random_notes(seed: int, count: int = 40, tracks: int = 3, labelled: bool = True) -> Notes:
    """Aligned notes with drums, changes of meter and tempo, ties, duplicates and overlaps."""
    rng = np.random.default_rng(seed)
    beats = int(rng.integers(1, 41))
    end = beats * TICKS_PER_BEAT + int(rng.integers(0, TICKS_PER_BEAT))
    onset = rng.integers(0, end, count)
    fine = rng.random() < 0.3
    onset = onset if fine else onset // 120 * 120
    duration = np.where(
        rng.random(count) < 0.1,
        rng.integers(1, 60 * TICKS_PER_BEAT, count),
        rng.integers(1, 2 * TICKS_PER_BEAT, count),
    )
    drum = rng.random(tracks) < 0.3
    if rng.random() < 0.3:
        drum[:] = rng.random() < 0.5
    narrow = rng.random() < 0.5
    meters = [(0, *METERS[rng.integers(len(METERS))])]
    tick = 0
    while rng.random() < 0.6 and tick < end:
        num, den = meters[-1][1:]
        tick += int(rng.integers(1, 4)) * num * 4 * TICKS_PER_BEAT // den
        tick += int(rng.integers(0, 4)) * 120 if rng.random() < 0.2 else 0
        odd = (int(rng.integers(1, 14)), 2 ** int(rng.integers(1, 5)))
        meters.append((tick, *(odd if rng.random() < 0.3 else METERS[rng.integers(len(METERS))])))
    tempos = [(0, float(TEMPOS[rng.integers(len(TEMPOS))]))]
    for _ in range(rng.integers(0, 6)):
        tempos.append((int(rng.integers(0, end)), float(rng.uniform(30, 260))))
    return make_notes(
        onset,
        duration,
        rng.integers(55, 63, count) if narrow else rng.integers(0, 128, count),
        rng.integers(1, 128, count),
        rng.integers(0, max(tracks, 1), count),
        program=rng.integers(0, 128, tracks),
        drum=drum,
        tempos=tuple(tempos),
        meters=tuple(meters),
        end=end,
        labels=_labels(rng, end, tracks) if labelled else Labels(),
    )


def notes(max_tracks: int = 20, max_notes: int = 60) -> st.SearchStrategy[Notes]:
    """Aligned `Notes`."""
    return st.builds(
        random_notes,
        seed=st.integers(0, 2**32 - 1),
        count=st.integers(0, max_notes),
        tracks=st.integers(1, max_tracks),
        labelled=st.booleans(),
    )


def random_piece(
    seed: int, count: int = 40, tracks: int = 3, steps: int = 12, velocities: int = 8
) -> Piece:
    """A quantised piece."""
    return grid.quantise(random_notes(seed, count, tracks), steps, velocities)[0]


def pieces(
    max_tracks: int = 20, max_notes: int = 60, steps: int | None = None
) -> st.SearchStrategy[Piece]:
    """Quantised `Piece`s of every resolution, or of one with 8 levels where steps is given."""
    return st.builds(
        random_piece,
        seed=st.integers(0, 2**32 - 1),
        count=st.integers(0, max_notes),
        tracks=st.integers(1, max_tracks),
        steps=st.just(steps) if steps else st.sampled_from((12, 24)),
        velocities=st.just(8) if steps else st.sampled_from((8, 16, 32)),
    )


def as_decoded(piece: P, drop: frozenset[str] = frozenset()) -> P:
    """The piece as far as a stream of its codec tells of it."""
    after = min(piece.bars_after, 1)
    if isinstance(piece, Piece):
        unstated = {kind: of(kind).unknown(piece.bars) for kind in hidden(drop) - {"style"}}
        piece, after = piece.with_controls(**unstated), BARS_LEFT[bars_left_index(piece.bars_after)]
    return dataclasses.replace(
        piece,
        song="",
        styles=() if "styles" in drop else tuple(sorted(piece.styles, key=DEFAULT_STYLES.index)),
        bars_before=min(piece.bars_before, 1),
        bars_after=int(after),
    )


def random_given(seed: int, piece: Piece, task: str) -> Given:
    """What is given of a piece, as the tasks have it."""
    rng = np.random.default_rng(seed)
    slots = np.zeros(16, bool)
    if task in ("infill", "vary"):
        marked = rng.random(piece.bars) < rng.random()
        if task == "infill":
            start, stop = np.sort(rng.integers(0, piece.bars + 1, 2))
            marked = (np.arange(piece.bars) >= start) & (np.arange(piece.bars) < stop)
    else:
        marked = np.arange(piece.bars) >= rng.choice((0, rng.integers(0, piece.bars)))
        there = np.flatnonzero(piece.programs >= 0)
        most = 1 if task == "harmonise" else len(there)
        slots[rng.permutation(there)[: rng.integers(0, most + 1)]] = True
    return Given(TASKS.index(task), marked, slots, chords=task in ("accompany", "vary"))


def differences(a: Any, b: Any, ignore: tuple[str, ...] = ()) -> list[str]:
    """Names of the fields, controls and labels in which two pieces differ, in value or in type."""

    def values(piece: Any) -> dict[str, object]:
        fields = dict(vars(piece))
        controls, labels = fields.pop("controls", {}), fields.pop("labels", None)
        return fields | controls | (vars(labels) if labels else {})

    out, theirs = [], values(b)
    for name, x in values(a).items():
        y = theirs[name]
        same = np.array_equal(x, y) and getattr(x, "dtype", None) == getattr(y, "dtype", None)
        out += [] if same or name in ignore else [name]
    return out


@st.composite
def separate_notes(draw: st.DrawFn, most_tracks: int = 15) -> Notes:
    """`Notes` off any grid; each track has notes, and none of one pitch in it overlap."""

    def changes(values: st.SearchStrategy[Any], most: int = 3) -> list[tuple[int, Any]]:
        rows = st.tuples(st.integers(0, 9000), values)
        return draw(st.lists(rows, max_size=most, unique_by=lambda row: row[0]))

    instrument = st.tuples(st.integers(0, 127), st.booleans())
    instruments = draw(st.lists(instrument, min_size=1, max_size=most_tracks))
    spans = st.tuples(st.integers(0, 2000), st.integers(1, 3000), st.integers(1, 127))
    rows = []
    for track in range(len(instruments)):
        for pitch in draw(st.lists(st.integers(0, 127), min_size=1, max_size=4, unique=True)):
            tick = 0
            for gap, duration, velocity in draw(st.lists(spans, min_size=1, max_size=4)):
                rows.append((tick + gap, duration, pitch, velocity, track))
                tick += gap + duration
    meter = st.tuples(st.integers(1, 15), st.sampled_from([1, 2, 4, 8, 16]))
    numbers = {"key": 24, "chord": CHORD_COUNT, "section": len(SECTIONS), "phrase": len(PHRASES)}
    labels = {name: changes(st.integers(0, n - 1)) for name, n in numbers.items()}
    return make_notes(
        *zip(*rows),
        program=[program for program, _ in instruments],
        drum=[drum for _, drum in instruments],
        # MIDI files hold whole microseconds per quarter note.
        tempos=tuple((t, 60e6 / round(60e6 / qpm)) for t, qpm in changes(st.floats(5.0, 900.0), 6)),
        meters=tuple((tick, *meter) for tick, meter in changes(meter, 4)),
        end=draw(st.integers(0, 20000)),
        labels=Labels.of_changes(labels, styles=("pop",), song="a song"),
    )


def random_performed_notes(seed: int, count: int = 40, seconds: int = 20) -> Notes:
    """Notes off any grid, with overlaps and duplicates of one pitch, chords and long silences."""
    rng = np.random.default_rng(seed)
    end = int(seconds * 960)
    onset = rng.integers(0, end, count)
    crowd = rng.random(count) < 0.5  # many within few steps of each other
    onset[crowd] = onset[crowd] // 1920 * 1920 + rng.integers(0, 20, crowd.sum())
    long = rng.random(count) < 0.2
    duration = np.where(long, rng.integers(1, 9600, count), rng.integers(1, 960, count))
    low, high = ((58, 64), (0, 128))[rng.integers(2)]
    tracks = int(rng.integers(1, 4))
    tempos = [(0, float(rng.uniform(40, 240)))]
    for _ in range(rng.integers(0, 4)):
        tempos.append((int(rng.integers(0, end)), float(rng.uniform(30, 260))))
    return make_notes(
        onset,
        duration,
        rng.integers(low, high, count),
        rng.integers(1, 128, count) if rng.random() < 0.7 else rng.integers(60, 70, count),
        rng.integers(0, tracks, count),
        program=rng.integers(0, 128, tracks),
        drum=rng.random(tracks) < 0.2,
        tempos=tuple(tempos),
        end=end if rng.random() < 0.5 else 0,
        ticks_per_beat=int(rng.choice((96, 220, 480, 1000))),
        labels=Labels(styles=("jazz", "pop")[: rng.integers(0, 3)], song="song"),
    )


def random_performance(
    seed: int, count: int = 40, seconds: int = 20, velocities: int = 32
) -> Performance:
    """A performance."""
    codec = PerformanceCodec(config.Codec(velocities=velocities, kind="performance"))
    notes = random_performed_notes(seed, count, seconds).replace(
        ticks_per_beat=TICKS_PER_BEAT,  # 960 ticks a second
        tempo_tick=np.zeros(1, np.int32),
        tempo_qpm=np.array([120.0]),
    )
    return codec.quantise(notes)[0]


def performances(max_notes: int = 60) -> st.SearchStrategy[Performance]:
    """`Performance`s with every number of levels."""
    return st.builds(
        random_performance,
        seed=st.integers(0, 2**32 - 1),
        count=st.integers(0, max_notes),
        seconds=st.integers(1, 40),
        velocities=st.sampled_from((8, 16, 32)),
    )
