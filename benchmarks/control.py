"""Control: whether a run's pieces are what was asked for, beside pieces of which nothing was asked.

Parts (--only): finder, duration, tempo, meter, instruments, key, chords, density. The measures are
those of `jaxmusic.evaluate.wishes`. "not asked" are pieces composed with nothing but a duration,
compared with each of the wishes: what chance gives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks import songs
from benchmarks.runner import Options, Result, Row, in_parts
from jaxmusic import config
from jaxmusic.data.facts import DRUMS
from jaxmusic.evaluate import wishes
from jaxmusic.evaluate.wishes import FIGURES, Figure, Wish
from jaxmusic.formats.instruments import GM_PROGRAMS
from jaxmusic.music import harmony
from jaxmusic.music.notes import Notes

COLUMNS = ("control", "measure", "how", "pieces", "value")
DURATIONS = {"0:10": 10, "0:30": 30, "1:00": 60, "3:00": 180, "5:00": 300, "10:00": 600}
SEEDS = 20
"""Pieces of each duration unless --count says otherwise, each with a seed of its own."""
PIECES = 40
"""Pieces of each other measure unless --count says otherwise."""
TOGETHER = 4
"""Pieces composed side by side of one wish."""
LENGTH = 40.0
"""Seconds of a piece of which something else is asked than its duration."""
LENGTHS = {"key": 180.0}
"""Those of which this is asked are longer: 40 s of a real song seldom settle what its key is."""
METERS = ((4, 4), (3, 4), (6, 8), (2, 4), (12, 8))
DENSITIES = (1.4, 2.0, 2.8, 4.0, 5.7)
"""Notes per quarter note: levels 3 to 7."""
TRIADS = {
    0: ((0, 0), (2, 1), (4, 1), (5, 0), (7, 0), (9, 1)),
    12: ((0, 1), (3, 0), (5, 1), (7, 1), (8, 0), (10, 0)),
}
"""Semitones above the tonic of triads in major and minor keys, and whether they are minor."""
GUIDED = {
    "asked": {},
    "guidance 2": {"guidance": 2.0},
    "guidance 3": {"guidance": 3.0},
    "strict": {"strict": True},
}
GOALS = {"starter": {"key": 0.9, "chords": 0.8}, "pop909": {"key": 0.8}}
"""Shares to be reached, by the songs that a run learned from."""


def run(options: Options) -> Result:
    """The parts that are asked for, or all."""
    bench = Bench(options)
    return in_parts("control", options, COLUMNS, bench.parts())


class Bench:
    """A run, loaded when it is first needed, and its pieces of which nothing was asked."""

    def __init__(self, options: Options):
        """Takes the options."""
        self.options = options

    def parts(self) -> dict[str, Callable[[], tuple[list[Row], str]]]:
        """What `runner.in_parts` measures."""
        learned = {
            name: functools.partial(self.kept, name, GUIDED)
            for name in ("key", "chords", "density")
        }
        built = {
            name: functools.partial(self.kept, name, {"asked": {}})
            for name in ("tempo", "meter", "instruments")
        }
        return {"finder": self.finder, "duration": self.durations, **built, **learned}

    @functools.cached_property
    def model(self) -> Any:
        """The run's model."""
        return self.options.model()

    @property
    def count(self) -> int:
        """Pieces of a measure."""
        return self.options.count or PIECES

    @functools.cache  # noqa: B019
    def unasked(self, seconds: float) -> list[Notes]:
        """Pieces of which nothing but the duration was asked."""
        return self.compose({"duration": seconds}, self.count, 1)

    def compose(self, fields: dict[str, Any], count: int, seed: int) -> list[Notes]:
        """Pieces side by side in groups, so that more of them take no more memory."""
        out: list[Notes] = []
        for group in range(0, count, TOGETHER):
            controls = config.Controls(**fields, seed=1000 * seed + group)
            out += songs.compose(self.model, controls, min(TOGETHER, count - group))
        return out

    def durations(self) -> tuple[list[Row], str]:
        """Pieces of each duration, with seeds from 0."""
        count, rows = self.options.count or SEEDS, []
        for name, seconds in DURATIONS.items():
            pieces = []
            for seed in tqdm(range(count), name, leave=False):
                controls = config.Controls(duration=name, seed=seed)
                pieces += songs.compose(self.model, controls, 1)
            fills, off = FIGURES["duration"]
            asked = [(piece, seconds) for piece in pieces]
            share, most = fills.over(asked)[0], off.over(asked)[0]
            rows += [
                Row((f"{name}: {fills.name}", "asked", count, share), "1", share == 1),
                Row((f"{name}: {off.name}", "asked", count, most)),
            ]
        return rows, f"seeds 0 to {count - 1}, step {self.model.step}."

    def kept(self, part: str, ways: dict[str, dict[str, Any]]) -> tuple[list[Row], str]:
        """Random wishes for one control, in several ways, beside pieces not asked for it."""
        seconds = LENGTHS.get(part, LENGTH)
        drawn = WISHES[part](np.random.default_rng(0))
        asked = [wish for _, wish in zip(range(-(-self.count // TOGETHER)), drawn)]
        found: dict[str, list[tuple[Notes, Any]]] = {}
        for way, fields in ways.items():
            pairs = found[way] = []
            for number, wish in enumerate(tqdm(asked, f"{part}, {way}", leave=False)):
                size = min(TOGETHER, self.count - len(pairs))
                wanted = {"duration": seconds} | wish.fields | fields
                pieces = self.compose(wanted, size, 2 + number)
                pairs += [(piece, wish.truth) for piece in pieces]
        unasked = self.unasked(seconds)
        found["not asked"] = [(piece, wish.truth) for piece in unasked for wish in asked]
        rows = []
        for figure in FIGURES[part]:
            for way, pairs in found.items():
                value, defined = figure.over(pairs)
                count = len(unasked) if way == "not asked" else defined
                cells = (figure.name, way, count, "none" if value is None else value)
                goal = self.goal(part, figure, way)
                reached = value is not None and value >= goal if goal else None
                rows.append(Row(cells, f"at least {goal:g}" if goal else "", reached))
        return rows, f"{len(asked)} wishes, pieces of {seconds:g} s, step {self.model.step}."

    def goal(self, part: str, figure: Figure, way: str) -> float:
        """Least share to be reached; 0 for none."""
        if way == "not asked" or figure is not FIGURES[part][0]:
            return 0.0
        if part in ("tempo", "meter", "instruments"):
            return 1.0
        return GOALS[songs.real_set(self.model)].get(part, 0.0)

    def finder(self) -> tuple[list[Row], str]:
        """How often key and chords are found in songs of which they are known."""
        rows = []
        data = self.options.folder("data")
        for name, pieces in (("pop909", songs.pop909(data)), ("starter", songs.made_by_rule())):
            known = list(pieces)
            begun = [opening(notes) for notes in known]
            for what, some in ((name, known), (f"{name}, first {LENGTH:g} s", begun)):
                for control in ("key", "chords"):
                    values = wishes.finder(control, some)
                    for figure, value in zip(FIGURES[control], values):
                        rows.append(Row((figure.name, f"real: {what}", len(some), value)))
        return rows, "songs with labelled keys and chords; the finder sees their notes alone."


def opening(notes: Notes) -> Notes:
    """The first bars of a song, as many as end within `LENGTH`, but one at least."""
    lines = np.array([float(notes.seconds(tick)) for tick in harmony.half_bars(notes)[::2]])
    bars = max(int((lines[1:] <= LENGTH).sum()), 1)
    return notes.until(int(harmony.half_bars(notes)[2 * bars]))


def _tempos(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        yield wishes.tempo(round(float(rng.uniform(60, 180)), 1))


def _meters(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        for number in rng.permutation(len(METERS)):
            yield wishes.meter(*METERS[number])


def _instruments(rng: np.random.Generator) -> Iterator[Wish]:
    """One to five instruments, with drums every other time."""
    for number in range(1 << 20):
        programs = rng.choice(len(GM_PROGRAMS), int(rng.integers(1, 6)), replace=False).tolist()
        yield wishes.instruments(programs + [DRUMS] * (number % 2))


def _keys(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        for key in rng.permutation(24).tolist():
            yield wishes.key(key)


def _chords(rng: np.random.Generator) -> Iterator[Wish]:
    """Four triads of a random key, a bar each, the tonic first, none after itself."""
    while True:
        tonic, mode = int(rng.integers(12)), int(rng.choice((0, 12)))
        degrees = [0]
        while len(degrees) < 4:
            degree = int(rng.integers(len(TRIADS[mode])))
            if degree != degrees[-1] and not (len(degrees) == 3 and degree == 0):
                degrees.append(degree)
        triads = [(TRIADS[mode][d][1], (tonic + TRIADS[mode][d][0]) % 12) for d in degrees]
        yield wishes.chords(np.repeat([12 * minor + root for minor, root in triads], 2))


def _densities(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        for number in rng.permutation(len(DENSITIES)):
            yield wishes.density(DENSITIES[number])


WISHES = {
    "tempo": _tempos,
    "meter": _meters,
    "instruments": _instruments,
    "key": _keys,
    "chords": _chords,
    "density": _densities,
}
