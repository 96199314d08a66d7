"""Forms as people type them: sections with their numbers of bars."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.symbols import NEAREST_SECTIONS, SECTION_ALIASES
from jaxmusic._src.music.controls import ENERGIES
from jaxmusic._src.music.notes import PHRASES, SECTIONS

LONGEST_FORM = 4096
"""Bars that a form may have."""


class Form(NamedTuple):
    """The form of a piece.

    Attributes:
      parts: bars of each section or phrase.
      sections: section of each bar, see `notes.SECTIONS`, -1 for any.
      phrases: phrase of each bar, see `notes.PHRASES`, -1 for any.
    """

    parts: tuple[int, ...] = ()
    sections: tuple[int, ...] = ()
    phrases: tuple[int, ...] = ()

    def by_bar(self, values: Sequence[int]) -> tuple[int, ...]:
        """Repeats a value of each part for its bars."""
        return tuple(int(v) for v in np.repeat(values, self.parts))


def read_form(text: str) -> Form:
    """Reads a form of sections, phrases or both, such as ``intro4 A8 B8 A8 outro4``.

    Raises:
      UserError: a section is unknown or has no bars.
    """
    parts, sections, phrases = [], [], []
    for part in text.replace(",", " ").split():
        match = re.fullmatch(r"((?i:middle8)|[A-Za-z-]+?):?(\d{1,4})", part)
        if not match or not int(match[2]):
            raise UserError(
                f"{part!r} is not a section with its number of bars: write the form as in "
                "intro4 verse8 chorus8 outro4, or with letters for phrases as in A8 B8 A8"
            )
        parts.append(int(match[2]))
        letter = PHRASES.index(match[1]) if match[1] in PHRASES else -1
        phrases.append(letter)
        sections.append(-1 if letter >= 0 else _section(match[1]))
    if not 0 < sum(parts) <= LONGEST_FORM:
        raise UserError(f"a form has 1 to {LONGEST_FORM} bars, not {sum(parts)}")
    form = Form(tuple(parts))
    return form._replace(sections=form.by_bar(sections), phrases=form.by_bar(phrases))


def read_energy(text: str, form: Form) -> tuple[int, ...]:
    """Reads the level of energy of each bar from a level, 1 to 8, of each part of a form.

    Raises:
      UserError: there is no form, or another number of levels than parts.
    """
    levels = text.replace(",", " ").split()
    known = [str(level) for level in range(1, ENERGIES + 1)]
    if not form.parts or len(levels) != len(form.parts) or not set(levels) <= set(known):
        raise UserError(
            f"give the energy {text!r} as a number from 1 to {ENERGIES} for each section of the "
            'form, as in --form "verse8 chorus8" --energy "3 6"'
        )
    return form.by_bar([int(level) - 1 for level in levels])


def _section(word: str) -> int:
    name = SECTION_ALIASES.get(word.lower(), word.lower())
    if name not in SECTIONS:
        known = f"there are {', '.join(SECTIONS)}, and A to H and a to h for phrases"
        hint = f"{nearest} is nearest" if (nearest := NEAREST_SECTIONS.get(name)) else known
        raise UserError(f"unknown section {word!r}: {hint}")
    return SECTIONS.index(name)
