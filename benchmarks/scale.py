"""Preparing at scale: files per second and what each step costs, memory, and what is skipped.

POP909 is prepared with beats, chords and keys from its text files, and with those of its notes. The
memory of a preparation is followed over many small synthetic files, all different.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tqdm
from etils import epath

from benchmarks.runner import Options, Result, Row
from jaxmusic.config import Prepare
from jaxmusic.data import (
    builder,
    cleaning,
    datasets,
    facts,
    labelling,
    record,
    songs,
    workers,
)
from jaxmusic.data.building import Build
from jaxmusic.data.examine import Kept, default_codec, examine_file
from jaxmusic.data.sources import NOTHING, MusicFile
from jaxmusic.formats import midi
from jaxmusic.music import harmony

GOAL = 150.0
LAKH = 176_581
SMALL = 100_000
"""Synthetic files unless --count says otherwise."""
POINTS = 10
CORES = (2, 16, 1000)
MOST_KB = 10.0
LABELLED = "all that a worker does, with labels"
WHOLE = "all that a worker does, with chords and keys by the notes instead of labels"


def run(options: Options) -> Result:
    """Measures memory, then POP909, then all the music there is."""
    data = options.folder("data")
    with tempfile.TemporaryDirectory() as folder:
        # First, while this process holds nothing of the rest.
        memory = _memory(options.count or SMALL, pathlib.Path(folder))
        config = Prepare(name="pop909", data_dir=folder, manual_dir=str(data / "pop909"))
        files = datasets.files_of("pop909", config, progress=False)
        rows = [
            *_speed(files, config, pathlib.Path(folder)),
            *memory,
            *_everything(data, pathlib.Path(folder)),
        ]
    return Result(
        columns=("what", "measured"),
        rows=tuple(rows),
        notes=(
            "Milliseconds are the processor's, means over every fourth song; rates of workers are "
            "files over time on the clock, so that whatever else the machine does counts.",
            "Rates and projections are those of POP909 without its labels, as most corpora are.",
            "Projections: the rate of one core, less what the second of two workers lost, as far "
            "as the one process that gathers keeps up; then writing by that process.",
            "What the index of songs holds for each piece is counted; what the gathering process "
            "grows by is measured on the synthetic files.",
        ),
    )


def _speed(files: Sequence[MusicFile], config: Prepare, folder: pathlib.Path) -> list[Row]:
    """What the steps cost, what comes of it, and how long Lakh would take."""
    # In a process that has one thread, as workers have: numpy would take more for its products.
    code = f"from benchmarks import scale; scale.steps({config.manual_dir!r})"
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=os.environ | threads, stdout=subprocess.PIPE, check=True)
    spent = json.loads(said.stdout)
    return [
        *(Row((f"ms for a file: {name}", round(ms, 2))) for name, ms in spent.items()),
        *_rates([f._replace(known=NOTHING) for f in files], config, folder),
    ]


def steps(pop909: str) -> None:
    """Prints the processor's milliseconds of each step for a file, as JSON."""
    config = Prepare(manual_dir=pop909)
    codec = default_codec(config)
    some = datasets.files_of("pop909", config, progress=False)[::4]
    for file in some[:20]:
        examine_file(file, config, codec)
    spent: dict[str, float] = {}

    def timed(name: str, step: Callable[[Any], Any], items: list[Any]) -> list[Any]:
        start = time.process_time()
        out = [step(item) for item in items]
        spent[name] = 1e3 * (time.process_time() - start) / len(items)
        return out

    read = timed("reading", lambda f: midi.read_notes(f.path), list(some))
    named = timed(
        "labels from text files",
        lambda x: labelling.labelled(*x),
        [*zip(read, (f.known for f in some))],
    )
    timed("cleaning", lambda n: cleaning.reject(n, config), named)
    grids = timed(
        "beat grid, by labels and where these are in doubt by the notes",
        lambda x: labelling.align(*x),
        [*zip(named, (f.known for f in some))],
    )
    aligned = [notes for notes, _, _ in grids]
    timed("chords and keys by the notes", harmony.infer, aligned)
    timed("fingerprints", lambda n: (songs.content(n), songs.signature(n)), aligned)
    timed("facts", facts.facts, aligned)
    pieces = timed("quantising", lambda n: codec.quantise(n)[0], aligned)
    timed("sizes and tokens", lambda p: (codec.sizes(p), codec.encode(p)), pieces)
    timed(
        "record",
        lambda x: pickle.dumps(record.to_example(x[0], "x", x[1])),
        [(n, fit) for n, fit, _ in grids],
    )
    timed(LABELLED, lambda f: examine_file(f, config, codec), list(some))
    plain = [f._replace(known=NOTHING) for f in some]
    timed(WHOLE, lambda f: examine_file(f, config, codec), plain)
    print(json.dumps(spent))


