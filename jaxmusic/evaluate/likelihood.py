"""Likelihood: how well a model foretells music that it did not learn from."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxmusic import config
from jaxmusic.codecs.base import Codec
from jaxmusic.errors import UserError
from jaxmusic.evaluate import windows
from jaxmusic.evaluate.windows import Row
from jaxmusic.events import Events
from jaxmusic.models import transformer
from jaxmusic.models.loss import token_losses

TOGETHER = 8
"""Pieces whose rows are sorted by width together."""
MOST_ROWS, MOST_PLACES = 4, 4096
"""Rows that are read at once, at most, and places in them; a longer row is read alone."""
SHORTEST = 256
"""Rows are padded to this width, or twice, four times ... as much, up to the context."""
SPANS = np.array([0, *2 ** np.arange(2, 21)])
"""Bars at which the spans of `Likelihood.as_json` begin."""
RESAMPLES = 1000
FIGURES = ("nats_per_token", "bits_per_note", "bits_per_second", "bits_per_bar")


class Scored(NamedTuple):
    """What a piece is to a model: each token once, but for the one that opens the stream.

    Attributes:
      nats: float32 [T], negative log-likelihood of each token.
      kind: int32 [T], its kind, an index into ``codec.vocabulary.names``.
      bar: int32 [T], the bar it stands in, from 0; -1 in the header.
      notes: notes of the piece.
      seconds: its length, by the tempos that its tokens say.
      bars: number of bars (of a performance: seconds begun).
      styles: names of its styles.
    """

    nats: np.ndarray
    kind: np.ndarray
    bar: np.ndarray
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
    """How surprising a piece is to a model.

    Attributes:
      bits: negative log-likelihood of all its tokens, in bits.
      notes: notes after quantising.
      seconds: length of the piece.
      semitones: how far it was moved, to C major or A minor, for a model that knows these alone.
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
      context: most tokens that the model sees at once; longer pieces are read in windows, see
        `jaxmusic.evaluate.windows`.
    """

    def __init__(self, shape: config.Model, params: Any, codec: Codec, context: int):
        """Takes parameters as `models.transformer.make` returns them."""
        self.codec, self.context, self._params = codec, context, params
        # Rows have any width and the platform may be any: only this kernel takes them all.
        anywhere = dataclasses.replace(shape, attention="chunked")
        graph, _ = jax.eval_shape(lambda: transformer.make(anywhere, codec.vocab_size, 0))

        def losses(params: Any, events: Events, target: Any, segment: Any) -> jax.Array:
            return token_losses(transformer.apply(graph, params, events, segment), target)

        self._losses: Callable[..., Any] = jax.jit(losses)

    def score(self, piece: Any) -> Scored:
        """Scores a piece that the codec has quantised."""
        return next(self.score_all([piece]))

    def score_all(self, pieces: Iterable[Any]) -> Iterator[Scored]:
        """Scores pieces, in their order; rows of several are read at once."""
        rest = iter(pieces)
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
                    notes=len(piece),
                    seconds=float(notes.seconds(notes.end)),
                    bars=piece.bars,
                    styles=piece.styles,
                )

    def stream(self, tokens: np.ndarray) -> np.ndarray:
        """Nats (float32 [T - 1]) of the tokens of a stream but the first, read as one row."""
        row = Row(self.codec.events(tokens[:-1]), tokens[1:], len(tokens) - 1)
        return self._nats([row])[0]

    def _nats(self, rows: list[Row]) -> list[np.ndarray]:
        """Nats (float32 [L]) of all targets of each row."""
        by_width = defaultdict(list)
        for number, row in enumerate(rows):
            by_width[self._width(len(row.target))].append(number)
        waiting = []
        for width, numbers in by_width.items():
            size = min(max(MOST_PLACES // width, 1), MOST_ROWS)
            for first in range(0, len(numbers), size):
                some = numbers[first : first + size]
                batch = np.zeros((8, size, width), np.int32)
                for place, number in enumerate(some):
                    length = len(rows[number].target)
                    batch[:6, place, :length] = rows[number].events
                    batch[6, place, :length] = rows[number].target
                    batch[7, place, :length] = 1
                found = self._losses(self._params, Events(*batch[:6]), batch[6], batch[7])
                waiting.append((some, found))
        out = [np.zeros(0, np.float32)] * len(rows)
        for some, found in waiting:
            for number, nats in zip(some, np.asarray(found, np.float32)):
                out[number] = nats[: len(rows[number].target)]
        return out

    def _width(self, length: int) -> int:
        """Width of the row that so many tokens are padded to."""
        doubled = max(1 << max(length - 1, 0).bit_length(), SHORTEST)
        return doubled if length > self.context else min(doubled, self.context)


@dataclasses.dataclass(frozen=True, eq=False)
class Likelihood:
    """Likelihood of P pieces under a model, as sums for each piece.

    Attributes:
      codec: its kind. resolution: of its time and loudness, in words.
      unit: "bars" or, where the codec knows none and counts seconds in their place, "seconds".
      context: most tokens that the model sees at once.
      kinds: names of the K kinds of tokens.
      nats: float64 [P, K]. tokens: int64 [P, K].
      span_nats: float64 [P, S], by the spans of bars that begin at `SPANS`; the header counts
        with the first. span_notes: int64 [P, S].
      notes: int64 [P]. seconds: float64 [P]. bars: int64 [P].
      styles: names of the styles of each piece.
    """

    codec: str
    resolution: str
    unit: str
    context: int
    kinds: tuple[str, ...]
    nats: np.ndarray
    tokens: np.ndarray
    span_nats: np.ndarray
    span_notes: np.ndarray
    notes: np.ndarray
    seconds: np.ndarray
    bars: np.ndarray
    styles: tuple[tuple[str, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Figures with 95 % intervals, for a report.

        What has no meaning is None: everything of no pieces, an interval of one piece, bits per
        note where there are no notes, and bars of a codec that knows none.
        """
        names = sorted({name for styles in self.styles for name in styles})
        of_style = {name: np.array([name in styles for styles in self.styles]) for name in names}
        has_bars = self.unit == "bars"
        return {
            "pieces": len(self.notes),
            "notes": int(self.notes.sum()),
            "tokens": int(self.tokens.sum()),
            "seconds": float(self.seconds.sum()),
            "bars": int(self.bars.sum()) if has_bars else None,
            "codec": self.codec,
            "resolution": self.resolution,
            "unit": self.unit,
            "context": self.context,
            "figures": self._figures(np.ones(len(self.notes), bool)),
            "by_style": {
                name: {"pieces": int(some.sum()), "figures": self._figures(some)}
                for name, some in of_style.items()
            },
            "by_kind": self._by_kind(),
            "by_position": self._by_position(),
        }

    def _figures(self, some: np.ndarray) -> dict[str, dict[str, float | None]]:
        nats = self.nats[some].sum(axis=1)
        bits = nats / math.log(2)
        return {
            "nats_per_token": ratio(nats, self.tokens[some].sum(axis=1)),
            "bits_per_note": ratio(bits, self.notes[some]),
            "bits_per_second": ratio(bits, self.seconds[some]),
            "bits_per_bar": ratio(bits, self.bars[some] * (self.unit == "bars")),
        }

    def _by_kind(self) -> dict[str, dict[str, float | int | None]]:
        tokens, nats = self.tokens.sum(axis=0), self.nats.sum(axis=0)
        return {
            name: {
                "tokens": int(tokens[k]),
                "nats_per_token": float(nats[k] / tokens[k]),
                "share": float(nats[k] / nats.sum()) if nats.sum() else None,
            }
            for k, name in enumerate(self.kinds)
            if tokens[k]
        }

    def _by_position(self) -> list[dict[str, Any]]:
        out = []
        for s, first in enumerate(SPANS[self.bars.max(initial=0) > SPANS].tolist()):
            there = self.bars > first
            bits = self.span_nats[there, s] / math.log(2)
            end = [*SPANS.tolist(), math.inf][s + 1]
            found = ratio(bits, self.span_notes[there, s])
            row = {"first_bar": first + 1, "last_bar": min(end, int(self.bars.max()))}
            row |= {"pieces": int(there.sum()), "bits_per_note": found["value"]}
            out.append(row | {"low": found["low"], "high": found["high"]})
        return out


