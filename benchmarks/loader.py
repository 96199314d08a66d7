"""The loader: tokens per second, how full rows are, and what it costs to begin anywhere.

Everything is on: transposition, tempo, loudness, dropped tracks and dropped controls; tasks are in
measurements of their own. Without --data-dir and --dataset all sets of music in --data are prepared
into one dataset first, in a temporary folder. Tokens are those in rows, padding not counted. The
first epoch reads pieces from the shards, later ones find them in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent import futures

import numpy as np
import tqdm

from benchmarks.beats import SETS
from benchmarks.runner import Options, Result, Row
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.config import Data, Prepare, Tasks
from jaxmusic.data.builder import prepare
from jaxmusic.data.loader import Loader

CONTEXT, BATCH = 4096, 8
CONTEXTS = (4096, 8192, 16384)
CHANGES = Data(tempo_scale=0.1, velocity_scale=0.2, drop_tracks=0.1)
TASKS = Tasks(infill=0.15, accompany=0.15, harmonise=0.15, vary=0.15)
SPEED, FILL, SHARE, FAR = 2e6, 0.97, 0.7, 10**6
NAME = "mixed"


def run(options: Options) -> Result:
    """Reads epochs in the ways there are."""
    with contextlib.ExitStack() as stack:
        if options.data_dir and options.dataset:
            folder, name = options.data_dir, options.dataset
        else:
            folder, name = stack.enter_context(tempfile.TemporaryDirectory()), NAME
            music = options.folder("data")
            patterns = [str(music / pattern) for pattern in SETS.values()]
            prepare(patterns, Prepare(name=name, data_dir=folder))
        data = dataclasses.replace(
            CHANGES, dataset=name, data_dir=folder, context=CONTEXT, batch=BATCH
        )
        opened = _opened(data)
        count = options.count or opened.rows_per_epoch() // BATCH
        rows = [
            *_speeds("one thread", dataclasses.replace(data, threads=1), count),
            *_speeds("two reading processes", dataclasses.replace(data, workers=2), count, SPEED),
        ]
        for context in CONTEXTS:
            rows.append(_fill(dataclasses.replace(data, context=context)))
        rows += _tasks(dataclasses.replace(data, threads=1), count, options.repeats)
        rows += _beginning(data, options.repeats)
        rows += _memory(data, count)
    return Result(
        columns=("measure", "of", "value"),
        rows=tuple(rows),
        notes=(
            f"{opened.dataset}: {opened.pieces:,} pieces, {opened.notes:,} notes, "
            f"{opened.rows_per_epoch():,} rows of {CONTEXT:,}; batches of {BATCH} rows.",
            f"Changes: transposed by up to {data.transpose} semitones, tempo within "
            f"{data.tempo_scale:.0%} and loudness within {data.velocity_scale:.0%}, each track "
            f"left out with {data.drop_tracks:.0%} and each control with {data.drop_controls:.0%}.",
            "Tokens per second of processor time count all threads and processes: on a busy "
            "machine they say more than those per second.",
        ),
    )


def _opened(data: Data) -> Loader:
    return Loader(data, MetricalCodec())


def _speeds(name: str, data: Data, count: int, goal: float = 0.0) -> Iterator[Row]:
    loader = _opened(data)
    batches = loader.iterate()
    next(batches)
    for epoch in ("first epoch", "second epoch"):
        tokens, start, busy = 0, time.perf_counter(), _processor()
        for batch in tqdm.tqdm(_take(batches, count), f"{name}, {epoch}", count, leave=False):
            tokens += np.count_nonzero(batch.segment)
        speed = tokens / (time.perf_counter() - start)
        words = f"at least {goal:,.0f}" if goal else ""
        of = f"{name}, {epoch}"
        yield Row(("tokens per second", of, speed), words, speed >= goal if goal else None)
        if not data.workers:
            yield Row(("tokens per second of processor time", of, tokens / (_processor() - busy)))


def _processor() -> float:
    times = os.times()
    return times.user + times.system


def _take(batches: Iterator, count: int) -> Iterator:
    for _ in range(count):
        yield next(batches)


def _fill(data: Data) -> Row:
    """The share of an epoch's rows that holds tokens, after all changes."""
    loader = _opened(data)
    rows = range(loader.rows_per_epoch())
    shown = tqdm.tqdm(rows, f"rows of {data.context}", leave=False)
    fill = float(np.mean([np.count_nonzero(loader.row(g)[-1]) for g in shown]) / data.context)
    of = f"rows of {data.context:,}, after all changes"
    return Row(("share of places filled", of, fill), f"at least {FILL:g}", fill >= FILL)


def _tasks(data: Data, count: int, repeats: int) -> list[Row]:
    """What tasks cost: batches with and without them in turn, in time of the processor."""
    loaders = [_opened(dataclasses.replace(data, tasks=tasks)) for tasks in (Tasks(), TASKS)]
    tokens, seconds = np.zeros(2), np.zeros(2)
    for repeat in range(repeats + 1):
        for i, loader in enumerate(loaders):
            start, read = _processor(), 0
            for step in range(count):
                read += np.count_nonzero(loader.batch(step).segment)
            if repeat:  # at first pieces are read from the shards
                tokens[i] += read
                seconds[i] += _processor() - start
    plain, mixed = tokens / seconds
    fill = tokens / (repeats * count * data.batch * data.context)
    of = f"four tasks of {TASKS.infill:.0%} each"
    share = float(mixed / plain)
    return [
        Row(("share of the speed without tasks", of, share), f"at least {SHARE:g}", share >= SHARE),
        Row(("share of places filled", of, float(fill[1]))),
        Row(("share of places filled", "no tasks", float(fill[0]))),
    ]


def _beginning(data: Data, repeats: int) -> list[Row]:
    """What opening costs, and the first batch of a loader that was opened just now, anywhere."""
    opening = [_seconds(lambda: _opened(data)) for _ in range(repeats)]
    seconds: dict[int, list[float]] = {0: [], FAR: []}
    for _ in range(repeats):
        for step, found in seconds.items():
            loader = _opened(data)
            found.append(_seconds(lambda loader=loader, step=step: loader.batch(step)))
    near, far = (statistics.median(found) for found in seconds.values())
    return [
        Row(("seconds to open", "a dataset that was measured before", min(opening))),
        Row(("seconds for the first batch", "step 0", near)),
        Row(
            ("seconds for the first batch", f"step {FAR:,}, the epoch's plan included", far),
            "as at step 0 with a plan",
        ),
    ]


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def _memory(data: Data, count: int) -> Iterator[Row]:
    """Memory of a fresh process that opens a dataset and reads an epoch of it."""
    with futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        opened, read = pool.submit(_sizes, data, count).result()
    yield Row(("MiB of memory of a process", "that has opened the dataset", opened))
    yield Row(("MiB of memory of a process", "that has read an epoch", read))


def _sizes(data: Data, count: int) -> tuple[float, float]:
    """MiB after opening and after reading."""
    loader = _opened(data)
    opened = _resident()
    for step in range(count):
        loader.batch(step)
    return opened, _resident()


def _resident() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
