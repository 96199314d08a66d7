"""Forms as people type them: sections with their numbers of bars."""

from __future__ import annotations

import re

from jaxmusic.core.errors import UserError
from jaxmusic.music.notes import SECTIONS

ALIASES = {
    "refrain": "chorus",
    "hook": "chorus",
    "coda": "outro",
    "ending": "outro",
    "opening": "intro",
    "introduction": "intro",
    "strophe": "verse",
    "middle8": "bridge",
}
"""Other names of sections."""
NEAREST = {
    **{"prechorus": "verse", "pre-chorus": "verse", "postchorus": "chorus"},
    **{"post-chorus": "chorus", "solo": "bridge", "interlude": "bridge", "instrumental": "bridge"},
    **{"break": "bridge", "breakdown": "bridge", "drop": "chorus", "build": "verse"},
}
"""Sections that models know nothing of, and what to write instead."""
LONGEST_FORM = 4096
"""Bars that a form may have."""


def read_form(text: str) -> tuple[int, ...]:
    """Section of each bar, see `notes.SECTIONS`, of a form such as ``intro4 verse8 chorus8``.

    Raises:
      UserError: a section is unknown or has no bars.
    """
    sections: list[int] = []
    for part in text.replace(",", " ").split():
        match = re.fullmatch(r"(middle8|[a-z-]+?):?(\d{1,4})", part.lower())
        if not match or not int(match[2]):
            raise UserError(
                f"{part!r} is not a section with its number of bars: write the form as in "
                "intro4 verse8 chorus8 outro4"
            )
        name = ALIASES.get(match[1], match[1])
        if name not in SECTIONS:
            known = f"there are {', '.join(SECTIONS)}"
            hint = f"{NEAREST[name]} is nearest" if name in NEAREST else known
            raise UserError(f"unknown section {match[1]!r}: {hint}")
        sections += [SECTIONS.index(name)] * int(match[2])
    if not 0 < len(sections) <= LONGEST_FORM:
        raise UserError(f"a form has 1 to {LONGEST_FORM} bars, not {len(sections)}")
    return tuple(sections)
