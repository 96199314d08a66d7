"""Windows: how a piece that is longer than a model's context is read, each token scored once.

A window is a part of the piece as training rows have it: a header with the state in force, then
bars. The first one is scored whole; of the others the bars that no window before them had, and at
least half of the context stands before these. The last window reaches back as far as it can.

Where bars are so long that a window which opens at a bar line could score less than a quarter of
its places, a row opens with the header and continues in the middle of a bar. Nothing is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxmusic.codecs.base import Codec
from jaxmusic.core.events import Events


class Row(NamedTuple):
    """What a model reads at once.

    Attributes:
      events: int32 [L] each, at most as many as the context has places.
      target: int32 [L], the token that follows each.
      scored: how many targets count, which are the last ones.
    """

    events: Events
    target: np.ndarray
    scored: int


class Reading(NamedTuple):
    """A piece as rows.

    Attributes:
      rows: their scored targets, one after another, are the tokens.
      token: int32 [T], the stream of the piece without the token that opens it.
      bar: int32 [T], number of the bar that each stands in, from 0; -1 in the header.
    """

    rows: list[Row]
    token: np.ndarray
    bar: np.ndarray


def read(codec: Codec, piece: Any, context: int) -> Reading:
    """Lays out a quantised piece as rows of at most `context` tokens, at least 2."""
    whole, sizes = codec.encode(piece), codec.sizes(piece)
    opening, ends = _parts(codec, whole, sizes)
    line = np.cumsum(np.r_[opening, sizes[1:]])
    line[-1] += ends
    rows: list[Row] = []
    fits = len(whole) - 1 <= context
    for start, first, stop in [(0, 0, piece.bars)] if fits else plan(sizes, context):
        tokens, header, before = whole[: line[stop]], opening, 1
        if first:
            part = piece.part(start, stop)
            tokens, bounds = codec.encode(part), codec.sizes(part)
            header, _ = _parts(codec, tokens, bounds)
            before = header + int(bounds[1 : 1 + first - start].sum())
            # A part that opens with silence names an instrument once more, and in a performance
            # it lacks the ends of notes from before: what is scored is as in the whole stream.
            tokens = np.concatenate([tokens[:before], whole[line[first] : line[stop]]])
        rows += _rows(codec, tokens, header, before, context)
    bar = np.repeat(np.r_[-1, : piece.bars].astype(np.int32), np.diff(line, prepend=0))
    return Reading(rows, whole[1:], bar[1:])


def _parts(codec: Codec, tokens: np.ndarray, sizes: np.ndarray) -> tuple[int, int]:
    """Tokens of the header of a stream, and after its last bar."""
    ends = int(tokens[-1] == codec.vocabulary.start["eos"])
    return len(tokens) - ends - int(sizes[1:].sum()), ends


def plan(sizes: np.ndarray, context: int) -> list[tuple[int, int, int]]:
    """Windows of a piece: the bar that each opens with, its first new bar, and its end.

    Args:
      sizes: int [B + 1], bounds of the tokens of a header and of each bar, see `Codec.sizes`.
      context: places in a row.
    """
    total = np.concatenate([[0], np.cumsum(sizes[1:], dtype=np.int64)])
    room, count = max(context - int(sizes[0]), 1), len(total) - 1
    windows, first = [], 0
    while first < count:
        start = max(int(np.searchsorted(total, total[first] - room / 2, side="right")) - 1, 0)
        end = total[start] + room
        if end < total[first] + room // 4:
            end = total[first] + room // 2
        stop = max(int(np.searchsorted(total, end, side="right")) - 1, first + 1)
        if stop == count:
            start = min(start, int(np.searchsorted(total, total[stop] - room)))
        windows.append((start, first, stop))
        first = stop
    return windows


def _rows(
    codec: Codec, tokens: np.ndarray, header: int, before: int, context: int
) -> Iterator[Row]:
    """Rows of one stream, of which the tokens from `before` on are scored."""
    events, target = codec.events(tokens[:-1]), tokens[1:]
    length, at = len(target), before - 1
    header = min(header, context // 2)
    room = context - header
    while at < length:
        start = max(at - room // 2, header)
        end = min(start + room, length)
        if end == length:
            start = max(length - room, header)
        columns = np.r_[:header, start:end]
        yield Row(Events(*(column[columns] for column in events)), target[columns], end - at)
        at = end
