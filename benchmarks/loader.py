"""The loader: tokens per second, how full rows are, and what tasks cost.

All augmentation is on: transposition, tempo, loudness, dropped tracks and dropped controls; tasks
are measured separately. Tokens are those in rows, without padding. The first epoch reads pieces
from the shards, later ones find them in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tempfile
import time

import numpy as np
import tqdm

from benchmarks import runner
from benchmarks.runner import Result, Table
from benchmarks.songs import SETS
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.data.builder import prepare
from jaxmusic._src.data.loader import Loader
from jaxmusic.config import Data, Prepare, Tasks

CONTEXT, BATCH = 4096, 8
CONTEXTS = (4096, 8192, 16384)
CHANGES = Data(tempo_scale=0.1, velocity_scale=0.2, drop_tracks=0.1)
TASKS = Tasks(infill=0.15, accompany=0.15, harmonise=0.15, vary=0.15)
SPEED, FILL, SHARE = 2_000_000, 0.97, 0.7
Rows = list[tuple[str, str, float]]


def run(
    data: str = runner.DATA, data_dir: str = "", dataset: str = "mixed", repeats: int = 5
) -> Result:
    """Reads epochs with threads, processes and tasks.

    Args:
      data: folder of real music, of which all sets are prepared into one dataset first, unless
        there is a data_dir; from JAXMUSIC_DATA unless given.
      data_dir: folder of prepared datasets.
      dataset: name of the dataset.
      repeats: measurements of tasks.
    """
    with contextlib.ExitStack() as stack:
        if not data_dir:
            data_dir = stack.enter_context(tempfile.TemporaryDirectory())
            music = runner.folder("data", data)
            patterns = [str(music / pattern) for pattern in SETS.values()]
            prepare(patterns, Prepare(name=dataset, data_dir=data_dir))
        changes = dataclasses.replace(
            CHANGES, dataset=dataset, data_dir=data_dir, context=CONTEXT, batch=BATCH
        )
        opened = _opened(changes)
        count = opened.rows_per_epoch() // BATCH
        two = _speeds("two reading processes", dataclasses.replace(changes, workers=2), count)
        fills = [_fill(dataclasses.replace(changes, context=context)) for context in CONTEXTS]
        tasks = _tasks(changes, count, repeats)
        one = _speeds("one thread", changes, count)
        rows = [*one, *two, *fills, *tasks]
    speed, filled = "tokens per second, two reading processes", "share of positions filled"
    return Result(
        [Table(("measure", "of", "value"), rows)],
        [
            *(runner.at_least(speed, SPEED, value, of.split(", ")[1]) for _, of, value in two),
            *(runner.at_least(filled, FILL, value, of) for _, of, value in fills),
            runner.at_least("share of the speed without tasks", SHARE, tasks[0][2]),
        ],
        [
            f"{opened.dataset}: {opened.pieces:,} pieces, {opened.notes:,} notes, "
            f"{opened.rows_per_epoch():,} rows of {CONTEXT:,}; batches of {BATCH} rows.",
            f"Changes: transposed by up to {changes.transpose} semitones, tempo within "
            f"{changes.tempo_scale:.0%} and loudness within {changes.velocity_scale:.0%}, each "
            f"track left out with {changes.drop_tracks:.0%} and each control with "
            f"{changes.drop_controls:.0%}.",
            "Tokens per second of processor time count all threads: on a busy "
            "machine they say more than those per second.",
        ],
    )


def _opened(data: Data) -> Loader:
    return Loader(data, MetricalCodec())


def _speeds(name: str, data: Data, count: int) -> Rows:
    """Reads two epochs."""
    batches, rows = _opened(data).iterate(), []
    next(batches)
    for epoch in ("first epoch", "second epoch"):
        tokens, start, busy, of = 0, time.perf_counter(), time.process_time(), f"{name}, {epoch}"
        for batch in tqdm.tqdm(itertools.islice(batches, count), of, count, leave=False):
            tokens += int(np.count_nonzero(batch.segment))
        rows.append(("tokens per second", of, tokens / (time.perf_counter() - start)))
        if not data.workers:
            speed = tokens / (time.process_time() - busy)
            rows.append(("tokens per second of processor time", of, speed))
    return rows


def _fill(data: Data) -> tuple[str, str, float]:
    """Measures the share of positions in an epoch's rows that hold tokens, after all changes."""
    loader = _opened(data)
    shown = tqdm.tqdm(range(loader.rows_per_epoch()), f"rows of {data.context}", leave=False)
    fill = float(np.mean([np.count_nonzero(loader.row(g).segment) for g in shown]) / data.context)
    return "share of positions filled", f"rows of {data.context:,}", fill


def _tasks(data: Data, count: int, repeats: int) -> Rows:
    """Reads batches with and without tasks in turn, in time of the processor."""
    loaders = [_opened(dataclasses.replace(data, tasks=tasks)) for tasks in (Tasks(), TASKS)]
    tokens, seconds = np.zeros(2), np.zeros(2)
    for repeat in range(repeats + 1):
        for i, loader in enumerate(loaders):
            start, read = time.process_time(), 0
            for step in range(count):
                read += np.count_nonzero(loader.batch(step).segment)
            if repeat:  # at first pieces are read from the shards
                tokens[i] += read
                seconds[i] += time.process_time() - start
    plain, mixed = tokens / seconds
    without, fill = (tokens / (repeats * count * data.batch * data.context)).tolist()
    of = f"four tasks of {TASKS.infill:.0%} each"
    return [
        ("share of the speed without tasks", of, float(mixed / plain)),
        ("share of positions filled", of, fill),
        ("share of positions filled", "no tasks", without),
    ]
