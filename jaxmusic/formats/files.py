"""The public edge: a path in, a `NoteSequence` out, and back."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from etils import epath

from jaxmusic.core.errors import UserError
from jaxmusic.formats import audio, midi, picture, sequence
from jaxmusic.formats.saving import save
from jaxmusic.formats.scores import score, writing
from jaxmusic.music import beats
from jaxmusic.music.notes import Notes

if TYPE_CHECKING:
    from note_seq import NoteSequence

_MIDI = (".mid", ".midi", ".kar")
READABLE = (*_MIDI, *score.SUFFIXES)
WRITABLE_SCORES = (".musicxml", ".mxl", ".xml")
_ENCODERS: dict[str, Callable[[Notes], bytes]] = {
    **dict.fromkeys((".mid", ".midi"), midi.midi_bytes),
    **{suffix: functools.partial(writing.encoded, suffix=suffix) for suffix in WRITABLE_SCORES},
    ".wav": audio.encoded,
    **{s: functools.partial(picture.encoded, suffix=s) for s in (".png", ".svg", ".pdf")},
}


def read_notes(path: str | os.PathLike[str], sustain: bool = False) -> Notes:
    """Reads a MIDI file or a score, local or remote, in its own ticks.

    Args:
      path: its suffix says what it is. ``book.abc#3`` is the third tune of a book of tunes.
      sustain: lengthen the notes of a MIDI file by the sustain pedal.

    Raises:
      UserError: the suffix is none of `READABLE`, or the file cannot be read, holds no notes, or
        holds several tunes.
    """
    suffix = epath.Path(score.without_tune(path)).suffix.lower()
    if suffix not in READABLE:
        raise UserError(f"{path} cannot be read: give a file that ends in {_or(READABLE)}.")
    return midi.read_notes(path, sustain) if suffix in _MIDI else score.read_notes(path)


def read(path: str | os.PathLike[str]) -> NoteSequence:
    """Reads a MIDI file or a score as a NoteSequence, see `read_notes`.

    Raises:
      UserError: as `read_notes` does.
    """
    return sequence.to_sequence(read_notes(path))


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Reads a piece from one file and writes it to another, each by its suffix.

    From MIDI to a score the piece is put on the beats and bars of its music first, see
    `jaxmusic.music.beats.align`, because played notes make no readable score on a file's own bars.

    Raises:
      UserError: one cannot be read or the other cannot be written.
    """
    read, written = (epath.Path(path).suffix.lower() for path in (source, target))
    _encoder(target)
    notes = read_notes(source)
    if read in _MIDI and written in WRITABLE_SCORES:
        notes, _ = beats.align(notes)
    write(notes, target)


def write(music: NoteSequence | Notes, path: str | os.PathLike[str]) -> None:
    """Writes a piece by the suffix of the path: MIDI, MusicXML, sound (.wav) or a piano roll.

    Args:
      music: the piece.
      path: local or remote; its folder is made where there is none.

    Raises:
      UserError: the suffix is unknown, or the path cannot be written to.
    """
    encode = _encoder(path)
    save(path, encode(music if isinstance(music, Notes) else sequence.from_sequence(music)))


def _encoder(path: str | os.PathLike[str]) -> Callable[[Notes], bytes]:
    encode = _ENCODERS.get(epath.Path(path).suffix.lower())
    if encode is None:
        raise UserError(f"{path} cannot be written: choose a name that ends in {_or(_ENCODERS)}.")
    return encode


def _or(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
