"""Small pieces of music made by chance, and MIDI files of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from etils import epath

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.data.pieces import Pieces
from jaxmusic._src.formats import files
from jaxmusic._src.music.notes import Labels, Notes, make_notes

BAR = 1920
TICKS = (96, 120, 192, 220, 256, 384, 480, 960)
"""Ticks per beat of altered copies."""


def columns(batch):
    """All arrays of a row or batch."""
    return (*batch.events, batch.target, batch.segment, batch.weight)


def same(a, b):
    """Whether two rows or batches are the same, types included."""
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(columns(a), columns(b)))


def fields(notes):
    """Every field of a piece, and of its labels, with the type of its column."""
    whole = vars(notes) | {f"labels.{name}": value for name, value in vars(notes.labels).items()}
    del whole["labels"]
    return {name: (np.asarray(v).dtype, np.asarray(v).tolist()) for name, v in whole.items()}


class Stored(NamedTuple):
    """A piece of a dataset: its split, its record, and its notes as they are read from it."""

    split: str
    record: dict[str, Any]
    notes: Any


def stored(summary):
    """The pieces of a dataset by the names of their files, in order."""
    import tensorflow_datasets as tfds

    out = {}
    for split in summary.splits:
        pieces = Pieces(epath.Path(summary.path), split, MetricalCodec())
        records = tfds.builder_from_directory(summary.path).as_data_source(split)
        for i in range(len(pieces)):
            out[records[i]["path"].decode()] = Stored(split, records[i], pieces.notes(i))
    return out


def tune(seed, bars=16, drums=True, styles=(), song="", low=55):
    """A melody with chords and drums on a grid of sixteenths, another for each seed."""
    rng = np.random.default_rng(seed)
    rows = []
    for bar in range(bars):
        start = bar * 1920
        at = np.sort(rng.choice(16, 6, replace=False)) if bar else np.arange(6)
        pitches = low + 12 + rng.integers(0, 19, len(at))
        rows += [(start + 120 * int(t), 120, int(p), 90, 0) for t, p in zip(at, pitches)]
        root = int(rng.integers(0, 12))
        rows += [(start, 1920, low - 12 + root + i, 70, 1) for i in (0, 4, 7)]
        if drums:
            rows += [(start + 480 * i, 60, (36, 38)[i % 2], 100, 2) for i in range(4)]
    return make_notes(
        *zip(*rows),
        program=[73, 0, 0],
        drum=[False, False, True],
        tempos=((0, 100.0 + seed % 30),),
        end=bars * 1920,
        labels=Labels(styles=tuple(styles), song=song),
    )


def planted(host, source, bars, up=0, stretch=1.0, tracks=(0, 1, 2), drop=0.0, at=4, first=6):
    """A host with bars of a source, from bar `first` on, in place of its own from `at` on."""
    rng = np.random.default_rng(1)
    length = round(bars * BAR * stretch)
    keep = (host.onset < at * BAR) | (host.onset >= at * BAR + length)
    keep |= ~np.isin(host.track, tracks)
    rows = (source.onset >= first * BAR) & (source.onset < (first + bars) * BAR)
    rows &= np.isin(source.track, tracks) & (rng.random(len(source)) >= drop)
    onset = np.rint((source.onset[rows] - first * BAR) * stretch).astype(int) + at * BAR
    pitch = source.pitch[rows] + up * ~source.is_drum[rows]
    new = (onset, np.rint(source.duration[rows] * stretch), pitch, source.velocity[rows])
    old = (host.onset, host.duration, host.pitch, host.velocity, host.track)
    columns = [np.concatenate([o[keep], n]) for o, n in zip(old, (*new, source.track[rows]))]
    return make_notes(*columns, program=host.program, drum=host.drum, tempos=((0, 87.0),))


def folder(path, count, start=0, bars=16):
    """A folder of `count` MIDI files, some of them deeper in."""
    for i in range(start, start + count):
        files.write(tune(i, bars), path / ("", "a", "b/ü c")[i % 3] / f"tune{i:03}.mid")
    return path


def altered(notes: Notes, rng: np.random.Generator, drop: str) -> Notes:
    """Makes another version of a piece as read from a file.

    The piece is moved by -6 to 6 semitones, within its range, and played 0.8 to 1.25 times as
    fast, on other ticks per beat, to which times are rounded.

    Args:
      notes: the piece in its file's ticks, with pitched notes.
      rng: random generator.
      drop: ``notes`` drops each note with probability 10 %, ``track`` one track that is not the
        only one with pitched notes.
    """
    pitch = notes.pitch.astype(np.int64)
    pitched = ~notes.is_drum
    low, high = max(-6, -pitch[pitched].min()), min(6, 127 - pitch[pitched].max())
    if drop == "notes":
        keep = rng.random(len(notes)) >= 0.1
    else:
        tracks = np.unique(notes.track)
        alone = np.unique(notes.track[pitched])
        others = np.setdiff1d(tracks, alone if len(alone) == 1 else [])
        keep = notes.track != rng.choice(others)
    ticks = int(rng.choice([t for t in TICKS if t != notes.ticks_per_beat]))

    def scaled(at: np.ndarray) -> np.ndarray:
        return np.rint(at * (ticks / notes.ticks_per_beat)).astype(np.int64)

    onset, stop = scaled(notes.onset), scaled(notes.onset.astype(np.int64) + notes.duration)
    qpm = notes.tempo_qpm * rng.uniform(0.8, 1.25)
    return make_notes(
        onset[keep],
        (stop - onset)[keep],
        (pitch + rng.integers(low, high + 1) * pitched)[keep],
        notes.velocity[keep],
        notes.track[keep],
        program=notes.program,
        drum=notes.drum,
        tempos=tuple(zip(scaled(notes.tempo_tick).tolist(), qpm.tolist())),
        meters=tuple(zip(*map(list, (scaled(notes.meter_tick), notes.meter_num, notes.meter_den)))),
        ticks_per_beat=ticks,
    )
