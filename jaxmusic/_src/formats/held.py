"""What a given piece says that a format of files cannot hold."""

from __future__ import annotations

import collections
import os

from jaxmusic._src.formats import smf
from jaxmusic._src.formats.symbols import read_section
from jaxmusic._src.music.details import decoded
from jaxmusic._src.music.notes import Notes

_NAME, _SECTION = "track name", "section"
_CHANNEL = {
    **{0xA: "aftertouch message", 0xD: "aftertouch message"},
    **{0xB: "controller", 0xC: "program change", 0xE: "pitch bend"},
}
_META = {
    **{smf.TEXT: "text", smf.COPYRIGHT: "copyright", smf.NAME: _NAME, smf.LYRIC: "lyric"},
    **{smf.MARKER: "marker", smf.CUE: "cue point", smf.KEY: "key signature"},
}
_SCORE = frozenset({"program change", "copyright", _SECTION})
HELD = dict.fromkeys((".musicxml", ".mxl", ".xml"), _SCORE)
"""Kinds of messages that each format holds besides notes, tempos and meters, and names of tracks
that have notes. MIDI holds all of them; pictures and sound are no formats that keep a piece."""


def left_out(notes: Notes, target: str | os.PathLike[str]) -> str | None:
    """Says in one sentence what a file leaves out of a piece; None for nothing.

    Args:
      notes: the piece.
      target: the file to write.
    """
    name, details = os.fspath(target), notes.details
    held = HELD.get(os.path.splitext(name)[1].lower())
    if held is None or details is None:
        return None
    said = [m for m in details.message if m[0] != smf.META or len(m) > 2]
    counts = collections.Counter(kind for kind in map(_kind, said) if kind not in held)
    title, names = details.names()
    counts[_NAME] -= sum(map(bool, (title, *names)))
    parts = [f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in counts.most_common() if n > 0]
    if not parts:
        return None
    *first, last = parts
    return f"{name} leaves out {', '.join(first)}{' and ' if first else ''}{last}."


def _kind(message: bytes) -> str:
    """The kind of a message of `Details`, as musicians call it."""
    if message[0] < 0xF0:
        return _CHANNEL[message[0] >> 4]
    if message[0] != smf.META:
        return "system exclusive message"
    if message[1] in (smf.TEXT, smf.MARKER) and read_section(decoded(message[2:])) is not None:
        return _SECTION
    return _META.get(message[1], "other message")