def evaluate(scorer: Scorer, pieces: Iterable[Any], progress: bool = False) -> Likelihood:
    """Likelihood of quantised pieces.

    Args:
      scorer: the model.
      pieces: as the scorer's codec quantises them; they may come one by one.
      progress: show a progress bar on stderr.
    """
    codec, vocabulary = scorer.codec, scorer.codec.vocabulary
    total = len(pieces) if isinstance(pieces, Sized) else None
    found = tqdm(scorer.score_all(pieces), "scoring", total, unit=" pieces", disable=not progress)
    is_note = np.isin(
        np.arange(len(vocabulary.names)), [vocabulary.kinds[k] for k in codec.onsets()]
    )
    kinds, spans = len(vocabulary.names), len(SPANS)
    columns: dict[str, list[Any]] = defaultdict(list)
    for scored in found:
        span = np.searchsorted(SPANS, np.maximum(scored.bar, 0), side="right") - 1
        columns["nats"].append(np.bincount(scored.kind, scored.nats, kinds))
        columns["tokens"].append(np.bincount(scored.kind, minlength=kinds))
        columns["span_nats"].append(np.bincount(span, scored.nats, spans))
        columns["span_notes"].append(np.bincount(span, is_note[scored.kind], spans).astype(int))
        for name in ("notes", "seconds", "bars", "styles"):
            columns[name].append(getattr(scored, name))
    sums = {
        name: np.array(columns[name], kind).reshape(-1, *shape)
        for name, kind, shape in (
            ("nats", np.float64, (kinds,)),
            ("tokens", np.int64, (kinds,)),
            ("span_nats", np.float64, (spans,)),
            ("span_notes", np.int64, (spans,)),
            ("notes", np.int64, ()),
            ("seconds", np.float64, ()),
            ("bars", np.int64, ()),
        )
    }
    return Likelihood(
        codec=codec.config.kind,
        resolution=codec.resolution,
        unit=codec.UNIT,
        context=scorer.context,
        kinds=vocabulary.names,
        styles=tuple(columns["styles"]),
        **sums,
    )