def _rates(files: Sequence[MusicFile], config: Prepare, folder: pathlib.Path) -> list[Row]:
    """Files per second with one and two workers, what one process gathers and writes, and Lakh."""
    rates: dict[int, float] = {}
    outcomes: list[Any] = []
    spent = 0.0
    for count in (1, 2):
        options = Prepare(**{**vars(config), "workers": count})
        outcomes = []
        for outcome in workers.examine_files(files, options):
            outcomes.append(outcome)
            if len(outcomes) == 1:  # the workers have started
                start, before = time.perf_counter(), _processor_time()
            elif len(outcomes) == len(files) and count == 1:
                spent = (_processor_time() - before) / (len(files) - 1)
        rates[count] = (len(files) - 1) / (time.perf_counter() - start)
    gather = epath.Path(folder) / "gather"
    gather.mkdir()
    # Outcomes come through a pipe: unpacking them is work of the process that gathers.
    packed = [(f.name, pickle.dumps(outcome)) for f, outcome in outcomes]
    importlib.import_module("tensorflow_datasets")
    with Build(gather, config) as build:
        start = time.process_time()
        build.collect(((n, pickle.loads(o)) for n, o in packed), len(files), progress=False)
        gathered = time.process_time()
        build.finish("", progress=False)
        written = time.process_time()
    gathering, writing = (gathered - start) / len(files), (written - gathered) / len(files)
    kept = [o for _, o in outcomes if isinstance(o, Kept)]
    index = [k.signature.nbytes + 112 + len(k.content) + 49 for k in kept]
    start = time.perf_counter()
    whole = Prepare(**{**vars(config), "name": "whole", "workers": 2, "manual_dir": ""})
    builder.prepare([f.path for f in files], whole, progress=False)
    every = len(files) / (time.perf_counter() - start)
    share = rates[2] / rates[1] / 2
    in_all = 1 / (spent + gathering + writing)
    return [
        Row(("ms for a file: a worker, of the processor's time", round(1e3 * spent, 2))),
        Row(("files per second, one worker", round(rates[1]))),
        Row(("files per second, two workers", round(rates[2]))),
        Row(("files per second, two workers, from the command to the dataset", round(every))),
        Row(("ms for a file: gathering, in one process", round(1e3 * gathering, 2))),
        Row(
            (
                "ms for a file: songs, splits, writing, reading back, in one process",
                round(1e3 * writing, 2),
            )
        ),
        Row(
            (
                "kB that the index of songs holds for a piece, on average",
                round(float(np.mean(index)) / 1e3, 1),
            )
        ),
        Row(
            ("kB that the index of songs holds for a piece, at most", round(max(index) / 1e3, 1)),
            f"at most {MOST_KB:g}",
            max(index) <= MOST_KB * 1e3,
        ),
        Row(
            (
                "files per second per core, of the processor's time, with gathering and writing",
                round(in_all),
            ),
            f"at least {GOAL:g}",
            in_all >= GOAL,
        ),
        *(Row(_projection(n, 1 / spent, share, gathering, writing)) for n in CORES),
    ]


def _projection(
    cores: int, rate: float, share: float, gathering: float, writing: float
) -> tuple[str, str]:
    examining = max(LAKH / (rate * cores * share), LAKH * gathering)
    minutes = (examining + LAKH * writing) / 60
    text = f"{minutes:.0f} min, of them {LAKH * writing / 60:.0f} min writing"
    return f"projection: Lakh's {LAKH:,} files on {cores:,} cores", text


