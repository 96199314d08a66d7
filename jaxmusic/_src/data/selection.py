"""Selecting pieces of a dataset by what is known about them, without copying any.

A selection is conditions joined by spaces, all of which must hold: ``style=pop tempo=90..140
has=drums``. A condition is ``field=values`` or ``field!=values``, where values joined by commas are
alternatives:

=========  =======================================================================================
style      names of styles, with ``-`` for spaces
tempo      quarters per minute, the mean over the piece
bars, seconds, notes, tracks, density (notes per second)
meter      the meter that holds longest, e.g. ``3/4,6/8``
key        the key that holds longest, e.g. ``C,Am``, or ``major``, ``minor``, ``unknown``
has        ``drums``, a family of instruments, or a General MIDI program, e.g. ``guitar,banjo``
=========  =======================================================================================

Numbers are ranges with both ends, ``90..140``, ``90..`` or ``..140``, or a number, which stands for
all that round to it.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Sequence

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.metadata import DRUMS, NUMBERS, Metadata, MetadataTable
from jaxmusic._src.formats.instruments import GM_FAMILIES, GM_PROGRAMS
from jaxmusic._src.formats.symbols import hyphenated, pitch_class
from jaxmusic._src.music.notes import PITCH_NAMES

FIELDS = ("style", *NUMBERS, "meter", "key", "has")
Test = Callable[[MetadataTable], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Where:
    """A selection; `parse` makes one.

    Attributes:
      text: its conditions, each in one way of writing it.
      tests: conditions of which all must hold: bool [P] of an index.
      styles: names of styles that it asks for, with ``-`` for spaces.
    """

    text: str = ""
    tests: tuple[Test, ...] = ()
    styles: tuple[str, ...] = ()

    def select(self, index: MetadataTable) -> np.ndarray:
        """Masks the pieces of an index that match, bool [P]."""
        found = np.ones(len(index), bool)
        for test in self.tests:
            found &= test(index)
        return found

    def matches(self, piece: Metadata) -> bool:
        """Tells whether one piece matches."""
        return not self.tests or bool(self.select(MetadataTable.of([piece]))[0])

    def check_styles(self, styles: Sequence[str]) -> None:
        """Raises UserError if it asks for a style that is not among those of a dataset."""
        known = {hyphenated(style) for style in styles}
        for style in self.styles:
            if style not in known:
                have = ", ".join(sorted(known)) or "none"
                raise UserError(f"No piece has the style {style!r}: there are {have}.")


def parse(text: str) -> Where:
    """Reads a selection; an empty one matches every piece.

    Raises:
      UserError: it makes no sense, and what it may say instead.
    """
    texts, tests, styles = [], [], []
    for word in text.split():
        name, equals, values = word.partition("=")
        negated = name.endswith("!")
        name = name.rstrip("!").lower()
        if not equals or not values:
            raise UserError(
                f"Write each condition as FIELD=VALUES or FIELD!=VALUES, e.g. tempo=90..140, not "
                f"{word!r}."
            )
        if name not in FIELDS:
            raise UserError(f"Pieces are not known by {name!r}: choose by {', '.join(FIELDS)}.")
        each = [value for value in values.lower().split(",") if value]
        if name == "style":
            styles += [hyphenated(value) for value in each]
        texts.append(f"{name}{'!' * negated}={','.join(each)}")
        tests.append(_any([_test(name, value) for value in each], negated))
    return Where(" ".join(texts), tuple(tests), tuple(styles))


def _any(tests: Sequence[Test], negated: bool) -> Test:
    """Tests whether one of the alternatives holds, or none."""
    return lambda index: np.any([test(index) for test in tests], axis=0) != negated


def _test(name: str, value: str) -> Test:
    if name in NUMBERS:
        low, high = _range(name, value)
        return lambda index: (index.column(name) >= low) & (index.column(name) <= high)
    if name == "style":
        wanted = hyphenated(value)
        return lambda index: (
            index.style @ np.array([hyphenated(n) == wanted for n in index.names], bool)
        )
    if name == "meter":
        meter = _meter(value)
        return lambda index: index.meter == meter
    if name == "key":
        return _key(value)
    programs = _programs(value)
    return lambda index: np.logical_or.reduce([index.plays(p) for p in programs])


def _range(name: str, value: str) -> tuple[float, float]:
    low, dots, high = value.partition("..")
    try:
        if not dots:
            number = float(low)
            return number - 0.5, np.nextafter(number + 0.5, 0)
        return float(low or "-inf"), float(high or "inf")
    except ValueError:
        raise UserError(
            f"Give {name} a number or a range such as 90..140, 90.. or ..140, not {value!r}."
        ) from None


def _meter(value: str) -> int:
    num, _, den = value.partition("/")
    if not (num.isdigit() and den.isdigit() and 0 < int(num) < 256 and 0 < int(den) < 256):
        raise UserError(f"Give meter a time signature such as 3/4, not {value!r}.")
    return int(num) << 8 | int(den)


def _key(value: str) -> Test:
    if value == "unknown":
        return lambda index: index.key < 0
    if value in ("major", "minor"):
        return lambda index: (index.key >= 0) & ((index.key >= 12) == (value == "minor"))
    found = re.fullmatch("([A-G])([#b]*)(m?)", value.capitalize())
    if found is None:
        names = ", ".join(PITCH_NAMES)
        raise UserError(
            f"There is no key {value!r}: use {names}, with m for minor as in Am, or major, minor, "
            "unknown."
        )
    key = pitch_class(found[1], found[2]) + 12 * bool(found[3])
    return lambda index: index.key == key


def _programs(value: str) -> tuple[int, ...]:
    name = hyphenated(value)
    if name == "drums":
        return (DRUMS,)
    if name in GM_FAMILIES:
        first = 8 * GM_FAMILIES.index(name)
        return tuple(range(first, first + 8))
    programs = [hyphenated(program) for program in GM_PROGRAMS]
    if name in programs:
        return (programs.index(name),)
    near = difflib.get_close_matches(name, programs, n=3)
    meant = f" such as {', '.join(near)}" if near else ", with - for spaces"
    raise UserError(
        f"There is no instrument {value!r}: use drums, {', '.join(GM_FAMILIES)}, or the name of a "
        f"General MIDI program{meant}."
    )