def ratio(above: np.ndarray, below: np.ndarray) -> dict[str, float | None]:
    """A sum over pieces by another sum, with its 95 % interval.

    The interval is that of the bootstrap over pieces (Efron 1979): as many pieces are drawn with
    replacement, again and again and always the same, and of all values 2.5 % lie below it and
    2.5 % above.

    Args:
      above: float [P].
      below: float [P].

    Returns:
      value, low, high; None where the lower sum is 0, and for low and high of a single piece.
    """
    if not below.sum():
        return {"value": None, "low": None, "high": None}
    value, count = float(above.sum() / below.sum()), len(above)
    if count < 2:
        return {"value": value, "low": None, "high": None}
    rng, columns = np.random.default_rng(0), np.stack([above, below], axis=1).astype(np.float64)
    drawn = (np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(RESAMPLES))
    sums = np.array([times @ columns for times in drawn])
    sums = sums[sums[:, 1] > 0]
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (0.025, 0.975))
    return {"value": value, "low": float(low), "high": float(high)}


def check_comparable(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UserError, which says why, if results may not stand in one table.

    Bits compare only at equal resolution and over equal notes. Codecs, contexts and models may
    differ.

    Args:
      results: what `Likelihood.as_json` gave, by the name of each.
    """
    if not results:
        return
    (first, one), *others = results.items()
    for name, other in others:
        if other["resolution"] != one["resolution"]:
            raise UserError(
                f"Compare runs of one resolution: {first} has {one['resolution']} and {name} "
                f"{other['resolution']}, so that their bits do not say the same."
            )
        sizes = [(r["pieces"], r["notes"], r["seconds"]) for r in (one, other)]
        if sizes[0] != sizes[1]:
            mine, theirs = (f"{p} pieces, {n} notes and {s:.1f} s" for p, n, s in sizes)
            raise UserError(
                f"Evaluate {first} and {name} on the same pieces: {first} has {mine}, and {name} "
                f"{theirs}."
            )
