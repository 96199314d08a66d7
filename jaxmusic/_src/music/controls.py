"""The table of controls: what a stream can state about a piece besides its notes.

Each row of `CONTROLS` says what a control is called, how many values it has, where a stream states
it, where its value comes from, and how transposing changes it. Vocabulary, header, encoding,
decoding, grammar, guidance branches and the records of a dataset follow from the table. Styles
(a set of names that each codec lists itself), meter, tempo and instruments, without which a stream
could not be read, are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from jaxmusic._src.music import roles
from jaxmusic._src.music.columns import Columns
from jaxmusic._src.music.notes import CHORD_COUNT, NO_CHORD, PHRASES, SECTIONS, transposed

Values = Mapping[str, np.ndarray]

DENSITY_EDGES = (0.6, 1.0, 1.5, 2.25, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.25, 7.5, 10.0, 14.0, 20.0)
"""Notes per quarter note at which each level of density from 1 on begins. They lie at the quantiles
of ten sets of music, three of them of bands, which count twice; the last level holds 24 notes."""
DENSITIES = len(DENSITY_EDGES) + 1
ENERGY_EDGES = (1.0, 1.75, 2.5, 3.25, 4.5, 6.5, 10.0)
"""Loudness of all notes per quarter note, see `find_energy`, at which each level from 1 on begins:
the octiles of eight bars of the same music."""
ENERGIES = len(ENERGY_EDGES) + 1


class Control(NamedTuple):
    """One row of the table.

    Attributes:
      name: what is asked for, left out and guided together, e.g. ``chords``.
      kind: kind of its tokens, and its key in `Piece.controls`.
      values: number of its values.
      room: token ids that are kept for it, so that later values move no others.
      place: what has a value: the ``piece``, each ``slot``, ``bar`` or ``half`` bar.
      opens: whether the header states the value of the first bar.
      steady: whether a composed piece keeps the value of its first bar.
      under: kinds of controls upon whose change it falls back to `default`.
      default: the value that is not stated; -1 stands for an unknown one.
      none: a further value, the last of the ids, that stands for none of the others.
      many: whether a value is a set, with a bit for each of `values`.
      label: its column in `notes.Labels`; it may have none.
      find: infers it from quantised notes and the controls above it in the table, where it has no
        label; None for what notes do not tell.
      transpose: a value (int array) some semitones higher; None for what does not move.
    """

    name: str
    kind: str
    values: int
    room: int
    place: str
    opens: bool = False
    steady: bool = False
    under: tuple[str, ...] = ()
    default: int = -1
    none: int = -1
    many: bool = False
    label: str = ""
    find: Callable[[Columns, Values], np.ndarray] | None = None
    transpose: Callable[[np.ndarray, int], np.ndarray] | None = None

    def shape(self, bars: int) -> tuple[int, ...]:
        """Returns the shape of the values of a piece."""
        return {"piece": (), "slot": (16,), "bar": (bars,), "half": (2 * bars,)}[self.place]

    @property
    def dtype(self) -> type:
        """Type of its values."""
        return np.int32 if self.many else np.int16

    def unknown(self, bars: int) -> np.ndarray:
        """Returns the values of a piece without any known control."""
        return np.full(self.shape(bars), self.default, self.dtype)

    def valid(self) -> np.ndarray:
        """Returns which of the ids kept for it have a meaning (bool [room])."""
        return (np.arange(self.room) < self.values) | (np.arange(self.room) == self.none)

    def part(self, values: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Returns the values of bars start to stop (stop excluded)."""
        scale = {"bar": 1, "half": 2}.get(self.place)
        return values if scale is None else values[scale * start : scale * stop]


def density_level(per_quarter: float) -> int:
    """Returns the level of density, 0 to 15, of a mean number of notes per quarter note."""
    return int(np.searchsorted(DENSITY_EDGES, per_quarter, side="right"))


def density_range(level: int) -> tuple[float, float]:
    """Returns the least and most notes per quarter note of a level of density."""
    edges = (0.0, *DENSITY_EDGES, np.inf)
    return edges[level], edges[level + 1]


def find_density(notes: Columns, _: Values) -> np.ndarray:
    """Infers the density of a piece: all its notes, those of drums included."""
    return np.array(density_level(max(len(notes), 1) / notes.quarters), np.int16)


def _roles(notes: Columns, _: Values) -> np.ndarray:
    return roles.find_roles(notes)


