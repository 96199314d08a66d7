"""Examining: from one file, or one aligned piece, to a record or a reason to leave it out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxmusic import beats
from jaxmusic.beat_grid import pulse_error
from jaxmusic.codecs.metrical import MetricalCodec
from jaxmusic.config import Prepare
from jaxmusic.data import cleaning, record, songs
from jaxmusic.errors import UserError
from jaxmusic.notes import TICKS_PER_BEAT, Labels, Notes
from jaxmusic.piece import Losses


class Kept(NamedTuple):
    """A piece that is kept.

    Attributes:
      example: its record.
      content: hash by which copies are known.
      signature: hashes by which versions of a song are known.
      sizes: int32 [B + 1], the default codec's sizes.
      tokens: its tokens in the default codec.
      seconds: its length.
      losses: what the default codec's grid changes in it.
      off_grid: whether no grid fits its notes and it is kept all the same.
    """

    example: dict[str, Any]
    content: str
    signature: np.ndarray
    sizes: np.ndarray
    tokens: int
    seconds: float
    losses: Losses
    off_grid: bool


class Skipped(NamedTuple):
    """A file that is left out: a reason to be counted, and what there is to say besides."""

    reason: str
    detail: str = ""


def default_codec(config: Prepare) -> MetricalCodec:
    """The codec in which tokens are counted."""
    codec = MetricalCodec()
    return codec.with_styles((config.style,)) if config.style else codec


def examine_file(path: str, name: str, config: Prepare, codec: MetricalCodec) -> Kept | Skipped:
    """Reads, cleans and aligns one file; no Python exception gets past it."""
    from jaxmusic.formats import midi

    try:
        notes = midi.read_notes(path, config.sustain)
    except UserError as error:
        empty = "holds no notes" in str(error)
        return Skipped("holds no notes" if empty else "cannot be read", str(error))
    except Exception as error:
        return Skipped("cannot be read", f"{type(error).__name__}: {error}")
    try:
        if reason := cleaning.reject(notes, config):
            return Skipped(reason, f"{len(notes)} notes")
        aligned, fit = beats.align(notes)
        if config.no_grid == "skip" and (reason := cleaning.no_grid(fit, config)):
            return Skipped(reason, f"mean onset error {fit.error:.3f} of a step of its pulse")
        return _keep(aligned, fit, name, config, codec)
    except Exception as error:
        return Skipped("cannot be processed", f"{type(error).__name__}: {error}")


def examine_piece(notes: Notes, name: str, config: Prepare, codec: MetricalCodec) -> Kept | Skipped:
    """Cleans one piece that is aligned already."""
    if reason := cleaning.reject(notes, config):
        return Skipped(reason, f"{len(notes)} notes")
    twelfth = TICKS_PER_BEAT // 12
    nearest = (notes.onset + twelfth // 2) // twelfth * twelfth
    error_ms = float(1e3 * np.abs(notes.seconds(notes.onset) - notes.seconds(nearest)).mean())
    fit = beats.Fit("labels", error_ms, error_ms, pulse_error(notes.onset))
    return _keep(notes, fit, name, config, codec)


def _keep(notes: Notes, fit: beats.Fit, name: str, config: Prepare, codec: MetricalCodec) -> Kept:
    labels = notes.labels
    if config.style and config.style not in labels.styles:
        styles = (*labels.styles, config.style)
        labels = Labels(**{**vars(labels), "styles": styles})
        notes = notes.replace(labels=labels)
    unknown = tuple(s for s in labels.styles if s not in codec.styles)
    if unknown:
        codec = codec.with_styles(unknown)
    piece, losses = codec.quantise(notes)
    return Kept(
        example=record.to_example(notes, name, fit),
        content=songs.content(notes),
        signature=songs.signature(notes),
        sizes=codec.sizes(piece),
        tokens=len(codec.encode(piece)),
        seconds=float(notes.seconds(notes.end)),
        losses=losses,
        off_grid=cleaning.no_grid(fit, config) is not None,
    )
