"""Endings: real songs beside the same songs cut at a bar line, and pieces composed by a run.

The measures are those of `jaxmusic.evaluate.endings`, with the key that is inferred at the end,
since that of a composed piece is not known either; one row of real songs has their known keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from benchmarks import songs
from benchmarks.runner import Options, Result, Row
from jaxmusic import config
from jaxmusic.evaluate import endings
from jaxmusic.music import harmony
from jaxmusic.music.notes import Notes

PIECES = 40
"""Pieces composed by the run unless --count says otherwise."""
DURATION = 120.0
LONGER = 2.0
"""Final notes that are so many times as long as the piece's mean close it."""
COLUMNS = (
    *("of", "pieces", "ends on the tonic chord", "on the tonic in the bass"),
    *("tracks that end together", "tonic chord, all together"),
    f"final notes {LONGER:g} times longer",
    *("rest (quarters, median)", "a short note cut off"),
)


class Both(NamedTuple):
    """Endings of whole songs and of the same songs cut; `known` has those by the labelled key."""

    whole: list[endings.Ending]
    cut: list[endings.Ending]
    known: list[endings.Ending]


def cut(notes: Notes, bar: int) -> Notes:
    """The first bars of an aligned piece; notes that sound on are cut at the bar line."""
    return notes.until(int(harmony.half_bars(notes)[2 * bar]))


def measure(pieces: Iterable[Notes]) -> Both:
    """Endings of pieces, and of each cut at a random bar line in its middle half."""
    rng, found = np.random.default_rng(0), Both([], [], [])
    for notes in pieces:
        bars = len(harmony.half_bars(notes)) // 2
        bar = int(rng.integers(bars // 4, 3 * bars // 4 + 1))
        key = notes.labels.key
        known = endings.ending(notes, int(key[-1])) if len(key) else None
        parts = (endings.ending(notes), endings.ending(cut(notes, max(bar, 1))), known)
        for into, one in zip(found, parts):
            if one is not None:
                into.append(one)
    return found


def cells(name: str, found: list[endings.Ending]) -> tuple[object, ...]:
    """A line of the table."""

    def share(values: Iterable[bool | float]) -> float:
        return float(np.mean([float(v) for v in values]))

    return (
        name,
        len(found),
        share(e.tonic for e in found),
        share(e.bass for e in found),
        share(e.together for e in found),
        share(e.tonic and e.together == 1 for e in found),
        share(e.lengthening >= LONGER for e in found),
        float(np.median([e.rest for e in found])),
        share(e.cut_off for e in found),
    )


def run(options: Options) -> Result:
    """Real songs, songs made by rule, and a run's where one is given."""
    data, count = options.folder("data"), options.count
    groups = {"pop909": measure(songs.pop909(data)), "starter": measure(songs.made_by_rule())}
    rows, notes = [], [NOTE]
    for name, both in groups.items():
        rows += [
            Row(cells(f"{name}, whole", both.whole)),
            Row(cells(f"{name}, whole, by its labelled key", both.known)),
            Row(cells(f"{name}, cut", both.cut)),
        ]
    if options.run:
        model = options.model()
        stops = cells("", groups[songs.real_set(model)].cut)
        for name, ending in (("composed", True), ("composed with --no-ending", False)):
            controls = config.Controls(duration=DURATION, ending=ending)
            both = measure(songs.compose(model, controls, count or PIECES, progress=True))
            ours = cells(name, both.whole)
            closes = bool(ours[5] > stops[5] and ours[6] > stops[6])
            rows += [
                Row(ours, *(("closes more often than what is cut", closes) if ending else ())),
                Row(cells(f"{name}, by the key it has", both.known)),
                Row(cells(f"{name}, cut", both.cut)),
            ]
        notes.append(f"Composed: pieces of {DURATION:g} s from step {model.step} of the run.")
    return Result(COLUMNS, tuple(rows), tuple(notes))


NOTE = (
    "Shares of pieces; of tracks in the fifth column. Cut: at a random bar line of the middle "
    "half; what sounds there is cut off, so the tracks of a cut piece end together too."
)
