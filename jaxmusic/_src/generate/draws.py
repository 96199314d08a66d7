"""Settings of drawing tokens: `config.Sampling` checked, and as numbers for compiled programs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.vocabulary import Vocabulary
from jaxmusic._src.core.errors import UserError

CHOICES = {
    "rhythm": ("position", "shift"),
    "pitch": ("pitch", "note_on"),
    "length": ("hold", "note", "note_off"),
    "drums": ("drum",),
    "chords": ("chord",),
    "instruments": ("program", "slot"),
    "loudness": ("velocity",),
}
"""Kinds of tokens behind each name in `config.Sampling.temperatures`; no codec has all of them."""


class Kinds(NamedTuple):
    """Temperatures of their own for K kinds of tokens.

    Attributes:
      members: bool [K, V], the tokens of each kind.
      inverse: float32 [K, 1], 1 / temperature.
    """

    members: Any
    inverse: Any


class Settings(NamedTuple):
    """`config.Sampling` as numbers that may be traced, so that a change recompiles nothing.

    None disables an option at no cost.
    """

    temperature: Any
    top_k: Any = None
    top_p: Any = None
    min_p: Any = 0.0
    kinds: Kinds | None = None
    repeats: Any = 0


def settings(sampling: config.Sampling, vocabulary: Vocabulary) -> Settings:
    """Reads the sampling options; raises UserError for temperatures that make no sense."""
    return Settings(
        sampling.temperature,
        sampling.top_k or None,
        # A sum of rounded probabilities may stay below 1: without top_p there is no threshold.
        sampling.top_p if sampling.top_p < 1 else None,
        sampling.min_p,
        _kinds(sampling.temperatures, vocabulary),
        sampling.repeats,
    )


def _kinds(text: str, vocabulary: Vocabulary) -> Kinds | None:
    """Reads temperatures such as "pitch=1.1 drums=0.8"."""
    known = {
        name: [vocabulary.kinds[kind] for kind in kinds if kind in vocabulary.kinds]
        for name, kinds in CHOICES.items()
    }
    found: dict[int, float] = {}
    for word in text.replace(",", " ").split():
        name, _, number = word.partition("=")
        if not known.get(name):
            names = ", ".join(name for name, kinds in known.items() if kinds)
            raise UserError(f"there are no temperatures for {name!r} here: choose from {names}")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0.01 <= value <= 10:
            raise UserError(f"the temperature of {name} must be 0.01 to 10, not {number!r}")
        found |= dict.fromkeys(known[name], value)
    if not found:
        return None
    members = vocabulary.kind == np.array(list(found))[:, None]
    return Kinds(members, np.float32(1) / np.array(list(found.values()), np.float32)[:, None])