def find_energy(notes: Columns, known: Values) -> np.ndarray:
    """Infers the energy of each section or phrase: how many notes there are and how loud they are.

    It is the level, see `ENERGY_EDGES`, of the sum of loudness (0 to 1) of all notes that begin in
    a quarter note, on average.
    """
    out, span = np.full(notes.bars, -1, np.int16), spans(known, notes.bars)
    if (span < 0).all():
        return out
    loudness = (notes.velocity + 1.0) / notes.velocities
    quarters = np.diff(notes.bar_step) / notes.steps_per_beat
    total = np.bincount(notes.bar_of, loudness, minlength=notes.bars)[: notes.bars]
    there = span >= 0
    sums = np.bincount(span[there], total[there])
    lengths = np.bincount(span[there], quarters[there])
    level = np.searchsorted(ENERGY_EDGES, sums / np.maximum(lengths, 1e-9), side="right")
    out[there] = level[span[there]]
    return out


def find_plays(notes: Columns, known: Values) -> np.ndarray:
    """Finds the slots that play in each section or phrase: bit s is set where slot s has a note."""
    out, span = np.full(notes.bars, -1, np.int32), spans(known, notes.bars)
    if (span < 0).all():
        return out
    number_of = span[np.minimum(notes.bar_of, notes.bars - 1)]
    for number in range(int(span.max()) + 1):
        playing = np.unique(notes.slot[number_of == number])
        out[span == number] = (1 << playing.astype(np.int32)).sum() if len(playing) else -1
    return out


def spans(known: Values, bars: int) -> np.ndarray:
    """Numbers the sections and phrases of a piece: int [bars], -1 before the first of them."""
    section, phrase = known["section"], known["phrase"]
    labelled = (section >= 0) | (phrase >= 0)
    begins = np.zeros(bars, bool)
    for values in (section, phrase):
        begins[1:] |= values[1:] != values[:-1]
    begins[:1] = True
    return np.where(labelled, np.cumsum(begins & labelled) - 1, -1)


def _key(values: np.ndarray, semitones: int) -> np.ndarray:
    return np.where(values < 0, values, transposed(values, semitones))


def _chord(values: np.ndarray, semitones: int) -> np.ndarray:
    return np.where(values == NO_CHORD, values, _key(values, semitones))


CONTROLS: tuple[Control, ...] = (
    # name, kind, values, room, place
    Control("key", "key", 24, 24, "bar", opens=True, steady=True, label="key", transpose=_key),
    Control("density", "density", DENSITIES, 24, "piece", find=find_density),
    Control("roles", "role", len(roles.ROLES), 8, "slot", label="role", find=_roles),
    Control("sections", "section", len(SECTIONS), 16, "bar", label="section"),
    Control("sections", "phrase", len(PHRASES), 32, "bar", label="phrase"),
    Control("energy", "energy", ENERGIES, 16, "bar", under=("section", "phrase"), find=find_energy),
    Control(
        "plays", "plays", 16, 16, "bar", under=("section", "phrase"), many=True, find=find_plays
    ),
    Control(
        "chords",
        "chord",
        CHORD_COUNT,
        NO_CHORD + 1,
        "half",
        none=NO_CHORD,
        label="chord",
        transpose=_chord,
    ),
    Control("chords", "bass", 12, 12, "half", under=("chord",), default=0, label="bass"),
)
"""All controls, in the order in which a stream states those of one place."""


def names() -> tuple[str, ...]:
    """Names the controls that may be left out of a stream, styles first."""
    return ("styles", *dict.fromkeys(control.name for control in CONTROLS))


def hidden(drop: frozenset[str]) -> frozenset[str]:
    """Kinds of tokens left out with some controls: theirs, and those that stand under them."""
    out = {"style"} if "styles" in drop else set()
    out |= {control.kind for control in CONTROLS if control.name in drop}
    out |= {c.kind for c in CONTROLS if c.under and out.issuperset(c.under)}
    return frozenset(out)


def stated_at(place: str) -> tuple[Control, ...]:
    """Lists the controls that are stated at a place: ``piece``, ``slot``, ``bar`` or ``half``."""
    return tuple(control for control in CONTROLS if control.place == place)


def of(kind: str) -> Control:
    """Returns the row of a kind of token."""
    return next(control for control in CONTROLS if control.kind == kind)
