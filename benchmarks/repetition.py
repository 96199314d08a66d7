"""Repetition: likeness of bars at a distance and runs of one bar, in real songs and in a run's.

The measures are those of `jaxmusic.evaluate.bars`. A song's likeness at a lag is the mean over its
pairs of bars; the table has means and standard deviations over songs.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks import songs
from benchmarks.runner import Options, Result, Row
from jaxmusic import config
from jaxmusic.evaluate import bars
from jaxmusic.formats.midi import read_notes
from jaxmusic.music.notes import TICKS_PER_BEAT, Notes

PIECES = 40
"""Pieces composed by the run unless --count says otherwise."""
DURATION = 180.0
OTHERS = ("multitrack_pop", "freedoom", "nottingham")
"""More real music, on beats found in its notes."""
LAGS = (1, 2, 3, 4, 5, 8, 16)
GOAL_LAGS = (4, 8)
MOST = 8
"""Bars that may be the same in a row, unless real songs have more."""


class Found(NamedTuple):
    """Likeness of bars by lag, [songs, LAGS], and the longest run of one bar of each song."""

    likeness: np.ndarray
    run: np.ndarray

    def at(self, lag: int) -> tuple[float, float]:
        """Mean and standard deviation at a lag."""
        column = self.likeness[:, LAGS.index(lag)]
        return float(np.nanmean(column)), float(np.nanstd(column))


def measure(pieces: Iterable[Notes]) -> Found:
    """Likeness and runs of pieces; a lag that a piece is too short for is NaN."""
    likeness, runs = [], []
    for notes in pieces:
        found = bars.similarity(notes, LAGS)
        likeness.append([np.nan if found[lag] is None else found[lag] for lag in LAGS])
        runs.append(bars.longest_run(notes))
    return Found(np.array(likeness, np.float64), np.array(runs))


def files_own_bars(data: pathlib.Path) -> Iterator[Notes]:
    """POP909's songs in bars of four of the file's own quarters, from the file's start on."""
    for folder in tqdm(songs.pop909_folders(data), "POP909", leave=False):
        notes = read_notes(folder / f"{folder.name}.mid")
        scale = TICKS_PER_BEAT / notes.ticks_per_beat
        onset = np.rint(notes.onset * scale).astype(np.int32)
        duration = np.maximum(np.rint(notes.duration * scale), 1).astype(np.int32)
        yield notes.replace(
            onset=onset,
            duration=duration,
            meter_tick=np.zeros(1, np.int32),
            meter_num=np.array([4], np.uint8),
            meter_den=np.array([4], np.uint8),
            tempo_tick=np.rint(notes.tempo_tick * scale).astype(np.int32),
            end=int((onset + duration).max()),
            ticks_per_beat=TICKS_PER_BEAT,
        )


def cells(name: str, found: Found) -> tuple[object, ...]:
    """A line of the table."""
    return (
        name,
        len(found.run),
        *(found.at(lag)[0] for lag in LAGS),
        *(found.at(lag)[1] for lag in GOAL_LAGS),
        float((found.run > 1).mean()),
        float((found.run > 4).mean()),
        float((found.run > MOST).mean()),
        int(found.run.max()),
    )


def run(options: Options) -> Result:
    """Real songs on three kinds of bars, songs made by rule, and a run's where one is given."""
    data = options.folder("data")
    groups = {
        "pop909": measure(songs.pop909(data)),
        "pop909, beats estimated": measure(songs.in_files(data, "pop909")),
        "pop909, the files' quarters in 4/4": measure(files_own_bars(data)),
        **{name: measure(songs.in_files(data, name)) for name in OTHERS},
        "starter": measure(songs.made_by_rule()),
    }
    rows, notes = [Row(cells(name, found)) for name, found in groups.items()], []
    if options.run:
        model = options.model()
        controls = config.Controls(duration=DURATION)
        made = measure(songs.compose(model, controls, options.count or PIECES, progress=True))
        name = songs.real_set(model)
        real = groups[name]
        near = all(abs(made.at(lag)[0] - real.at(lag)[0]) <= real.at(lag)[1] for lag in GOAL_LAGS)
        most = max(MOST, int(real.run.max()))
        goal = f"lags 4 and 8 within a standard deviation of {name}, at most {most} bars the same"
        rows.append(Row(cells("composed", made), goal, near and int(made.run.max()) <= most))
        notes.append(f"Composed: pieces of {DURATION:g} s from step {model.step} of the run.")
    return Result(
        columns=(
            *("of", "pieces", *(f"lag {lag}" for lag in LAGS)),
            *(f"deviation at lag {lag}" for lag in GOAL_LAGS),
            *("a bar repeats at once", "5 or more the same", f"more than {MOST}"),
            "most bars the same",
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )
