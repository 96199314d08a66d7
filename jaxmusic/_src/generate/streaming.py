"""A piece bar by bar, while the bars to come are still being sampled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.layout import bars_left_index
from jaxmusic._src.music.notes import Notes

COLUMNS = ("onset", "duration", "pitch", "velocity", "track")


@dataclasses.dataclass(frozen=True)
class Bar:
    """A bar of a piece that is finished.

    Attributes:
      number: of the bar, from 1.
      total: bars of the whole piece.
      notes: the notes that begin in it, at their places in the piece: with its tempo, meter,
        instruments and end. Labels are those of the bars so far. A note sounds until its end or
        until its pitch begins again in its track, which may be in bars to come; see `join`.
    """

    number: int
    total: int
    notes: Notes


def finished(
    codec: Codec, planner: Any, stream: np.ndarray, total: int, made: int
) -> Iterator[Bar]:
    """Yields the complete bars of a piece, or of its beginning, skipping the first `made`.

    The bar that is open is not among them: where the context is full it is drawn again. `total`,
    the number of bars of the whole piece, is known when the first has begun.
    """
    v = codec.vocabulary
    lines = np.flatnonzero(v.kind[stream] == v.kinds["bar"])
    ended = bool(stream[-1] == v.start["eos"])
    stop = len(lines) - (not ended)
    if stop <= made:
        return
    if not ended:
        # Empty bars to the end: what was written sounds on into them as into those to come.
        left = v.start["bar"] + bars_left_index(np.arange(total - stop - 1, -1, -1))
        stream = np.concatenate([stream[: lines[-1]], left, [v.start["eos"]]]).astype(np.int32)
    notes = planner.finish(stream)
    bar_ticks = codec.decode(stream)[0].bar_step * (
        notes.ticks_per_beat // codec.config.steps_per_beat
    )
    bar = np.searchsorted(bar_ticks, notes.onset, side="right") - 1
    for number in range(made, stop):
        here = {name: getattr(notes, name)[bar == number] for name in COLUMNS}
        yield Bar(number + 1, total, notes.replace(**here))


def join(parts: Sequence[Bar]) -> Notes:
    """Returns the piece that all its bars together are; `parts` holds them all, in order."""
    last = parts[-1].notes
    columns = {
        name: np.concatenate([getattr(part.notes, name) for part in parts]) for name in COLUMNS
    }
    voice = columns["track"].astype(np.int64) * 128 + columns["pitch"]
    order = np.lexsort((columns["onset"], voice))
    onset, voice = columns["onset"][order], voice[order]
    gap = np.where(voice[1:] == voice[:-1], onset[1:] - onset[:-1], columns["duration"].max())
    columns["duration"][order[:-1]] = np.minimum(columns["duration"][order[:-1]], gap)
    return last.replace(**columns)
