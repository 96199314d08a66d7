"""Names of instruments as people type them, and the General MIDI programs that they stand for."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import re
import warnings
from collections.abc import Collection

from jaxmusic._src.core.errors import Remark, UserError
from jaxmusic._src.formats.instruments import (
    DRUM_PROGRAM,
    GM_FAMILIES,
    GM_PROGRAMS,
    Heard,
    program_name,
)
from jaxmusic._src.music.piece import PITCHED_SLOTS
from jaxmusic._src.music.roles import ROLES

DRUM_NAMES = ("drums", "drum", "drum kit", "drum set", "percussion")
SHORT_NAMES: dict[str, tuple[int, ...]] = {
    "piano": (0, 1, 2, 3),
    "keyboard": (*range(8),),
    "keys": (*range(8),),
    "mallets": (11, 12, 13),
    "vibes": (11,),
    "bells": (9, 14),
    "organ": (16, 17, 18, 19, 20),
    "acoustic guitar": (24, 25),
    "electric guitar": (26, 27, 28, 29, 30),
    "distorted guitar": (29, 30),
    "upright bass": (32,),
    "double bass": (32, 43),
    "electric bass": (33, 34, 35, 36, 37),
    "strings": (40, 41, 42, 43, 44, 45, 48, 49, 50, 51),
    "violoncello": (42,),
    "harp": (46,),
    "choir": (52, 53),
    "voice": (52, 53, 54),
    "horn": (60,),
    "sax": (64, 65, 66, 67),
    "saxophone": (64, 65, 66, 67),
    "cor anglais": (69,),
    "woodwind": (*range(64, 80),),
    "synth": (*range(80, 96),),
    "synthesizer": (*range(80, 96),),
    "lead": (*range(80, 88),),
    "pad": (*range(88, 96),),
}
"""Names that General MIDI does not have, or has in a narrower or wider sense."""

USUAL = (0, 33, 48, 25, 16, 61, 65, 73)
"""Programs taken for a name that stands for several, where the model has heard none of them more
often: a grand piano, a fingered bass, a string ensemble and so on."""
_NAMED = 3
"""Instruments heard most that a message names."""


def _names() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = collections.defaultdict(set)
    for program, name in enumerate(GM_PROGRAMS):
        # "String Ensemble" is 1 or 2 of them.
        for one in (GM_FAMILIES[program // 8], name.lower(), re.sub(r" \d$", "", name.lower())):
            found[one.replace("-", " ")].add(program)
    return {name: frozenset(programs) for name, programs in (found | SHORT_NAMES).items()}


NAMES = _names()
"""Programs of each name, in lower case and with spaces for hyphens."""


@dataclasses.dataclass(frozen=True)
class Band:
    """The instruments of a piece.

    Attributes:
      slots: programs that each pitched slot may have, sorted by the highest of them, so that
        programs can ascend; None leaves number and kind to the model.
      without: programs that no slot has, where `slots` is None.
      drums: whether there are drums; None leaves it to the model.
      roles: role of each slot, see `music.roles.ROLES`, -1 for any.
    """

    slots: tuple[frozenset[int], ...] | None = None
    without: frozenset[int] = frozenset()
    drums: bool | None = None
    roles: tuple[int, ...] = ()


def read(text: str) -> Band:
    """Reads a list of instruments such as ``piano, 2 violins, drums`` or ``no drums``.

    A role may be given to an instrument: ``flute as melody, piano as chords``.

    Raises:
      UserError: an instrument is unknown, there are too many, or one is both wanted and not.
    """
    slots: list[tuple[frozenset[int], int]] = []
    without: frozenset[int] = frozenset()
    drums: bool | None = None
    wanted = False
    for part in text.split(","):
        plain = " ".join(part.lower().split())
        match = re.fullmatch(r"(no |[1-9]\d* )?(.+?)(?: as (.+))?", plain)
        if not match:
            raise UserError(f"an instrument is missing in {text!r}: write names with commas")
        negated = match[1] == "no "
        number = 1 if negated or not match[1] else int(match[1])
        wanted |= not negated
        programs = _programs(match[2])
        if programs is None:
            if drums is not None and drums == negated:
                raise UserError(f"the instruments {text!r} have drums and no drums: leave one out")
            drums = not negated
        elif negated:
            without |= programs
        else:
            slots += [(programs, _role(match[3]))] * number
    if not 0 <= len(slots) <= PITCHED_SLOTS:
        raise UserError(
            f"there is room for {PITCHED_SLOTS} instruments besides the drums, not {len(slots)}"
        )
    if not wanted:
        if len(without) == len(GM_PROGRAMS):
            raise UserError(f"{text!r} leaves no instrument: name one that plays")
        return Band(None, without, drums)
    left = [(programs - without, role) for programs, role in slots]
    if not all(programs for programs, _ in left) or not (left or drums):
        raise UserError(f"{text!r} leaves no instrument for one that it asks for: leave one out")
    left.sort(key=lambda slot: (max(slot[0]), min(slot[0])))
    return Band(
        slots=tuple(programs for programs, _ in left),
        drums=bool(drums),
        roles=tuple(role for _, role in left),
    )


def usual(programs: Collection[int], heard: Heard) -> int:
    """Chooses the program that a model has heard most; of several, one of `USUAL`."""
    order = {program: i for i, program in enumerate(USUAL)}
    return min(programs, key=lambda p: (-heard.programs.get(p, 0), order.get(p, len(order)), p))


def with_usual(band: Band, heard: Heard) -> Band:
    """Gives each slot the program of its name that the model has heard most.

    Where a name is asked for several times, the next ones get those heard next to most, as long as
    they are not rare. Nothing changes where the counts are unknown.
    """
    if band.slots is None or not heard.pieces:
        return band
    chosen: list[tuple[int, int]] = []
    for programs, role in zip(band.slots, band.roles):
        taken = {program for program, _ in chosen}
        free = {p for p in programs - taken if not heard.hardly(p)}
        chosen.append((usual(free or programs, heard), role))
    chosen.sort(key=lambda slot: slot[0])
    return dataclasses.replace(
        band,
        slots=tuple(frozenset({program}) for program, _ in chosen),
        roles=tuple(role for _, role in chosen),
    )


def check(band: Band, heard: Heard, strict: bool) -> None:
    """Warns of instruments that a model has hardly heard in training, or refuses them.

    Args:
      band: the instruments asked for.
      heard: by the model; where it is unknown, nothing is said.
      strict: whether they are refused.

    Raises:
      UserError: one is refused, or it is to be refused and the counts are unknown.
    """
    asked = [usual(programs, heard) for programs in band.slots or ()]
    asked += [DRUM_PROGRAM] if band.drums else []
    if not heard.pieces:
        if strict and asked:
            raise UserError(
                "leave strict_instruments out, or train again: this model does not know how often "
                "it heard each instrument"
            )
        return
    if not (rare := [p for p in dict.fromkeys(asked) if heard.hardly(p)]):
        return
    count = heard.programs.get
    said = ", ".join(f"{program_name(p)} ({count(p, 0):,})" for p in rare)
    known = sorted(heard.programs, key=lambda p: -count(p, 0))[:_NAMED]
    text = (
        f"this model has hardly heard {said} in its {heard.pieces:,} training pieces: ask for "
        f"{', '.join(program_name(p) for p in known)}, or train one on pieces that have them"
    )
    if strict:
        raise UserError(text)
    warnings.warn(text, Remark, stacklevel=2)


def _role(name: str | None) -> int:
    """Returns the index of a role; -1 for none."""
    if name is None:
        return -1
    known = [role for role in ROLES if role != "drums"]
    if name not in known:
        raise UserError(f"an instrument plays as {', '.join(known)}, not as {name!r}")
    return ROLES.index(name)


def _programs(name: str) -> frozenset[int] | None:
    """Programs of an instrument, None for drums."""
    plain = name.replace("-", " ")
    spellings = [plain, plain.removesuffix("s"), f"{plain}s"]
    for spelling in spellings:
        if spelling in DRUM_NAMES:
            return None
        if spelling in NAMES:
            return NAMES[spelling]
    close = difflib.get_close_matches(plain, [*NAMES, *DRUM_NAMES], 3)
    hint = f"did you mean {' or '.join(close)}?" if close else "use a name of General MIDI"
    raise UserError(f"unknown instrument {name!r}: {hint}")
