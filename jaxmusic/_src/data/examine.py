"""Examining: from one file, or one aligned piece, to a record or a reason to leave it out."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.data import cleaning, labelling, metadata, record, selection, songs
from jaxmusic._src.data.cleaning import Reason, Skipped, skipping
from jaxmusic._src.data.sources import MusicFile
from jaxmusic._src.music import beats, harmony
from jaxmusic._src.music.beat_grid import pulse_error
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Notes
from jaxmusic._src.music.piece import Losses
from jaxmusic.config import Prepare


class Kept(NamedTuple):
    """A piece that is kept.

    Attributes:
      example: its record.
      digest: hash of its record.
      content: hash by which copies are known.
      signature: hashes by which versions of a song are known.
      song: name of its song where that is known, else empty.
      sizes: int32 [B + 1], the default codec's sizes.
      metadata: what a selection goes by.
      tokens: its tokens in the default codec.
      losses: what the default codec's grid changes in it.
      fit: how it lies on its grid.
      split: the split that its makers put it into, else empty.
      refused: whether its labelled beats fit worse than its own and were not used.
      empty_tracks: tracks without notes that were taken out.
    """

    example: dict[str, Any]
    digest: bytes
    content: str
    signature: np.ndarray
    song: str
    sizes: np.ndarray
    metadata: metadata.Metadata
    tokens: int
    losses: Losses
    fit: beats.Fit
    split: str = ""
    refused: bool = False
    empty_tracks: int = 0


@functools.cache
def default_codec(config: Prepare) -> MetricalCodec:
    """Returns the codec in which tokens are counted."""
    codec = MetricalCodec()
    return codec.with_styles((config.style,)) if config.style else codec


def examine_file(file: MusicFile, config: Prepare) -> Kept | Skipped:
    """Reads, labels, cleans and aligns one file; raises no exception."""
    from jaxmusic._src.formats import files

    try:
        with skipping(Reason.UNREADABLE):
            notes = files.read_notes(file.path, config.sustain)
        with skipping(Reason.LABELS):
            notes = labelling.labelled(notes, file.known)
        with skipping(Reason.UNPROCESSED):
            notes, empty_tracks = _cleaned(notes, config)
            aligned, fit, refused = labelling.align(notes, file.known)
            if config.off_grid == "skip" and cleaning.is_off_grid(fit, config):
                detail = f"mean onset error {fit.error:.3f} of a step of its pulse"
                raise Skipped(Reason.OFF_GRID, detail)
            kept = _kept(aligned, fit, file.name, config)
    except Skipped as skipped:
        return skipped
    return kept._replace(split=file.known.split, refused=refused, empty_tracks=empty_tracks)


def examine_piece(notes: Notes, name: str, config: Prepare) -> Kept | Skipped:
    """Cleans one piece that is aligned already."""
    try:
        notes, empty_tracks = _cleaned(notes, config)
        twelfth = TICKS_PER_BEAT // 12
        nearest = (notes.onset + twelfth // 2) // twelfth * twelfth
        error_ms = float(1e3 * np.abs(notes.seconds(notes.onset) - notes.seconds(nearest)).mean())
        fit = beats.Fit("labels", error_ms, error_ms, pulse_error(notes.onset))
        return _kept(notes, fit, name, config)._replace(empty_tracks=empty_tracks)
    except Skipped as skipped:
        return skipped


def _cleaned(notes: Notes, config: Prepare) -> tuple[Notes, int]:
    """Takes out empty tracks and counts them; raises `Skipped` by the rules of cleaning."""
    notes, empty_tracks = cleaning.without_empty_tracks(notes, config)
    if reason := cleaning.reject(notes, config):
        raise Skipped(reason, f"{len(notes)} notes")
    return notes, empty_tracks


def _kept(notes: Notes, fit: beats.Fit, name: str, config: Prepare) -> Kept:
    """Makes the record of an aligned piece and measures it; raises `Skipped`."""
    labels = notes.labels
    if config.style and config.style not in labels.styles:
        labels = dataclasses.replace(labels, styles=(*labels.styles, config.style))
        notes = notes.replace(labels=labels)
    if config.harmony:
        notes = harmony.with_harmony(notes)
    about = metadata.describe(notes)
    if not _where(config.where).matches(about):
        raise Skipped(Reason.NOT_SELECTED, f"does not match {config.where}")
    codec = default_codec(config)
    if unknown := tuple(s for s in labels.styles if s not in codec.styles):
        codec = codec.with_styles(unknown)
    piece, losses = codec.quantise(notes)
    sizes = codec.sizes(piece)
    example = record.to_example(notes, name, fit)
    return Kept(
        example=example,
        digest=_digest(example),
        content=songs.content(notes),
        signature=songs.signature(notes),
        song=labels.song,
        sizes=sizes,
        metadata=about,
        # Of a whole piece the sizes of bars are exact, and the end is a token more.
        tokens=len(codec.header(piece)) + int(sizes[1:].sum()) + 1,
        losses=losses,
        fit=fit,
    )


_where = functools.lru_cache(selection.parse)


def _digest(example: dict[str, Any]) -> bytes:
    state = hashlib.sha256()
    for name, value in sorted(example.items()):
        data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        state.update(f"{name} {len(data)} ".encode() + data)
    return state.digest()
