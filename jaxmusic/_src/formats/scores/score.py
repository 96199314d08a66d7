"""Scores: MusicXML (.musicxml, .xml, .mxl) and ABC (.abc), read as what they sound like."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.saving import load
from jaxmusic._src.formats.scores import abc, musicxml
from jaxmusic._src.music.notes import Notes

SUFFIXES = (".musicxml", ".mxl", ".xml", ".abc")
T = TypeVar("T")
_TUNE = re.compile(r"(.*\.abc)#(\d+)", re.I | re.S)


def read_notes(path: str | os.PathLike[str]) -> Notes:
    """Reads a score as it sounds, in 480 ticks to the quarter note.

    Repeats, endings and jumps are played, tied notes are one note, transposing instruments sound
    at concert pitch, and unpitched percussion becomes the drums of General MIDI. Each instrument
    of a part is a track. Bar lines are those of the score: a pick-up is a first bar with a meter
    of its own length. Chord symbols, keys (of modes, the major or minor key on their tonic, by
    their third), the title, rehearsal marks named like sections and words like ``phrase A`` become
    labels. Loudness is that of the dynamics, and 80 where there are none; the tempo is 120 where
    there is none. Grace notes, cue notes and ornaments are not played, and hairpins and
    articulations change nothing.

    Args:
      path: local or remote path. ``book.abc#3`` is the third tune of a book of tunes.

    Returns:
      The notes; their end is the last bar line.

    Raises:
      UserError: the file cannot be read, holds no notes, or holds several tunes.
    """
    name, number = _split(path)
    if not name.lower().endswith(".abc"):
        return _parsed(musicxml.parse, load(name, musicxml.MOST_BYTES), path)
    tunes = _tunes(name)
    if number is None and len(tunes) > 1:
        raise UserError(
            f"{path} holds {len(tunes)} tunes: name one, from {path}#1 to {path}#{len(tunes)}."
        )
    number = 1 if number is None else number
    if not 1 <= number <= len(tunes):
        raise UserError(f"{name} holds {len(tunes)} tunes: there is no number {number}.")
    return _parsed(abc.parse, tunes[number - 1], path)


def read_tunes(path: str | os.PathLike[str]) -> list[Notes]:
    """Reads all tunes of an ABC file, or the one piece of another score, see `read_notes`."""
    return [read_notes(name) for name in tune_names(path)]


def tune_names(path: str | os.PathLike[str]) -> list[str]:
    """Names that `read_notes` takes for the tunes of a book: the path where there is only one."""
    name, number = _split(path)
    count = len(_tunes(name)) if name.lower().endswith(".abc") and number is None else 1
    return [str(path)] if count == 1 else [f"{name}#{i}" for i in range(1, count + 1)]


def without_tune(path: str | os.PathLike[str]) -> str:
    """The path of the file, without the number of a tune."""
    return _split(path)[0]


def _split(path: str | os.PathLike[str]) -> tuple[str, int | None]:
    """A path and the number of the tune that is meant."""
    match = _TUNE.fullmatch(os.fspath(path))
    return (match[1], int(match[2])) if match else (os.fspath(path), None)


def _tunes(path: str) -> Sequence[str]:
    data = load(path)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if not (tunes := abc.split(text)):
        raise UserError(f"{path} is not ABC that can be read: no tune in it has a key (K:).")
    return tunes


def _parsed(parse: Callable[[T], Notes], source: T, path: str | os.PathLike[str]) -> Notes:
    """What parsing gives; what is wrong is said of the path."""
    try:
        return parse(source)
    except UserError as error:
        raise type(error)(f"{path} {error}") from error
