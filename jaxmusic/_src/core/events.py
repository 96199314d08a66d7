"""Event tensors: the input of a model, for any codec."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

MAX_POSITIONS = 145
"""Sizes of the ranges below: positions in a bar 0-143 and 144 for the header,"""
MAX_SLOTS = 17
"""slots 0-15 and 16 for none,"""
MAX_PITCHES = 129
"""pitches 0-127 and 128 for none."""


class Events(NamedTuple):
    """A token stream with the musical position of each token (int32, [..., T]).

    Index i depends only on the tokens up to and including i, so a whole piece and sampling token
    by token give the same arrays.

    Attributes:
      token: token id.
      time: grid steps from the start of the stream's first bar; 0 in the header.
      position: steps from the start of the bar, 144 in the header.
      bar: number of the bar in the stream, from 0; 0 in the header.
      slot: instrument slot of the token, 16 for none.
      pitch: pitch of the note that the token belongs to, 128 for none.
    """

    token: Any
    time: Any
    position: Any
    bar: Any
    slot: Any
    pitch: Any


class Batch(NamedTuple):
    """Packed rows, all [B, T], or one row, all [T].

    Attributes:
      events: the inputs; tokens of one piece or part are contiguous.
      target: int32, the token that follows each input within its part; the codec's PAD after the
        last.
      segment: int32, 1, 2, ... numbers the parts of a row, 0 is padding; a token attends to
        tokens of its own segment only.
      weight: float32, 1 where the target counts in the loss, else 0.
    """

    events: Events
    target: Any
    segment: Any
    weight: Any


def pack(parts: Iterable[tuple[Events, np.ndarray]], length: int, pad: int) -> Batch:
    """Packs parts into a row, one after the other; the rest of it is padding.

    Args:
      parts: events of each part ([L], L at least 1) and its targets ([L], or [L - 1] if no token
        follows the last one).
      length: T of the row, at least the sum of all L.
      pad: the codec's PAD.
    """
    columns = np.zeros((len(Events._fields), length), np.int32)
    target, segment = np.zeros((2, length), np.int32)
    weight = np.zeros(length, np.float32)
    columns[0] = target[:] = pad
    start = 0
    for number, (events, targets) in enumerate(parts, start=1):
        end, last = start + len(events.token), start + len(targets)
        columns[:, start:end] = events
        target[start:last] = targets
        segment[start:end] = number
        weight[start:last] = 1
        start = end
    return Batch(Events(*columns), target, segment, weight)


def stack(rows: Sequence[Batch]) -> Batch:
    """Stacks rows ([T]) to a batch ([B, T])."""
    events = zip(*(row.events for row in rows))
    rest = zip(*(row[1:] for row in rows))
    return Batch(Events(*map(np.stack, events)), *map(np.stack, rest))
