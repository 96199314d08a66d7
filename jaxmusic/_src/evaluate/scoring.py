"""Scoring: the negative log-likelihood of each token of a piece under a model."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.events import Batch, pack, stack
from jaxmusic._src.evaluate import windows
from jaxmusic._src.evaluate.windows import Row
from jaxmusic._src.models import base
from jaxmusic._src.models.loss import token_losses
from jaxmusic._src.models.params import Params

TOGETHER = 4
"""Pieces whose rows are sorted by width together."""
MOST_ROWS, MOST_PLACES = 4, 4096
"""Most rows in a batch, and most tokens; a longer row is read alone."""
SHORTEST = 256
"""Rows are padded to this width times a power of two, up to the context."""


class Scored(NamedTuple):
    """Scores of the tokens of a piece; the one that opens the stream has none.

    Attributes:
      nats: float32 [T], negative log-likelihood of each token.
      kind: int32 [T], its kind, an index into ``codec.vocabulary.names``.
      bar: int32 [T], its bar, from 0; -1 in the header.
      note: int32 [T], row of the note in the piece that it writes; -1 for none.
      notes: notes of the piece.
      seconds: its length, by the tempos of its tokens.
      bars: number of bars (of a performance: seconds begun).
      styles: names of its styles.
    """

    nats: np.ndarray
    kind: np.ndarray
    bar: np.ndarray
    note: np.ndarray
    notes: int
    seconds: float
    bars: int
    styles: tuple[str, ...]

    @property
    def bits(self) -> float:
        """Bits of all tokens."""
        return float(self.nats.sum(dtype=np.float64)) / math.log(2)


@dataclasses.dataclass(frozen=True)
class Score:
    """Surprise of a piece under a model.

    Attributes:
      bits: negative log-likelihood of all its tokens, in bits.
      notes: notes after quantising.
      seconds: length of the piece.
      semitones: transposition to C major or A minor, for a model of these keys.
      bits_per_note, bits_per_second: bits divided by these.
    """

    bits: float
    notes: int
    seconds: float
    semitones: int = 0

    @property
    def bits_per_note(self) -> float:
        """Bits for each note."""
        return self.bits / max(self.notes, 1)

    @property
    def bits_per_second(self) -> float:
        """Bits for each second of music."""
        return self.bits / max(self.seconds, 1e-9)


class Scorer:
    """Negative log-likelihoods of pieces under a model.

    Attributes:
      codec: makes tokens of pieces.
      context: most tokens in view of the model; longer pieces are read in windows, see
        `evaluate.windows`.
    """

    def __init__(self, model: config.Model, params: Params, codec: Codec, context: int):
        """Takes a model's configuration and parameters."""
        self.codec, self.context, self._params = codec, context, params
        # Rows have any width and the platform may be any.
        self._model = base.of(model).portable(model)

    def score(self, piece: Any) -> Scored:
        """Scores a piece that the codec has quantised."""
        return next(self.score_all([piece]))

    def score_all(self, pieces: Iterable[Any]) -> Iterator[Scored]:
        """Scores pieces in order, with rows of several in a batch."""
        rest, opening = iter(pieces), self.codec.vocabulary.start["bos"]
        while some := list(islice(rest, TOGETHER)):
            readings = [windows.read(self.codec, piece, self.context) for piece in some]
            nats = iter(self._nats([row for reading in readings for row in reading.rows]))
            for piece, reading in zip(some, readings):
                found = [next(nats)[-row.scored :] for row in reading.rows]
                notes = self.codec.dequantise(piece)
                yield Scored(
                    nats=np.concatenate([np.zeros(0, np.float32), *found]),
                    kind=self.codec.vocabulary.kind[reading.token],
                    bar=reading.bar,
                    note=self.codec.note_index(piece, np.append(opening, reading.token))[1:],
                    notes=len(piece),
                    seconds=float(notes.seconds(notes.end)),
                    bars=piece.bars,
                    styles=piece.styles,
                )

    def _nats(self, rows: list[Row]) -> list[np.ndarray]:
        """Computes nats (float32 [L]) of all targets of each row."""
        by_width = defaultdict(list)
        for number, row in enumerate(rows):
            by_width[self._width(len(row.target))].append(number)
        waiting = []
        for width, numbers in by_width.items():
            size = min(max(MOST_PLACES // width, 1), MOST_ROWS)
            for first in range(0, len(numbers), size):
                some = numbers[first : first + size]
                parts = [[(rows[number].events, rows[number].target)] for number in some]
                parts += [[]] * (size - len(some))
                batch = stack([pack(part, width, self.codec.PAD) for part in parts])
                waiting.append((some, _losses(self._model, self._params, batch)))
        out = [np.zeros(0, np.float32)] * len(rows)
        for some, found in waiting:
            for number, nats in zip(some, np.asarray(found, np.float32)):
                out[number] = nats[: len(rows[number].target)]
        return out

    def _width(self, length: int) -> int:
        """Returns the width to which a row of `length` tokens is padded."""
        doubled = max(1 << max(length - 1, 0).bit_length(), SHORTEST)
        return doubled if length > self.context else min(doubled, self.context)


@partial(jax.jit, static_argnums=0)  # models of one shape share the program
def _losses(model: config.Model, params: Params, batch: Batch) -> jax.Array:
    """Computes the nats [B, T] of the targets of rows."""
    out = base.of(model).apply(params, model, batch.events, batch.segment)
    return token_losses(out.logits, batch.target)
