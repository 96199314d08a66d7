"""The public edge: a path in, a `NoteSequence` out, and back."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from etils import epath

from jaxmusic.errors import UserError
from jaxmusic.formats import audio, midi, picture, sequence
from jaxmusic.notes import Notes

if TYPE_CHECKING:
    from note_seq import NoteSequence

READABLE = (".mid", ".midi", ".kar")
_WRITERS = {
    ".mid": midi.write_midi,
    ".midi": midi.write_midi,
    ".wav": audio.write_wav,
    ".png": picture.draw,
    ".svg": picture.draw,
    ".pdf": picture.draw,
}


def read(path: str | os.PathLike[str]) -> NoteSequence:
    """Reads a MIDI file, local or remote, as a NoteSequence in its own ticks.

    Raises:
      UserError: the suffix is none of `READABLE`, or the file cannot be read or holds no notes.
    """
    suffix = epath.Path(path).suffix.lower()
    if suffix not in READABLE:
        raise UserError(f"{path} cannot be read: give a file that ends in {_or(READABLE)}.")
    return sequence.to_sequence(midi.read_notes(path))


def write(music: NoteSequence | Notes, path: str | os.PathLike[str]) -> None:
    """Writes a piece by the suffix of the path: MIDI, sound (.wav) or a piano roll.

    Args:
      music: the piece.
      path: local or remote; its folder is made where there is none.

    Raises:
      UserError: the suffix is unknown, or the path cannot be written to.
    """
    writer = _WRITERS.get(epath.Path(path).suffix.lower())
    if writer is None:
        raise UserError(f"{path} cannot be written: choose a name that ends in {_or(_WRITERS)}.")
    writer(music if isinstance(music, Notes) else sequence.from_sequence(music), path)


def _or(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
