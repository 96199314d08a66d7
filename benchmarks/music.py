"""Statistics of POP909: means over songs, on the beats of their music and on the files' own bars.

Every statistic of `evaluate.statistics` that is a number. Most files say that each bar has
one quarter, so that the files' own bars are their quarters, four by four from the bar in which
music begins.
"""

from __future__ import annotations

import pathlib

import numpy as np
from tqdm import tqdm

from benchmarks import runner
from benchmarks.runner import Goal, Result, Table
from benchmarks.songs import files
from jaxmusic._src.data import labelling
from jaxmusic._src.data.sources import Known
from jaxmusic._src.evaluate import bars, distance, statistics
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music import beat_grid
from jaxmusic._src.music.notes import Notes

LAGS = (3, 5)
"""Distances in bars at which they are compared, besides those of the statistics: 4 and 8."""
ELSEWHERE = {
    "pitch_class_entropy": 2.82,
    "scale_consistency": 0.965,
    "groove_consistency": 0.926,
    **{f"bar_similarity_{lag}": x for lag, x in ((3, 0.087), (4, 0.179), (5, 0.084), (8, 0.192))},
}
"""Means over songs that another implementation found, on the files' own bars."""
NEAR = 0.0015
"""Tolerance: the published means leave open how onsets are rounded and where bar 1 begins."""


def phased(path: pathlib.Path, notes: Notes) -> Notes:
    """Puts a song on the beats and bars of its music, from beat_midi.txt."""
    return labelling.align(notes, Known(beats=str(path.parent / "beat_midi.txt")))[0]


def own_bars(path: pathlib.Path, notes: Notes) -> Notes:
    """Puts a song on its file's quarters, four to a bar."""
    del path
    fours = {"meter_tick": [0], "meter_num": [4], "meter_den": [4]}
    own = beat_grid.warp(notes, beat_grid.from_file(notes))
    return own.replace(
        **{name: np.array(value, getattr(notes, name).dtype) for name, value in fours.items()}
    )


WAYS = {"phased beats": phased, "own bars": own_bars}


def measure(notes: Notes) -> dict[str, statistics.Value]:
    """Computes all statistics of a song, and the similarity of its bars at more distances."""
    more = bars.similarity(notes, LAGS)
    return statistics.measure(notes) | {f"bar_similarity_{lag}": more[lag] for lag in LAGS}


def run(data: str = runner.DATA) -> Result:
    """Measures all songs.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
    """
    paths = files(data, "pop909")
    measured: dict[str, list[dict[str, statistics.Value]]] = {way: [] for way in WAYS}
    for path in tqdm(paths, desc="measuring", unit=" songs", disable=None):
        notes = read_notes(path)
        for way, aligned in WAYS.items():
            measured[way].append(measure(aligned(path, notes)))
    rows, goals = [], []
    numbers = [name for name, s in statistics.STATISTICS.items() if not s.kinds]
    for name in (*numbers, *(name for name in ELSEWHERE if name not in numbers)):
        values = {way: [row.get(name) for row in found] for way, found in measured.items()}
        cells = [x for way in WAYS for x in statistics.mean_and_deviation(values[way])]
        floor = distance.compare_one(values["own bars"], values["phased beats"]).floor.overlap
        rows.append((name, *("" if x is None else x for x in (*cells, floor))))
        if name in ELSEWHERE:
            near = abs(float(cells[2] or 0.0) - ELSEWHERE[name]) <= NEAR
            found = f"{name} {runner.show(cells[2])} ({ELSEWHERE[name]:g})"
            what = f"means as those of another implementation, within {NEAR}"
            goals.append(Goal(what, found, near))
    figures = [f"{way}: {figure}" for way in WAYS for figure in ("mean", "deviation")]
    return Result(
        [Table(("statistic", *figures, "overlap of two halves"), rows)],
        goals,
        [
            f"{len(paths)} songs; means and standard deviations over songs.",
            "Phased beats: those of beat_midi.txt, unless a song's own notes fit another grid "
            "better. Own bars: the file's quarters, four to a bar.",
            "Bar similarity: the mean Jaccard index of the sets of (step, pitch) of two bars that "
            "lie 3, 4, 5 or 8 bars apart.",
            "Overlap of two halves: overlap of real music with real music on phased beats, see "
            "docs/evaluation.md.",
        ],
    )
