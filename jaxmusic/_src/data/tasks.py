"""Drawing tasks: which parts of pieces are read as one, and what is given of them.

A part is read as it is, or as a task (`codecs.tasks`): some of it is given first, and the
rest is to be written. Task and given material are drawn for each segment in every epoch.
All that depends on the number of bars is drawn as a fraction of it, so that a part that has to lose
bars keeps its task.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.layout import TASKS
from jaxmusic._src.codecs.tasks import Given
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music.piece import DRUM_SLOT, Piece
from jaxmusic._src.music.roles import melody_slot
from jaxmusic.config import Tasks

_NUMBERS = 24
_AFTER = 1 / 3
"""Chance that some first bars are given whole, as in the later windows of a long piece."""
_SHARES = (0.35, 0.65)
"""Least and largest share of the bars that vary writes."""
_RUNS = (2, 4)
"""Least and largest number of runs of bars that vary writes, where there are bars enough."""


class Draw(NamedTuple):
    """The task of one part of a piece in one epoch.

    Attributes:
      task: its number in `TASKS`.
      place: from 0 to 1, which of its bars a part keeps that must lose some: from the first ones
        to the last ones.
      numbers: float64 [24], even between 0 and 1: what is given follows from them.
    """

    task: int
    place: float
    numbers: np.ndarray


def check(tasks: Tasks, codec: Codec) -> None:
    """Raises UserError where the chances make no sense, or the codec has no tasks."""
    chances = dataclasses.astuple(tasks)
    if sum(chances) > 1 + 1e-9:
        raise UserError(
            f"Set the chances of data.tasks to at most 1 together, not to {sum(chances):g}."
        )
    if any(chances) and codec.UNIT != "bars":
        raise UserError(
            f"Set the chances of data.tasks to 0 with the {codec.config.kind} codec, which has no "
            "bars to fill, or train with codec.kind metrical or fused."
        )


def draw(tasks: Tasks, rng: np.random.Generator) -> Draw | None:
    """Draws the task of a part, None for none."""
    chance, place, *numbers = rng.random(2 + _NUMBERS)
    chances = [getattr(tasks, name, 0.0) for name in TASKS]
    task = int(np.searchsorted(np.cumsum(chances), chance, side="right"))
    return Draw(task, place, np.array(numbers)) if task < len(TASKS) else None


def surplus(drawn: Draw, bars: int) -> int:
    """Returns the least number of tokens by which a task lengthens a segment; 0 if unknown.

    The task, WRITE, and for each bar of which something is written a HOLE and its bar token. Where
    instruments are given, fewer changes of them may make up for that.
    """
    marked = _marked(drawn, bars)
    return 0 if marked is None else 2 + 2 * int(marked.sum())


def given(drawn: Draw, part: Piece, drop: frozenset[str]) -> Given | None:
    """Returns what is given of a part.

    - infill: all but one run of bars, whose length is even on a logarithmic scale from one bar to
      half of the part, and which stands anywhere.
    - accompany: some of the instruments that sound, but not all: one alone, all but the drums, all
      but one, or any number of them, each as often.
    - harmonise: the melody (`music.roles.melody_slot`).
    - vary: all but two to four runs of bars that are about half of the part.

    Accompany and harmonise write in all bars, or one time in three in those after some first bars,
    at most half of the part, that are given whole.

    Args:
      drawn: the task.
      part: the part.
      drop: controls that its stream lacks.

    Returns:
      What is given; None where the task makes no sense: it wants other bars or other instruments
      than there are, or nothing would be left to write.
    """
    task, _, numbers = drawn
    first_note = np.searchsorted(part.onset, part.bar_step)
    marked = _marked(drawn, part.bars)
    if marked is not None:
        slots = np.zeros(16, bool)
        left = np.diff(first_note)[marked].any()
        return Given(task, marked, slots, TASKS[task] == "vary") if left else None
    first = _opening(part.bars, numbers)
    sounding = np.flatnonzero(np.bincount(part.slot[first_note[first] :], minlength=16))
    if TASKS[task] == "accompany":
        chosen = _some(sounding, numbers)
    else:
        chosen = _melody(part.part(first, part.bars), len(sounding), drop)
    if not len(chosen):
        return None
    slots = np.isin(np.arange(16), chosen)
    return Given(task, np.arange(part.bars) >= first, slots, TASKS[task] == "accompany")


def _melody(part: Piece, sounding: int, drop: frozenset[str]) -> np.ndarray:
    """Returns the slot of the melody; none if there is no melody, or nothing else."""
    slot = melody_slot(part)
    chords = "chords" not in drop and bool((part.chord >= 0).any())
    return np.array([slot] if slot >= 0 and (sounding > 1 or chords) else [], np.int64)


def _marked(drawn: Draw, bars: int) -> np.ndarray | None:
    """Draws the bars that infill and vary write, bool [bars]; None for other tasks."""
    runs = {"infill": _one_run, "vary": _several_runs}.get(TASKS[drawn.task])
    return runs(bars, drawn.numbers) if runs else None


def _one_run(bars: int, numbers: np.ndarray) -> np.ndarray:
    """Draws one run of bars, bool [bars]; none of a single bar."""
    # A power with an even exponent is even on a logarithmic scale.
    length = int((bars // 2 + 1) ** numbers[0]) if bars > 1 else 0
    start = int(numbers[1] * (bars - length + 1))
    at = np.arange(bars)
    return (at >= start) & (at < start + length)


def _several_runs(bars: int, numbers: np.ndarray) -> np.ndarray:
    """Draws several runs of bars, bool [bars]; none of a single bar."""
    low, high = _RUNS
    runs = min(low + int(numbers[0] * (high - low + 1)), bars // 2)
    if not runs:
        return np.zeros(bars, bool)
    share = _SHARES[0] + numbers[1] * (_SHARES[1] - _SHARES[0])
    total = min(max(round(share * bars), runs), bars - max(runs - 1, 1))
    weights = -np.log1p(-numbers[2:])
    lengths = np.ones(2 * runs + 1, np.int64)  # of what is given and of what is written, in turn
    lengths[[0, -1]] = 0
    lengths[1::2] += _shared(total - runs, weights[:runs])
    lengths[0::2] += _shared(bars - total - (runs - 1), weights[runs : 2 * runs + 1])
    return np.repeat(np.arange(2 * runs + 1) % 2 > 0, lengths)


def _shared(total: int, weights: np.ndarray) -> np.ndarray:
    """Splits a total into whole numbers by weight."""
    upto = np.cumsum(weights) / weights.sum()
    return np.diff(np.rint(upto * total), prepend=0).astype(np.int64)


def _opening(bars: int, numbers: np.ndarray) -> int:
    """Draws the number of first bars that are given whole."""
    return 1 + int(numbers[1] * (bars // 2)) if numbers[0] < _AFTER and bars > 1 else 0


def _some(sounding: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Draws some, but not all, of the sounding slots; none of a single one."""
    others = len(sounding) - 1
    if others < 1:
        return sounding[:0]
    way = int(numbers[2] * 4)
    if way == 1 and sounding[-1] == DRUM_SLOT:
        return sounding[:-1]
    count = {0: 1, 2: others}.get(way, 1 + int(numbers[3] * others))
    return sounding[np.argsort(numbers[-16:][sounding])][:count]
