"""Measures the likelihood of held-out music under a model, over many pieces."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sized
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.evaluate.scoring import Scorer

SPANS = np.array([0, *2 ** np.arange(2, 21)])
"""First bars, from 0, of the spans of `Likelihood.as_json`."""
RESAMPLES = 1000
"""Bootstrap draws of an interval."""


@dataclasses.dataclass(frozen=True, eq=False)
class Likelihood:
    """Likelihood of P pieces under a model, as sums over each piece.

    Attributes:
      codec: the codec of the model, with K kinds of tokens.
      context: most tokens that the model sees at once.
      nats: float64 [P, K]. tokens: int64 [P, K].
      span_nats: float64 [P, S], by the spans of bars that begin at `SPANS`; the header counts
        with the first. span_notes: int64 [P, S].
      notes: int64 [P]. seconds: float64 [P]. bars: int64 [P].
      styles: names of the styles of each piece.
    """

    codec: Codec
    context: int
    nats: np.ndarray
    tokens: np.ndarray
    span_nats: np.ndarray
    span_notes: np.ndarray
    notes: np.ndarray
    seconds: np.ndarray
    bars: np.ndarray
    styles: tuple[tuple[str, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Returns figures with 95 % intervals, for a report.

        Undefined figures are None: everything without pieces, the interval of one piece, bits per
        note without notes, and bars of a codec without them.
        """
        names = sorted({name for styles in self.styles for name in styles})
        of_style = {name: np.array([name in styles for styles in self.styles]) for name in names}
        return {
            "pieces": len(self.notes),
            "notes": int(self.notes.sum()),
            "tokens": int(self.tokens.sum()),
            "seconds": float(self.seconds.sum()),
            "bars": int(self.bars.sum()) if self.codec.UNIT == "bars" else None,
            "codec": self.codec.config.kind,
            "resolution": self.codec.resolution,
            "unit": self.codec.UNIT,
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
            "bits_per_bar": ratio(bits, self.bars[some] * (self.codec.UNIT == "bars")),
        }

    def _by_kind(self) -> dict[str, dict[str, float | int | None]]:
        tokens, nats = self.tokens.sum(axis=0), self.nats.sum(axis=0)
        return {
            name: {
                "tokens": int(tokens[k]),
                "nats_per_token": float(nats[k] / tokens[k]),
                "share": float(nats[k] / nats.sum()) if nats.sum() else None,
            }
            for k, name in enumerate(self.codec.vocabulary.names)
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
    """Measures the likelihood of quantised pieces.

    Args:
      scorer: the model.
      pieces: quantised by the scorer's codec; may be an iterator.
      progress: show a progress bar on stderr.
    """
    codec, vocabulary = scorer.codec, scorer.codec.vocabulary
    total = len(pieces) if isinstance(pieces, Sized) else None
    found = tqdm(scorer.score_all(pieces), "scoring", total, unit=" pieces", disable=not progress)
    is_note = np.isin(vocabulary.names, codec.ONSETS)
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

    def sums(name: str, dtype: type, *shape: int) -> np.ndarray:
        return np.array(columns[name], dtype).reshape(-1, *shape)

    return Likelihood(
        codec=codec,
        context=scorer.context,
        nats=sums("nats", np.float64, kinds),
        tokens=sums("tokens", np.int64, kinds),
        span_nats=sums("span_nats", np.float64, spans),
        span_notes=sums("span_notes", np.int64, spans),
        notes=sums("notes", np.int64),
        seconds=sums("seconds", np.float64),
        bars=sums("bars", np.int64),
        styles=tuple(columns["styles"]),
    )


def ratio(above: np.ndarray, below: np.ndarray) -> dict[str, float | None]:
    """Divides one sum over pieces by another, with a 95 % interval.

    The interval is that of the bootstrap over pieces (Efron 1979): pieces are resampled with
    replacement and a fixed seed, and 2.5 % of the values lie on each side of the interval.

    Args:
      above: float [P].
      below: float [P].

    Returns:
      value, low, high; None if the divisor is 0, and low and high of a single piece.
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
    """Raises UserError with the reason if results cannot be compared.

    Bits compare only at equal resolution and over equal notes. Codecs, contexts and models may
    differ.

    Args:
      results: outputs of `Likelihood.as_json` by name.
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
