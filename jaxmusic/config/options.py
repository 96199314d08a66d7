"""Keyword arguments of composing: fields of `Controls` and `Sampling` by name.

Type checkers and editors read these types; a test holds them against the dataclasses.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import TypedDict

from jaxmusic.config.composing import Controls, Sampling


class SamplingOptions(TypedDict, total=False):
    """Options of drawing tokens, and groups of options as one."""

    controls: Controls
    sampling: Sampling
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    temperatures: str
    repeats: int
    best_of: int


class Options(SamplingOptions, total=False):
    """Options of composing besides style, duration and seed."""

    key: str
    tempo: float
    meter: str
    density: float
    instruments: str | Sequence[str]
    strict_instruments: bool
    chords: str | Sequence[str]
    form: str | Sequence[str]
    energy: str | Sequence[int]
    guidance: float
    strict: bool
    ending: bool


class EditOptions(SamplingOptions, total=False):
    """Options of every task; the given piece decides everything else."""

    style: str
    key: str
    density: float
    guidance: float
    strict: bool
    seed: int | None


class AccompanyOptions(EditOptions, total=False):
    """Options of accompanying a piece besides the instruments."""

    strict_instruments: bool
    chords: str | Sequence[str]


class HarmoniseOptions(EditOptions, total=False):
    """Options of harmonising a melody."""

    instruments: str | Sequence[str]
    strict_instruments: bool


class ContinueOptions(HarmoniseOptions, total=False):
    """Options of continuing a piece."""

    duration: str | float
    chords: str | Sequence[str]
    form: str | Sequence[str]
    energy: str | Sequence[int]


class _Accompaniment(AccompanyOptions, total=False):
    """Options of accompanying a piece."""

    instruments: str | Sequence[str]


TASK_OPTIONS: dict[str, type] = {
    "continue": ContinueOptions,
    "infill": EditOptions,
    "accompany": _Accompaniment,
    "harmonise": HarmoniseOptions,
    "vary": EditOptions,
}
"""Options of each task."""


def task_controls(task: str) -> tuple[str, ...]:
    """Returns the controls that a task takes; all else is as it is in the given piece."""
    hints = typing.get_type_hints(TASK_OPTIONS[task])
    return tuple(name for name in vars(Controls()) if name in hints)
