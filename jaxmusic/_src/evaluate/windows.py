"""Windows: reading pieces longer than a model's context, scoring each token once.

A window is a part of the piece as in training rows: a header with the state in force, then bars.
The first one is scored whole, the others in the bars that no earlier window had, which at least
half of the context precedes. The last window reaches back as far as it can.

If bars are so long that a window from a bar line could score less than a quarter of its positions,
a row opens with the header and continues inside a bar. Every token is scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.events import Events


class Row(NamedTuple):
    """One row for a model.

    Attributes:
      events: int32 [L] each, L at most the context.
      target: int32 [L], the token that follows each.
      scored: number of targets that count, the last ones.
    """

    events: Events
    target: np.ndarray
    scored: int


class Reading(NamedTuple):
    """A piece as rows.

    Attributes:
      rows: rows whose scored targets, concatenated, are the tokens.
      token: int32 [T], the stream of the piece after its first token.
      bar: int32 [T], bar of each token, from 0; -1 in the header.
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
    """Counts the tokens of the header of a stream and after its last bar."""
    ends = int(tokens[-1] == codec.vocabulary.start["eos"])
    return len(tokens) - ends - int(sizes[1:].sum()), ends


def plan(sizes: np.ndarray, context: int) -> list[tuple[int, int, int]]:
    """Divides a piece into windows: first bar, first new bar and end of each.

    Args:
      sizes: int [B + 1], bounds of the tokens of a header and of each bar, see `Codec.sizes`.
      context: tokens of a row.
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
    """Makes rows of one stream that score the tokens from `before` on."""
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
