"""Parts of pieces: cut at bars, read as a task or as they are, and made to fit into a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.data import tasks
from jaxmusic._src.data.tasks import Draw

NO_TOKENS = np.zeros(0, np.int32)


class Part(NamedTuple):
    """A part of a piece, as it goes into a row.

    Attributes:
      number: the piece's number in the plan.
      start, stop: bars of the part, as the plan counts them.
      bars: bars of the whole piece, as the plan counts them.
      piece: the whole piece, as the epoch changes it.
      semitones: how far the part is moved.
      drop: names of controls that its header lacks.
      task: the task it is read as; None for none.
      tokens: its tokens.
    """

    number: int
    start: int
    stop: int
    bars: int
    piece: Any
    semitones: int
    drop: frozenset[str]
    task: Draw | None
    tokens: np.ndarray = NO_TOKENS


def cut(codec: Codec, part: Part) -> Part:
    """Adds the tokens of its bars to a part; drops a task that does not apply to them."""
    start, stop, whole = part.start, part.stop, part.piece
    if whole.bars != part.bars:
        # A codec that counts seconds has others to cut at in another tempo.
        start, stop = (bar * whole.bars // part.bars for bar in (start, stop))
        if start == stop:
            return part._replace(tokens=NO_TOKENS)
    piece = whole.part(start, stop)
    if part.semitones:
        piece = piece.transpose(part.semitones)
    given = part.task and tasks.given(part.task, piece, part.drop)
    task = part.task if given else None
    return part._replace(task=task, tokens=codec.encode(piece, part.drop, given))


def cut_as_task(codec: Codec, part: Part, room: int, bound: int) -> Part:
    """Adds a task to a part, and the tokens of its bars that fit into `room` places.

    The plain part has at most `bound` tokens.
    """
    bars = part.stop - part.start
    # What is foreseen to be too long need not be encoded to see it.
    length = bound + tasks.surplus(part.task, bars) if part.task and bars > 1 else 0
    if length <= room:
        part = cut(codec, part)
        length = len(part.tokens)
    return shorten(codec, part, room, length)


def shorten(codec: Codec, part: Part, room: int, length: int) -> Part:
    """Truncates a part of some length in tokens to the bars that fit into `room`, at least one.

    A plain part loses its last bars, and one bar may be too long. A task, whose stream cannot be
    cut off, loses bars at both ends; where it does not fit at all, the part becomes a plain one.
    """
    shorter = part
    while length > room and shorter.stop > shorter.start + 1:
        bars = max((shorter.stop - shorter.start) * room // length, 1)
        lost = shorter.stop - shorter.start - bars
        start = shorter.start + (int(part.task.place * (lost + 1)) if part.task else 0)
        shorter = cut(codec, shorter._replace(start=start, stop=start + bars))
        length = len(shorter.tokens)
        if part.task and not shorter.task:
            break
    if part.task and (length > room or not shorter.task):
        plain = cut(codec, part._replace(task=None))
        return shorten(codec, plain, room, len(plain.tokens))
    return shorter


def fit(codec: Codec, parts: list[Part], room: int) -> list[Part]:
    """Fits parts into a row; if they are too long, the last ones lose bars."""
    out: list[Part] = []
    for part in parts:
        part = shorten(codec, part, room, len(part.tokens))
        if len(part.tokens) > room and out:
            continue
        part = part._replace(tokens=part.tokens[:room])
        out.append(part)
        room -= len(part.tokens)
    return out
