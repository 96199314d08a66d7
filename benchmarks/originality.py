"""Originality: whether planted copies are found and real songs that were held out are let through.

The validation and test pieces of a dataset, such as POP909, are searched for passages of its train
split; as these are few, so is each fifth of the train split for passages of the other four. All
pieces of one song are on one side.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
from etils import epath
from tqdm import tqdm

from benchmarks import runner
from benchmarks.runner import Goal, Result, Table
from jaxmusic import config
from jaxmusic._src.data.catalog import open_dataset
from jaxmusic._src.data.pieces import Stored
from jaxmusic._src.evaluate import copy_index
from jaxmusic._src.evaluate.copy_index import CopyIndex
from jaxmusic._src.evaluate.originality import COPIED, Match, find
from jaxmusic._src.music.notes import Notes, make_notes

BAR = 1920
"""Ticks of a bar of 4/4; the phase of bars does not matter here."""
BARS = (8, 16, 32)
LEAST = 3
"""Least notes per bar, on average, in the first track of a passage: rests cannot be copied."""
STRETCH = (0.5, 0.9, 1.0, 1.1, 2.0)
"""Factors of the note values of a copy."""
FOLDS = 5
FLAGGED, SECONDS = 0.02, 5
QUANTILES = {"median": 0.5, "95th percentile": 0.95, "99th": 0.99, "most": 1.0}


def plant(
    host: Notes, source: Notes, first: int, bars: int, rng: np.random.Generator, kind: str
) -> Notes:
    """Replaces bars of a host by those of a source, moved by -6 to 6 semitones and stretched.

    Args:
      host: the piece that changes.
      source: the piece that is copied.
      first: its first bar that is copied.
      bars: number of bars.
      rng: random generator.
      kind: ``all`` tracks are copied, or the ``melody`` alone, which is the first track, into the
        host's other tracks; ``altered`` drops each note of all tracks with 10 %.
    """
    stretch, up = rng.choice(STRETCH), int(rng.integers(-6, 7))
    at, length = int(rng.integers(4, 20)) * BAR, int(bars * BAR * stretch)
    rows = inside(source, first, bars)
    keep = (host.onset < at) | (host.onset >= at + length)
    if kind == "melody":
        rows &= source.track == 0
        keep |= host.track != 0
    if kind == "altered":
        rows &= rng.random(len(source)) >= 0.1
    onset = np.rint((source.onset[rows] - first * BAR) * stretch).astype(np.int64) + at
    pitch = source.pitch[rows].astype(np.int64) + up * ~source.is_drum[rows]
    new = (onset, np.rint(source.duration[rows] * stretch), np.clip(pitch, 0, 127))
    columns = [getattr(host, name)[keep] for name in ("onset", "duration", "pitch", "velocity")]
    added = (*new, source.velocity[rows])
    tracks = max(len(host.program), len(source.program))
    return make_notes(
        *(np.concatenate(pair) for pair in zip(columns, added)),
        np.concatenate([host.track[keep], source.track[rows]]),
        program=np.resize(host.program, tracks),
        drum=np.resize(host.drum, tracks),
        tempos=tuple(zip(host.tempo_tick.tolist(), host.tempo_qpm.tolist())),
    )


def inside(source: Notes, first: int, bars: int) -> np.ndarray:
    """Returns a mask [N] of the notes that begin in `bars` bars from `first` on."""
    return (source.onset >= first * BAR) & (source.onset < (first + bars) * BAR)


def run(
    data_dir: str = config.Data().data_dir, dataset: str = config.Data().dataset, count: int = 100
) -> Result:
    """Searches for planted copies, and in songs that were held out.

    Args:
      data_dir: folder of prepared datasets.
      dataset: name of a prepared dataset.
      count: copies planted of each length and kind.
    """
    opened = open_dataset(dataset, data_dir)
    train = Stored(opened.path, "train")
    start = time.perf_counter()
    index = copy_index.build(train)
    building = time.perf_counter() - start
    held = [p for s in ("validation", "test") if opened.splits.get(s) for p in _all(opened.path, s)]
    start = time.perf_counter()
    found = [find([index], notes) for notes in tqdm(held, "held out", leave=False)]
    each = (time.perf_counter() - start) / max(len(held), 1)
    others = _folds(list(_all(opened.path, "train")))
    size = sum(column.nbytes for column in index.columns)
    sets = {f"{len(held)} songs held out": found, f"{len(others)} songs of the other folds": others}
    copies = _planted(index, held, count)
    flagged = {name: float(np.mean([m.copied for m in some])) for name, some in sets.items()}
    kinds, q = ("telling", "notes", "bars"), list(QUANTILES.values())
    lengths = [
        (
            f"{kind}, {name}",
            *np.quantile([getattr(m, kind) for m in some] or [0], q).round(1).tolist(),
        )
        for name, some in sets.items()
        for kind in kinds
    ]
    costs = [
        *((f"share flagged, {name}", share) for name, share in flagged.items()),
        ("seconds to build the index", building),
        ("bytes of the index for each onset of a line", size / len(index.columns.step)),
        ("bytes of the index for each note", size / opened.summary["split_notes"]["train"]),
        ("seconds to search for a song", each),
    ]
    share = next(iter(flagged.values()))
    what = "share of copies of all tracks found"
    goals = [runner.at_least(what, 1.0, row[1], row[0]) for row in copies if row[0][:3] == "all"]
    goal = f"share of songs held out that are flagged: less than {FLAGGED:g}"
    goals.append(Goal(goal, runner.show(share), share < FLAGGED))
    return Result(
        [
            Table(("copies planted", "found", "of the right song"), copies),
            Table(("longest passage", *QUANTILES), lengths),
            Table(("what", "value"), costs),
        ],
        [*goals, runner.at_most("seconds to search for a song", SECONDS, each)],
        [
            f"{opened.name}: {len(train):,} pieces to train on. A piece is flagged if its longest "
            f"passage has {COPIED} telling notes or more; a copy is found if its host is flagged.",
            "Hosts are songs held out. Copies are moved by -6 to 6 semitones, with note values "
            f"{', '.join(map(str, STRETCH))} times as long. Passages have at least {LEAST} notes "
            "per bar, on average, in the first track, which in POP909 is the melody. Each note of "
            "altered ones is dropped with probability 10 %.",
        ],
    )


def _all(path: epath.Path, split: str) -> Sequence[Notes]:
    stored = Stored(path, split)
    return [stored[i] for i in range(len(stored))]


def _planted(
    index: CopyIndex, hosts: Sequence[Notes], count: int
) -> list[tuple[str, float, float]]:
    """Measures shares of planted copies that are found, and found in the right song."""
    rng, rows = np.random.default_rng(0), []
    for kind, bars in itertools.product(("all", "melody", "altered"), BARS):
        flags, right = [], []
        for _ in tqdm(range(count), f"{kind}, {bars} bars", leave=False):
            piece, first = _passage(index, bars, rng)
            host = hosts[int(rng.integers(len(hosts)))]
            match = find([index], plant(host, index.pieces[piece], first, bars, rng, kind))
            song = index.columns.song
            flags.append(match.copied)
            right.append(match.copied and song[match.piece] == song[piece])
        rows.append((f"{kind}, {bars} bars", float(np.mean(flags)), float(np.mean(right))))
    return rows


def _passage(index: CopyIndex, bars: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draws a piece and the first bar of a passage with enough notes in the first track."""
    while True:
        piece = int(rng.integers(len(index)))
        notes = index.pieces[piece]
        last = int(notes.end // BAR) - bars
        if last < 1:
            continue
        first = int(rng.integers(last))
        if (inside(notes, first, bars) & (notes.track == 0)).sum() >= LEAST * bars:
            return piece, first


def _folds(pieces: Sequence[Notes]) -> list[Match]:
    """Finds matches of each fifth of the songs in the other four."""
    songs = sorted({p.labels.song for p in pieces})
    fold = dict(zip(songs, np.random.default_rng(0).integers(FOLDS, size=len(songs)).tolist()))
    found = []
    for k in tqdm(range(FOLDS), "folds", leave=False):
        mine = [p for p in pieces if fold[p.labels.song] == k]
        index = copy_index.build([p for p in pieces if fold[p.labels.song] != k], progress=False)
        found += [find([index], notes) for notes in mine]
    return found
