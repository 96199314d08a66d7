"""Beat grids: how well onsets lie on the file's own beats and on those that are found."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from benchmarks import runner
from benchmarks.runner import Result, Table
from benchmarks.songs import SETS, files
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.annotations import read_beats
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music.beats import BeatLabels, align
from jaxmusic._src.music.notes import Notes

COLUMNS = {
    "error_12": "onset error, 12 steps (ms)",
    "error_24": "onset error, 24 steps (ms)",
    "no_grid": "pieces without a grid",
    "beat_f": "beat F",
    "downbeat_f": "downbeat F",
    "ms": "ms per piece",
}
GOALS_MS = {"pop909/estimate": 1.9, "pop909/labels": 3.0}
"""Largest onset errors on 12 steps, without and with labelled beats."""
TOLERANCE = 0.07
WORST_FIT = 0.2
"""Largest error of a grid, in steps, with which a dataset keeps a piece."""


def run(data: str = runner.DATA) -> Result:
    """Aligns all sets of real music.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
    """
    rows, goals = [], []
    for name in SETS:
        measured: dict[str, list[dict[str, float]]] = {}
        for path in tqdm(files(data, name), name, disable=None):
            try:
                for way, row in measure(path, name == "pop909"):
                    measured.setdefault(f"{name}/{way}", []).append(row)
            except UserError:
                continue
        for way, found in measured.items():
            means = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
            rows.append((way, len(found), *(means.get(key, "") for key in COLUMNS)))
            if way in GOALS_MS:
                what = f"onset error of {way} on 12 steps (ms)"
                goals.append(runner.at_most(what, GOALS_MS[way], means["error_12"]))
    note = (
        "file: the file's own quarters. estimate: beats found without labels. labels: beats of "
        "POP909's beat_midi.txt, with which beat and downbeat F-measures (70 ms) compare."
    )
    return Result([Table(("set/grid", "pieces", *COLUMNS.values()), rows)], goals, [note])


def measure(path: pathlib.Path, labelled: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields each grid of a file and its figures."""
    piece = read_notes(path)
    yield "file", errors(piece)
    ways: dict[str, BeatLabels | None] = {"estimate": None}
    if labelled:
        ways["labels"] = read_beats(path.parent / "beat_midi.txt")
    for way, labels in ways.items():
        start = time.process_time()
        aligned, fit = align(piece, labels)
        row = {"ms": (time.process_time() - start) * 1e3, "no_grid": float(fit.error > WORST_FIT)}
        if labelled:
            row |= compare(piece, aligned, ways["labels"])
        yield way, row | errors(aligned)


def errors(piece: Notes) -> dict[str, float]:
    """Computes mean distances of onsets from grids of 12 and 24 steps a beat, in ms."""
    row = {}
    for steps in (12, 24):
        at = np.rint(piece.onset * (steps / piece.ticks_per_beat)) * (piece.ticks_per_beat / steps)
        off = np.abs(piece.seconds(at) - piece.seconds(piece.onset))
        row[f"error_{steps}"] = float(off.mean()) * 1e3
    return row


def compare(piece: Notes, aligned: Notes, labels: BeatLabels) -> dict[str, float]:
    """Computes F-measures of beats and downbeats, from the first onset to the last."""
    first, last = piece.seconds(piece.onset[[0, -1]])

    def heard(times: np.ndarray) -> np.ndarray:
        return times[(times > first - TOLERANCE) & (times < last + TOLERANCE)]

    beats, downbeats = map(heard, grid_times(piece, aligned))
    f_measure = runner.peer("mir_eval.beat").f_measure
    true_downbeats = heard(labels.time[labels.downbeat])
    return {
        "beat_f": f_measure(heard(labels.time), beats, TOLERANCE),
        "downbeat_f": f_measure(true_downbeats, downbeats, TOLERANCE),
    }


def grid_times(piece: Notes, aligned: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the seconds in the file of the beats and downbeats of an aligned piece."""
    stops = np.append(aligned.meter_tick[1:], aligned.end)
    meters = zip(aligned.meter_tick, stops, aligned.meter_num, aligned.meter_den)
    lines = np.concatenate(
        [np.arange(start, stop, 1920 * int(n) // int(d)) for start, stop, n, d in meters]
    )
    beats = np.arange(0, aligned.end, aligned.ticks_per_beat)
    origin = piece.seconds(piece.onset[0]) - aligned.seconds(aligned.onset[0])
    return aligned.seconds(beats) + origin, aligned.seconds(lines) + origin
