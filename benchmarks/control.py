"""Control: whether a run's pieces are what was asked for, beside pieces of which nothing was asked.

Parts (--only): finder, duration, tempo, meter, instruments, key, chords, density. The measures are
those of `jaxmusic.evaluate.adherence`. "not asked" are pieces composed with nothing but a duration,
compared with each of the wishes: what chance gives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import jaxmusic
from benchmarks import songs
from benchmarks.runner import Options, Result, Row, in_parts
from jaxmusic import config
from jaxmusic.data.facts import DRUMS, main_key
from jaxmusic.evaluate import adherence
from jaxmusic.formats.instruments import GM_PROGRAMS
from jaxmusic.grid import quantise
from jaxmusic.notes import PITCH_NAMES, Notes

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
WITHIN_SECONDS, WITHIN_TEMPO = 0.05, 0.01
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
"""Shares to be reached by asking alone, without masks, by the songs that a run learned from."""


class Wish(NamedTuple):
    """Something asked for: fields of `config.Controls`, and the truth that it names."""

    fields: dict[str, Any]
    truth: Any


class Measure(NamedTuple):
    """A figure of one piece against a wish's truth, None where it has none; see `combine`."""

    name: str
    of: Callable[[Notes, Any], float | None]
    combine: Callable[[Any], Any] = np.mean


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
        return jaxmusic.load(self.options.folder("run"))

    @property
    def count(self) -> int:
        """Pieces of a measure."""
        return self.options.count or PIECES

    @functools.cached_property
    def unasked(self) -> list[Notes]:
        """Pieces of which nothing but the duration was asked."""
        return self.compose({}, self.count, 1)

    def compose(self, fields: dict[str, Any], count: int, seed: int) -> list[Notes]:
        """Pieces of `LENGTH`, side by side in groups, so that more of them take no more memory."""
        out: list[Notes] = []
        for group in range(0, count, TOGETHER):
            controls = config.Controls(**{"duration": LENGTH} | fields, seed=1000 * seed + group)
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
            errors = [adherence.duration_error(piece, seconds) for piece in pieces]
            fits = [
                error <= WITHIN_SECONDS and adherence.opens_and_closes(piece)
                for error, piece in zip(errors, pieces)
            ]
            share = float(np.mean(fits))
            what = f"{name}: within {WITHIN_SECONDS} s, sounds in the first and last bar"
            rows += [
                Row((what, "asked", count, share), "1", share == 1),
                Row((f"{name}: off by (s, most)", "asked", count, max(errors))),
            ]
        return rows, f"seeds 0 to {count - 1}, step {self.model.step}."

    def kept(self, part: str, ways: dict[str, dict[str, Any]]) -> tuple[list[Row], str]:
        """Random wishes for one control, in several ways, beside pieces not asked for it."""
        wishes, measures = WISHES[part], MEASURES[part]
        rng = np.random.default_rng(0)
        asked = [wish for _, wish in zip(range(-(-self.count // TOGETHER)), wishes(rng))]
        found: dict[str, list[tuple[Notes, Wish]]] = {}
        for way, fields in ways.items():
            pairs = found[way] = []
            for number, wish in enumerate(tqdm(asked, f"{part}, {way}", leave=False)):
                size = min(TOGETHER, self.count - len(pairs))
                pieces = self.compose(wish.fields | fields, size, 2 + number)
                pairs += [(piece, wish) for piece in pieces]
        found["not asked"] = [(piece, wish) for piece in self.unasked for wish in asked]
        rows = []
        for measure in measures:
            for way, pairs in found.items():
                values = [measure.of(piece, wish.truth) for piece, wish in pairs]
                defined = [value for value in values if value is not None]
                value = float(measure.combine(defined)) if defined else "none"
                count = len(self.unasked) if way == "not asked" else len(defined)
                cells = (measure.name, way, count, value)
                goal = self.goal(part, measure, way)
                reached = bool(defined) and float(value) >= goal if goal else None
                rows.append(Row(cells, f"at least {goal:g}" if goal else "", reached))
        return rows, f"{len(asked)} wishes, pieces of {LENGTH:g} s, step {self.model.step}."

    def goal(self, part: str, measure: Measure, way: str) -> float:
        """Least share to be reached; 0 for none."""
        if way != "asked" or measure is not MEASURES[part][0]:
            return 0.0
        if part in ("tempo", "meter", "instruments"):
            return 1.0
        return GOALS[songs.real_set(self.model)].get(part, 0.0)

    def finder(self) -> tuple[list[Row], str]:
        """How often key and chords are found in songs of which they are known."""
        rows = []
        data = self.options.folder("data")
        for name, pieces in (("pop909", songs.pop909(data)), ("starter", songs.made_by_rule())):
            known = [(piece, main_key(piece), quantise(piece)[0].chord) for piece in pieces]
            for measure in MEASURES["key"]:
                values = [measure.of(piece, key) for piece, key, _ in known]
                rows.append(_found(measure, name, values))
            for measure in MEASURES["chords"]:
                values = [measure.of(piece, chord) for piece, _, chord in known]
                rows.append(_found(measure, name, values))
        return rows, "whole songs with labelled keys and chords; the finder sees their notes alone."


def _found(measure: Measure, name: str, values: list[float | None]) -> Row:
    defined = [value for value in values if value is not None]
    return Row((measure.name, f"real: {name}", len(defined), float(np.mean(defined))))


def _tempos(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        tempo = round(float(rng.uniform(60, 180)), 1)
        yield Wish({"tempo": tempo}, tempo)


def _meters(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        for number in rng.permutation(len(METERS)):
            num, den = METERS[number]
            yield Wish({"meter": f"{num}/{den}"}, (num, den))


def _instruments(rng: np.random.Generator) -> Iterator[Wish]:
    """One to five instruments, with drums every other time."""
    for number in range(1 << 20):
        programs = sorted(rng.choice(len(GM_PROGRAMS), int(rng.integers(1, 6)), replace=False))
        names = [GM_PROGRAMS[p] for p in programs] + ["drums"] * (number % 2)
        truth = [frozenset({int(p)}) for p in programs] + [frozenset({DRUMS})] * (number % 2)
        yield Wish({"instruments": ", ".join(names)}, truth)


def _keys(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        for key in rng.permutation(24).tolist():
            yield Wish({"key": PITCH_NAMES[key % 12] + ("m" if key >= 12 else "")}, key)


def _chords(rng: np.random.Generator) -> Iterator[Wish]:
    """Four triads of a random key, a bar each, the tonic first, none after itself."""
    while True:
        tonic, mode = int(rng.integers(12)), int(rng.choice((0, 12)))
        degrees = [0]
        while len(degrees) < 4:
            degree = int(rng.integers(len(TRIADS[mode])))
            if degree != degrees[-1] and not (len(degrees) == 3 and degree == 0):
                degrees.append(degree)
        triads = [((tonic + TRIADS[mode][d][0]) % 12, TRIADS[mode][d][1]) for d in degrees]
        text = " ".join(PITCH_NAMES[root] + "m" * minor for root, minor in triads)
        yield Wish({"chords": text}, np.repeat([12 * minor + root for root, minor in triads], 2))


def _densities(rng: np.random.Generator) -> Iterator[Wish]:
    while True:
        for number in rng.permutation(len(DENSITIES)):
            yield Wish({"density": DENSITIES[number]}, DENSITIES[number])


WISHES = {
    "tempo": _tempos,
    "meter": _meters,
    "instruments": _instruments,
    "key": _keys,
    "chords": _chords,
    "density": _densities,
}


def _key(score: Callable[[int, int], float]) -> Callable[[Notes, int], float | None]:
    def of(notes: Notes, asked: int) -> float | None:
        found = _main_key(notes)
        return None if found is None else score(asked, found)

    return of


@functools.lru_cache(maxsize=1024)  # a piece is compared with many wishes
def _main_key(notes: Notes) -> int | None:
    return adherence.main_key(notes)


def _level(notes: Notes, asked: float) -> float | None:
    error = adherence.density_error(notes, asked)
    return None if error is None else abs(error)


MEASURES: dict[str, list[Measure]] = {
    "tempo": [
        Measure(
            f"within {WITHIN_TEMPO:.0%}",
            lambda n, t: float(adherence.tempo_error(n, t) <= WITHIN_TEMPO),
        ),
        Measure("off by (share, most)", adherence.tempo_error, max),
    ],
    "meter": [Measure("all bars in it", lambda n, m: float(adherence.keeps_meter(n, m)))],
    "instruments": [
        Measure(
            "every one and no other", lambda n, a: float(adherence.instruments(n, a) == (0, 0))
        ),
        Measure("silent, per piece", lambda n, a: float(adherence.instruments(n, a).missing)),
        Measure("others, per piece", lambda n, a: float(adherence.instruments(n, a).others)),
    ],
    "key": [
        Measure("main key is the same", _key(lambda a, b: float(a == b))),
        Measure("weighted for near keys", _key(adherence.key_score)),
    ],
    "chords": [
        Measure("half bars with the same triad", lambda n, c: adherence.chords(n, c).triads),
        Measure("half bars with the same root", lambda n, c: adherence.chords(n, c).roots),
    ],
    "density": [
        Measure("off by (levels, mean)", _level),
        Measure(
            "within a level", lambda n, d: None if (e := _level(n, d)) is None else float(e <= 1)
        ),
    ],
}
"""Measures of each part; a goal is one of the first."""
