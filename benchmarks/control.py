"""Control: adherence of a run's pieces to requested controls, compared with chance.

The measures are those of `evaluate.control`. "Not requested" are pieces composed with
nothing but a duration, compared with each of the requests: what chance gives.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

import jaxmusic
from benchmarks import runner
from benchmarks.runner import Goal, Result, Table
from jaxmusic import config
from jaxmusic._src.data.metadata import DRUMS
from jaxmusic._src.evaluate import control
from jaxmusic._src.evaluate.control import FIGURES, ControlRequest
from jaxmusic._src.formats.instruments import GM_PROGRAMS
from jaxmusic._src.music.notes import Notes

DURATIONS = {"0:10": 10, "0:30": 30, "1:00": 60, "3:00": 180, "5:00": 300, "10:00": 600}
TOGETHER = 4
"""Pieces composed side by side for one request."""
LENGTH = 40.0
"""Seconds of a piece, unless its duration is the control."""
LENGTHS = {"key": 180.0}
"""Other lengths: 40 s of a real song seldom settle its key."""
METERS = ((4, 4), (3, 4), (6, 8), (2, 4), (12, 8))
DENSITIES = (1.4, 2.0, 2.8, 4.0, 5.7)
"""Notes per quarter note: levels 3 to 7."""
TRIADS = {
    0: ((0, 0), (2, 1), (4, 1), (5, 0), (7, 0), (9, 1)),
    12: ((0, 1), (3, 0), (5, 1), (7, 1), (8, 0), (10, 0)),
}
"""Semitones above the tonic of triads in major and minor keys, and whether they are minor."""
WAYS: dict[str, dict[str, Any]] = {
    "requested": {},
    "guidance 2": {"guidance": 2.0},
    "guidance 3": {"guidance": 3.0},
    "strict": {"strict": True},
}
"""Options of composing; only learned controls are composed in more than the first way."""
BUILT_IN = ("tempo", "meter", "instruments")
GOALS = {"starter": {"key": 0.9, "chords": 0.8}, "pop909": {"key": 0.8}}
"""Shares to be reached, by the songs that a run learned from."""
Part = tuple[list[tuple[Any, ...]], list[Goal], str]


def run(
    run: str = "",
    only: tuple[str, ...] = ("duration", *BUILT_IN, "key", "chords", "density"),
    count: int = 40,
    seeds: int = 20,
) -> Iterator[Result]:
    """Measures a run's control part by part, and yields the result after each.

    Args:
      run: folder of a training run, or a file exported from it.
      only: controls.
      count: pieces of a measure.
      seeds: pieces of each duration.
    """
    file = pathlib.Path(run).expanduser()
    bench = Bench(jaxmusic.load(file if file.is_file() else runner.folder("run", run)), count)
    rows, goals, notes = [], [], []
    for part in only:
        found = bench.durations(seeds) if part == "duration" else bench.kept(part)
        rows += found[0]
        goals += found[1]
        notes.append(f"{part}: {found[2]}, step {bench.model.step}.")
        columns = ("control", "measure", "pieces", *WAYS, "not requested")
        yield Result([Table(columns, rows)], goals, notes)


class Bench:
    """A model and the pieces that it composes without controls."""

    def __init__(self, model: Any, count: int) -> None:
        """Takes a model and the number of pieces of a measure."""
        self.model, self.count = model, count
        starter = "starter" in model.experiment.data.dataset
        self.goals = GOALS["starter" if starter else "pop909"] | dict.fromkeys(BUILT_IN, 1.0)

    @functools.cache  # noqa: B019
    def unasked(self, seconds: float) -> list[Notes]:
        """Composes pieces with nothing but a duration."""
        return self.compose({"duration": seconds}, self.count, 1)

    def compose(self, fields: dict[str, Any], count: int, seed: int) -> list[Notes]:
        """Composes pieces in groups, so that more of them take no more memory."""
        out: list[Notes] = []
        for group in range(0, count, TOGETHER):
            controls = config.Controls(**fields, seed=1000 * seed + group)
            size = min(TOGETHER, count - group)
            pieces = self.model.compose(controls=controls, count=size, progress=False)
            out += [piece.notes for piece in pieces]
        return out

    def durations(self, seeds: int) -> Part:
        """Composes pieces of each duration, with seeds from 0."""
        rows, goals, (fills, off) = [], [], FIGURES["duration"]
        for name, seconds in DURATIONS.items():
            pairs = []
            for seed in tqdm(range(seeds), name, leave=False):
                controls = config.Controls(duration=name, seed=seed)
                (piece,) = self.model.compose(controls=controls, count=1, progress=False)
                pairs.append((piece.notes, seconds))
            share, most = fills.over(pairs)[0], off.over(pairs)[0]
            rows.append(("duration", f"{name}: {fills.name}", seeds, share, *[""] * len(WAYS)))
            rows.append(("duration", f"{name}: {off.name}", seeds, most, *[""] * len(WAYS)))
            goals.append(runner.at_least(f"duration, {fills.name}", 1.0, share or 0.0, name))
        return rows, goals, f"seeds 0 to {seeds - 1}"

    def kept(self, part: str) -> Part:
        """Composes for random requests of one control, in several ways, and without them."""
        seconds = LENGTHS.get(part, LENGTH)
        drawn = REQUESTS[part](np.random.default_rng(0))
        asked = [request for _, request in zip(range(-(-self.count // TOGETHER)), drawn)]
        ways = {"requested": WAYS["requested"]} if part in BUILT_IN else WAYS
        found: dict[str, list[tuple[Notes, Any]]] = {way: [] for way in ways}
        for way, fields in ways.items():
            for number, request in enumerate(tqdm(asked, f"{part}, {way}", leave=False)):
                size = min(TOGETHER, self.count - len(found[way]))
                wanted = {"duration": seconds} | request.fields | fields
                pieces = self.compose(wanted, size, 2 + number)
                found[way] += [(piece, request.truth) for piece in pieces]
        unasked = self.unasked(seconds)
        found["not requested"] = [(piece, request.truth) for piece in unasked for request in asked]
        rows, goals = [], []
        for figure in FIGURES[part]:
            values = {way: figure.over(pairs)[0] for way, pairs in found.items()}
            cells = ["none" if values.get(w, "") is None else values.get(w, "") for w in WAYS]
            rows.append((part, figure.name, self.count, *cells, values["not requested"]))
            if part in self.goals and figure is FIGURES[part][0]:
                for way in ways:
                    what, least = f"{part}, {figure.name}", self.goals[part]
                    goals.append(runner.at_least(what, least, values[way] or 0.0, way))
        return rows, goals, f"{len(asked)} requests, pieces of {seconds:g} s"


def _shuffled(
    make: Callable[..., ControlRequest], values: Iterable[Any]
) -> Callable[..., Iterator[ControlRequest]]:
    """Returns a stream of requests for some values in random order, again and again."""
    known = list(values)

    def draw(rng: np.random.Generator) -> Iterator[ControlRequest]:
        while True:
            for number in rng.permutation(len(known)).tolist():
                value = known[number]
                yield make(*value) if isinstance(value, tuple) else make(value)

    return draw


def _tempos(rng: np.random.Generator) -> Iterator[ControlRequest]:
    """Draws tempos from 60 to 180."""
    while True:
        yield control.number("tempo", round(float(rng.uniform(60, 180)), 1))


def _instruments(rng: np.random.Generator) -> Iterator[ControlRequest]:
    """Draws one to five instruments, with drums every other time."""
    for number in range(1 << 20):
        programs = rng.choice(len(GM_PROGRAMS), int(rng.integers(1, 6)), replace=False).tolist()
        yield control.instruments(programs + [DRUMS] * (number % 2))


def _chords(rng: np.random.Generator) -> Iterator[ControlRequest]:
    """Draws four triads of a random key, a bar each, the tonic first, none after itself."""
    while True:
        tonic, mode = int(rng.integers(12)), int(rng.choice((0, 12)))
        degrees = [0]
        while len(degrees) < 4:
            degree = int(rng.integers(len(TRIADS[mode])))
            if degree != degrees[-1] and not (len(degrees) == 3 and degree == 0):
                degrees.append(degree)
        triads = [(TRIADS[mode][d][1], (tonic + TRIADS[mode][d][0]) % 12) for d in degrees]
        yield control.chords(np.repeat([12 * minor + root for minor, root in triads], 2))


REQUESTS: dict[str, Callable[[np.random.Generator], Iterator[ControlRequest]]] = {
    "tempo": _tempos,
    "meter": _shuffled(control.meter, METERS),
    "instruments": _instruments,
    "key": _shuffled(control.key, range(24)),
    "chords": _chords,
    "density": _shuffled(functools.partial(control.number, "density"), DENSITIES),
}