def _memory(count: int, folder: pathlib.Path) -> list[Row]:
    """Resident memory of the gathering process and of its largest worker, at ten points."""
    where = folder / "small"
    _write_small(where, count)
    points: list[tuple[int, float, float]] = []
    real = builder.examine_files

    def watched(files: Sequence[MusicFile], config: Prepare) -> Iterator[Any]:
        running = real(files, config)
        for number, outcome in enumerate(running):
            if number % max(1, count // POINTS) == min(50, count // 20) or number == count - 1:
                points.append((number + 1, _resident("self"), _largest_child()))
            yield outcome

    builder.examine_files = watched  # type: ignore[assignment]
    try:
        config = Prepare(name="small", data_dir=str(folder), workers=2)
        start = time.perf_counter()
        summary = builder.prepare([where], config, progress=True)
        seconds = time.perf_counter() - start
    finally:
        builder.examine_files = real
    first, last = points[0], points[-1]
    grown = (last[1] - first[1]) * 2**20 / summary.pieces / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    late = [worker for number, _, worker in points if number > count // 2]
    early = [worker for number, _, worker in points if count // 20 < number <= count // 2]
    flat = max(late) <= 1.05 * max(early) if early and late else True
    return [
        *(
            Row(
                (
                    f"MiB after {n:,} small files: gathering process, largest worker",
                    f"{m:.0f}, {w:.0f}",
                )
            )
            for n, m, w in points
        ),
        Row(
            (
                f"most MiB of the gathering process, to the end ({summary.pieces:,} pieces)",
                round(peak),
            )
        ),
        Row(
            ("kB by which the gathering process grows for a small piece", round(grown, 2)),
            f"at most {MOST_KB:g}",
            grown <= MOST_KB,
        ),
        Row(
            ("the largest worker does not grow in the second half", "yes" if flat else "no"),
            "yes",
            flat,
        ),
        Row(("small files per second, from the command to the dataset", round(count / seconds))),
    ]


def _resident(process: str) -> float:
    """MiB of memory that a process holds."""
    pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _largest_child() -> float:
    return max((_resident(pid) for pid in _children()), default=0.0)


def _processor_time() -> float:
    """Seconds that the workers which are alive have had of the processor."""
    ticks = 0
    for pid in _children():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # in user and in kernel mode
    return ticks / os.sysconf("SC_CLK_TCK")


def _children() -> list[str]:
    lists = pathlib.Path("/proc/self/task").glob("*/children")
    return [pid for path in lists for pid in path.read_text().split()]


def _write_small(folder: pathlib.Path, count: int) -> None:
    """MIDI files of one track with 48 notes at random."""
    rng = np.random.default_rng(1)
    head = b"MThd\0\0\0\6\0\1\0\1\1\xe0"  # format 1, one track, 480 ticks in a quarter
    for i in tqdm.trange(count, desc="writing small files", leave=False):
        if i % 1000 == 0:
            (folder / f"{i // 1000:04}").mkdir(parents=True)
        pitches, beats = rng.integers(48, 84, 48), rng.integers(0, 2, 48)
        # A note lasts a quarter or a half of a quarter: delta times of 240 and 480 are two bytes.
        events = b"".join(
            b"\0\x90%c\x50%s\x80%c\0" % (p, (b"\x81\x70", b"\x83\x60")[b], p)
            for p, b in zip(pitches.tolist(), beats.tolist())
        )
        track = events + b"\0\xff\x2f\0"
        path = folder / f"{i // 1000:04}" / f"{i}.mid"
        path.write_bytes(head + b"MTrk" + len(track).to_bytes(4, "big") + track)


def _everything(data: pathlib.Path, folder: pathlib.Path) -> list[Row]:
    """All the music there is, in one preparation, and why files were skipped."""
    config = Prepare(name="everything", data_dir=str(folder))
    summary = builder.prepare([data], config)
    skipped = sorted(summary.skipped.items(), key=lambda item: -item[1])
    crashes = sum(summary.skipped.get(r, 0) for r in ("the parser crashed", "cannot be processed"))
    return [
        Row(("all music: files read", summary.files)),
        Row(("all music: pieces kept", summary.pieces)),
        Row(("all music: songs", summary.songs)),
        *(Row((f"all music: skipped, {reason}", count)) for reason, count in skipped),
        Row(("all music: crashes", crashes), "0", crashes == 0),
    ]
