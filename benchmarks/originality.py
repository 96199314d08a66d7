"""Originality: whether planted copies are found and real songs that were held out are let through.

The dataset (`--data-dir`, `--dataset`) is a prepared one, such as POP909. Its validation and test
pieces are searched for passages of its train split; and, as these are few, so is each fifth of the
train split for passages of the other four. Songs are not split by either.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
from etils import epath
from tqdm import tqdm

from benchmarks.runner import Options, Result, Row, chosen_data
from jaxmusic.data.catalog import open_dataset
from jaxmusic.evaluate import copy_index
from jaxmusic.evaluate.copy_index import CopyIndex, Stored
from jaxmusic.evaluate.originality import COPIED, Match, find
from jaxmusic.music.notes import Notes, make_notes

PIECES = 100
"""Copies planted of each length and kind unless --count says otherwise."""
BAR = 1920
"""Ticks of a bar of 4/4; where bars lie does not matter here."""
BARS = (8, 16, 32)
LEAST = 3
"""Notes of the highest track in a bar, in the mean, that a passage has at least: some bars of a
song are rests, and of a melody's rests nothing can be copied."""
STRETCH = (0.5, 0.9, 1.0, 1.1, 2.0)
"""How many times as long the note values of a copy are."""
FOLDS = 5
FLAGGED, SECONDS = 0.02, 5.0


def plant(
    host: Notes, source: Notes, first: int, bars: int, rng: np.random.Generator, kind: str
) -> Notes:
    """A host with bars of a source in place of its own, moved by -6 to 6 semitones and stretched.

    Args:
      host: the piece that changes.
      source: where the bars are from.
      first: the first of them.
      bars: their number.
      rng: where chance comes from.
      kind: ``all`` tracks are copied, or the ``melody`` alone, that is the first track, into the
        host's other tracks; ``altered`` is all tracks of which each note is missing with a chance
        of 10 %.
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
    """Bool [N]: notes that begin in bars from `first` on."""
    return (source.onset >= first * BAR) & (source.onset < (first + bars) * BAR)


def run(options: Options) -> Result:
    """Builds, searches and plants; see the module."""
    data, _ = chosen_data(options)
    dataset = open_dataset(data.dataset, data.data_dir)
    train = Stored(dataset.path, "train")
    start = time.perf_counter()
    index = copy_index.build(train)
    seconds = time.perf_counter() - start
    held = [
        p for s in ("validation", "test") if dataset.splits.get(s) for p in _all(dataset.path, s)
    ]
    start = time.perf_counter()
    found = [find([index], notes) for notes in tqdm(held, "held out", leave=False)]
    each = (time.perf_counter() - start) / max(len(held), 1)
    others = _folds(list(_all(dataset.path, "train")))
    size = sum(column.nbytes for column in index.columns)
    flagged = _flagged(found)
    return Result(
        columns=("what", "value"),
        rows=(
            *_planted(index, held, options.count or PIECES),
            Row(
                (f"of {len(held)} songs held out, flagged", flagged),
                f"less than {FLAGGED:g}",
                flagged < FLAGGED,
            ),
            Row((f"of {len(others)} songs of the other folds, flagged", _flagged(others))),
            *_lengths("songs held out", found),
            *_lengths("songs of the other folds", others),
            Row(("seconds to build the index", seconds)),
            Row(("bytes of the index for each onset of a line", size / len(index.columns.step))),
            Row(
                ("bytes of the index for each note", size / dataset.summary["split_notes"]["train"])
            ),
            Row(("seconds to search for a song", each), f"at most {SECONDS:g}", each <= SECONDS),
        ),
        notes=(
            f"{dataset.name}: {len(train):,} pieces to train on. A piece is flagged if its longest "
            f"passage has {COPIED} telling notes or more; a copy is found if its host is flagged, "
            "and right if the passage is of the song that was copied.",
            "Hosts are songs held out. Copies are moved by -6 to 6 semitones, with note values "
            f"{', '.join(map(str, STRETCH))} times as long. Passages are drawn with at least "
            f"{LEAST} notes in a bar, in the mean, in the first track, which in POP909 is the "
            "melody. Of the altered ones each note is missing with a chance of 10 %.",
        ),
    )


def _all(path: epath.Path, split: str) -> Sequence[Notes]:
    stored = Stored(path, split)
    return [stored[i] for i in range(len(stored))]


def _planted(index: CopyIndex, hosts: Sequence[Notes], count: int) -> list[Row]:
    """Shares of planted copies that are found."""
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
        share = float(np.mean(flags))
        goal = ("1", share == 1) if kind == "all" else ("", None)
        rows.append(Row((f"copies found: {kind}, {bars} bars", share), *goal))
        rows.append(Row((f"and right: {kind}, {bars} bars", float(np.mean(right)))))
    return rows


def _passage(index: CopyIndex, bars: int, rng: np.random.Generator) -> tuple[int, int]:
    """A piece and its first bar of a passage with enough notes in the first track."""
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
    """Matches of each fifth of the songs with the others."""
    songs = sorted({p.labels.song for p in pieces})
    fold = dict(zip(songs, np.random.default_rng(0).integers(FOLDS, size=len(songs)).tolist()))
    found = []
    for k in tqdm(range(FOLDS), "folds", leave=False):
        mine = [p for p in pieces if fold[p.labels.song] == k]
        index = copy_index.build([p for p in pieces if fold[p.labels.song] != k], progress=False)
        found += [find([index], notes) for notes in mine]
    return found


def _flagged(found: Sequence[Match]) -> float:
    return float(np.mean([m.copied for m in found])) if found else 0.0


def _lengths(what: str, found: Sequence[Match]) -> list[Row]:
    """Quantiles of the longest passages."""
    rows = []
    for name in ("telling", "notes", "bars"):
        values = [getattr(m, name) for m in found] or [0]
        told = "telling notes" if name == "telling" else name
        for label, q in (("median", 0.5), ("95th percentile", 0.95), ("99th", 0.99), ("most", 1.0)):
            value = round(float(np.quantile(values, q)), 1)
            rows.append(Row((f"{told} of the longest passage, {what}, {label}", value)))
    return rows
