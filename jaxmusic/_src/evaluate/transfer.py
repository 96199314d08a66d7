"""Reads music of other datasets for a model: what it was not trained with is dropped."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.music.controls import CONTROLS, hidden
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.music.piece import Piece

_LABELLED = {"styles"} | {control.name for control in CONTROLS if control.find is None}


class Reader(Protocol):
    """A model as far as it reads music, such as a `model.MusicModel`."""

    codec: Codec
    styles: tuple[str, ...]
    controls: tuple[str, ...]

    def quantise(self, notes: Notes) -> tuple[Any, int]:
        """Quantises aligned notes for the model; returns the transposition too."""


@dataclasses.dataclass
class Labels:
    """How labels of pieces differ from those that a model was trained with, in pieces.

    Attributes:
      styles: dropped styles. controls: dropped controls, see `music.controls.names`.
      missing: controls that the model was trained with, that notes alone do not tell, and that
        pieces lack.
    """

    styles: Counter[str] = dataclasses.field(default_factory=Counter)
    controls: Counter[str] = dataclasses.field(default_factory=Counter)
    missing: Counter[str] = dataclasses.field(default_factory=Counter)

    def as_json(self) -> dict[str, dict[str, int]]:
        """Returns the counts by name."""
        return {kind: dict(sorted(counts.items())) for kind, counts in vars(self).items()}


def read(model: Reader, pieces: Iterable[Notes], labels: Labels) -> Iterator[Any]:
    """Quantises aligned pieces for a model without what it was not trained with.

    Args:
      model: the model.
      pieces: aligned pieces with any labels.
      labels: what is dropped and missing is counted here.
    """
    for notes in pieces:
        piece, _ = model.quantise(notes)
        known = piece.styles if "styles" in model.controls else ()
        labels.styles.update(set(notes.labels.styles) - set(known))
        piece = dataclasses.replace(piece, styles=known)
        stated = {"styles"} if known else set()
        if isinstance(piece, Piece):
            kinds = _stated(piece)
            unknown = hidden(frozenset(model.codec.CONTROLS) - set(model.controls)) & kinds.keys()
            labels.controls.update({kinds[kind] for kind in unknown})
            blank = {c.kind: c.unknown(piece.bars) for c in CONTROLS if c.kind in unknown}
            piece = piece.with_controls(**blank)
            stated |= {name for kind, name in kinds.items() if kind not in unknown}
        labels.missing.update(_LABELLED & set(model.controls) - stated)
        yield piece


def _stated(piece: Piece) -> dict[str, str]:
    """Kinds of controls of which a piece says something, and the names of these controls."""
    return {
        c.kind: c.name for c in CONTROLS if (piece.controls[c.kind] != c.unknown(piece.bars)).any()
    }
