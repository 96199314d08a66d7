"""Orders: what a given piece is given for, read and checked before a model is needed."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.layout import TASKS
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.codecs.tasks import Given
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.instruments import Heard
from jaxmusic._src.generate import controls, instruments, splice
from jaxmusic._src.generate.capabilities import Capabilities
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.generate.instruments import Band
from jaxmusic._src.generate.splice import SourcePiece
from jaxmusic._src.music.controls import of
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.music.piece import DRUM_SLOT, Piece

HARMONY = "piano"
"""What plays the chords of a melody if nothing else is asked for."""


class Order(NamedTuple):
    """A task with a given piece, read.

    Attributes:
      request: the requested controls, in the key in which the model reads the piece.
      source: the piece, with the instruments that are to be written.
      drop: names of controls that are left out of the stream.
      given: what is given of the piece; None to continue it.
      prompt: bars of the piece that are continued, 0 for all.
      joining: slots that play nothing yet.
      remarks: what a person should know of the bars that were named.
    """

    request: Request
    source: SourcePiece
    drop: frozenset[str]
    given: Given | None = None
    prompt: int = 0
    joining: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()


def order(
    capabilities: Capabilities,
    task: str,
    notes: Notes,
    bars: str | int,
    asked: config.Controls,
) -> Order:
    """Reads a task with a given piece.

    Args:
      capabilities: those of the model.
      task: one of `codecs.layout.TASKS`.
      notes: the given piece, in the ticks of its file.
      bars: of continue, the number of bars that are the prompt, 0 for all; of infill, the bars to
        be written; of vary, those to be kept; else empty for all. They are those that people count,
        see `music.bar_count`; whole bars of the music are meant by a part of one.
      asked: controls.

    Raises:
      UserError: what is asked for cannot be done.
    """
    if task not in TASKS:
        raise UserError(f"there is no task {task!r}: choose from {', '.join(TASKS)}")
    request = capabilities.read(asked, task)
    if task == "harmonise" and request.band.slots is None:
        request = dataclasses.replace(request, band=instruments.read(HARMONY))
    assert isinstance(capabilities.codec, MetricalCodec)  # or `read` would have refused
    source = splice.read(notes, capabilities.codec, capabilities.data.normalise)
    moved = controls.transposed(request.wanted, source.semitones)
    request = dataclasses.replace(request, wanted=moved)
    source = _with_band(task, source, request.band, capabilities.heard)
    drop = _dropped(task, source, request, capabilities)
    source = dataclasses.replace(source, piece=_headed(task, source.piece, request, capabilities))
    if task == "continue":
        if not str(bars or 0).strip().isdecimal():
            raise UserError(f"{bars!r} is no number of bars: write 8, or 0 for all of them")
        prompt = source.bar_count().first(int(bars)) if int(bars or 0) else 0
        return Order(request, source, drop, prompt=prompt)
    played = np.isin(np.arange(16), source.slot[np.unique(source.notes.track)])
    joining = tuple(np.flatnonzero((source.piece.programs >= 0) & ~played).tolist())
    remarks: list[str] = []
    if task in ("accompany", "harmonise"):
        given = given_of(task, np.ones(source.piece.bars, bool), played)
    else:
        chosen, remarks = source.bar_count().chosen(str(bars))
        given = given_of(task, chosen if task == "infill" else ~chosen, np.zeros(16, bool))
    return Order(request, source, drop, given, joining=joining, remarks=tuple(remarks))


def _with_band(task: str, source: SourcePiece, band: Band, heard: Heard) -> SourcePiece:
    """Returns the piece with the instruments that are to be written."""
    if task not in ("continue", "accompany", "harmonise"):
        return source
    there = source.piece.programs
    if task != "continue":
        if band.slots is None or not (band.slots or band.drums):
            raise UserError(
                'say which instruments are to play along, as in --instruments "bass, drums"'
            )
        if band.drums and there[DRUM_SLOT] >= 0:
            raise UserError("leave the drums out: the piece has drums already, and they are kept")
        if task == "harmonise" and not band.slots:
            raise UserError("ask for an instrument that plays chords: drums alone have none")
        if task == "harmonise" and not source.piece.pitched.any():
            raise UserError("give a piece with a melody: nothing but drums plays in this one")
    joining, left = [], [int(p) for p in there[:DRUM_SLOT] if p >= 0]
    for programs in band.slots or ():
        mine = [p for p in left if p in programs] if task == "continue" else []
        if mine:
            left.remove(mine[0])
            continue
        joining.append(instruments.usual(programs, heard))
    return source.with_instruments(tuple(joining), bool(band.drums))


def _dropped(
    task: str, source: SourcePiece, request: Request, capabilities: Capabilities
) -> frozenset[str]:
    """Names the controls that are left out of the stream."""
    drop = set(capabilities.codec.CONTROLS) - set(capabilities.controls)
    if task != "harmonise" and not source.harmonised and not request.chords:
        drop.add("chords")
    return frozenset(drop)


def _headed(task: str, piece: Piece, request: Request, capabilities: Capabilities) -> Piece:
    """Returns the piece with the header that is asked for, or else with its own."""
    changed: dict[str, Any] = {}
    if request.key >= 0:
        changed["key"] = np.full(piece.bars, request.key, np.int16)
    if request.density >= 0 or task in ("accompany", "harmonise"):
        # That of all instruments together is not known.
        changed["density"] = np.array(request.density, np.int16)
    if request.chords and task != "continue":
        for kind in ("chord", "bass"):
            values = np.maximum(request.wanted[kind], of(kind).default)
            changed[kind] = np.resize(values.astype(np.int16), 2 * piece.bars)
    styles = request.styles or tuple(s for s in piece.styles if s in capabilities.styles)
    return dataclasses.replace(piece.with_controls(**changed), styles=styles)


def given_of(task: str, marked: np.ndarray, slots: np.ndarray) -> Given:
    """Returns what a task gives of a piece.

    Args:
      task: infill, accompany, harmonise or vary.
      marked: bool [B], bars of which something is to be written.
      slots: bool [16], slots in which nothing is to be written there.

    Raises:
      UserError: nothing or all of the piece would be written.
    """
    if not marked.any():
        raise UserError("Keep fewer bars: all of the piece is kept, and nothing is left to write.")
    if marked.all() and not slots.any():
        raise UserError("Keep some bars: there is nothing to go by where all of them are written.")
    return Given(TASKS.index(task), marked, slots, chords=task in ("accompany", "vary"))
