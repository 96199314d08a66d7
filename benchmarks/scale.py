"""Preparing at scale: files per second of POP909, and what is skipped of all music."""

from __future__ import annotations

import dataclasses
import importlib
import os
import pathlib
import pickle
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from etils import epath

from benchmarks import runner
from benchmarks.runner import Result, Table
from jaxmusic._src.data import builder, datasets, workers
from jaxmusic._src.data.assembly import Assembly
from jaxmusic._src.data.sources import NOTHING, MusicFile
from jaxmusic.config import Prepare

GOAL = 150
Rows = list[tuple[str, Any]]


def run(data: str = runner.DATA) -> Result:
    """Prepares POP909, then all sets of real music.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
    """
    music = runner.folder("data", data)
    with tempfile.TemporaryDirectory() as folder:
        config = Prepare(name="pop909", data_dir=folder, manual_dir=str(music / "pop909"))
        files = datasets.files_of("pop909", config, progress=False)
        plain = [f._replace(known=NOTHING) for f in files]
        rates, in_all = _rates(plain, config, pathlib.Path(folder))
        everything, crashes = _everything(music, pathlib.Path(folder))
    return Result(
        [Table(("POP909", "measured"), rates), Table(("all music", "files"), everything)],
        [
            runner.at_least("files prepared per second per core", GOAL, round(in_all)),
            runner.at_most("crashes on all music", 0, crashes),
        ],
        [
            "POP909 without its labels, as most corpora are. Milliseconds are the processor's; "
            "rates of workers are files over time on the clock.",
        ],
    )


def _rates(files: Sequence[MusicFile], config: Prepare, folder: pathlib.Path) -> tuple[Rows, float]:
    """Measures workers and the process that gathers; also returns files per second per core."""
    rates: dict[int, float] = {}
    outcomes: list[Any] = []
    spent = 0.0
    for count in (1, 2):
        outcomes = []
        options = dataclasses.replace(config, workers=count)
        for outcome in workers.examine_files(files, options):
            outcomes.append(outcome)
            if len(outcomes) == 1:  # the workers have started
                start, before = time.perf_counter(), _processor_time()
            elif len(outcomes) == len(files) and count == 1:
                spent = (_processor_time() - before) / (len(files) - 1)
        rates[count] = (len(files) - 1) / (time.perf_counter() - start)
    gather = epath.Path(folder) / "gather"
    gather.mkdir()
    # Outcomes come through a pipe: the gathering process unpacks them.
    packed = [(f.name, pickle.dumps(outcome)) for f, outcome in outcomes]
    importlib.import_module("tensorflow_datasets")
    with Assembly(gather, config) as assembly:
        start = time.process_time()
        assembly.collect(((n, pickle.loads(o)) for n, o in packed), len(files), progress=False)
        gathered = time.process_time()
        assembly.finish("", progress=False)
        written = time.process_time()
    gathering, writing = (gathered - start) / len(files), (written - gathered) / len(files)
    start = time.perf_counter()
    whole = dataclasses.replace(config, name="whole", workers=2, manual_dir="")
    builder.prepare([f.path for f in files], whole, progress=False)
    every = len(files) / (time.perf_counter() - start)
    in_all = 1 / (spent + gathering + writing)
    rows = [
        ("ms for a file: a worker, of the processor's time", round(1e3 * spent, 2)),
        ("ms for a file: gathering, in one process", round(1e3 * gathering, 2)),
        ("ms for a file: songs, splits, writing, reading back", round(1e3 * writing, 2)),
        ("files per second, one worker", round(rates[1])),
        ("files per second, two workers", round(rates[2])),
        ("files per second, two workers, from the command to the dataset", round(every)),
        ("files per second per core, with gathering and writing", round(in_all)),
    ]
    return rows, in_all


def _processor_time() -> float:
    """Returns processor seconds of the live workers."""
    ticks, lists = 0, pathlib.Path("/proc/self/task").glob("*/children")
    for pid in [pid for path in lists for pid in path.read_text().split()]:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # in user and in kernel mode
    return ticks / os.sysconf("SC_CLK_TCK")


def _everything(data: pathlib.Path, folder: pathlib.Path) -> tuple[Rows, int]:
    """Prepares all sets of music, and counts what is skipped and crashes."""
    summary = builder.prepare([data], Prepare(name="everything", data_dir=str(folder)))
    skipped = sorted(summary.skipped.items(), key=lambda item: -item[1])
    crashes = sum(summary.skipped.get(r, 0) for r in ("the parser crashed", "cannot be processed"))
    rows = [
        ("read", summary.files),
        ("pieces kept", summary.pieces),
        ("songs", summary.songs),
        *((f"skipped, {reason}", count) for reason, count in skipped),
    ]
    return rows, crashes
