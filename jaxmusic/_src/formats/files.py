"""The public edge: a path in, a `NoteSequence` out, and back."""

from __future__ import annotations

import functools
import io
import os
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from etils import epath

from jaxmusic._src.core.errors import Remark, UserError
from jaxmusic._src.formats import audio, held, midi, midi_writing, picture, rolls, sequence
from jaxmusic._src.formats.saving import save
from jaxmusic._src.formats.scores import score, writing
from jaxmusic._src.music.bar_count import as_counted
from jaxmusic._src.music.notes import Notes

if TYPE_CHECKING:
    import pretty_midi
    import symusic.core
    from note_seq import NoteSequence

    class Composed(Protocol):
        """A `jaxmusic.Composition`."""

        @property
        def notes(self) -> Notes:
            """The piece."""

    Parsed: TypeAlias = symusic.core.ScoreTick | pretty_midi.PrettyMIDI
    Music: TypeAlias = str | os.PathLike[str] | NoteSequence | Notes | Composed | Parsed
    """Whatever people have a piece in."""

_MIDI = (".mid", ".midi", ".kar", ".rmi")
READABLE = (*_MIDI, *score.SUFFIXES)
WRITABLE_SCORES = (".musicxml", ".mxl", ".xml")
PICTURES = (".png", ".svg", ".pdf")
_ENCODERS: dict[str, Callable[[Notes], bytes]] = {
    **dict.fromkeys((".mid", ".midi"), midi_writing.midi_bytes),
    **{suffix: functools.partial(writing.encoded, suffix=suffix) for suffix in WRITABLE_SCORES},
    ".wav": audio.encoded,
    **{s: functools.partial(picture.encoded, suffix=s) for s in PICTURES},
}
WRITABLE = tuple(_ENCODERS)


def read_notes(path: str | os.PathLike[str], sustain: bool = False, details: bool = False) -> Notes:
    """Reads a MIDI file or a score, local or remote, in its own ticks.

    Args:
      path: its suffix says what it is. ``book.abc#3`` is the third tune of a book of tunes, and
        ``chorales.json#train3`` the third piece of a split, see `formats.rolls`.
      sustain: lengthen the notes of a MIDI file by the sustain pedal.
      details: keep all else that a MIDI file says, see `Notes`.

    Raises:
      UserError: the suffix is none of `READABLE`, or the file cannot be read, holds no notes, or
        holds several tunes.
    """
    if rolls.is_roll(path):
        return rolls.read_notes(path)
    suffix = epath.Path(score.without_tune(path)).suffix.lower()
    if suffix not in READABLE:
        raise UserError(f"{path} cannot be read: give a file that ends in {_or(READABLE)}.")
    return midi.read_notes(path, sustain, details) if suffix in _MIDI else score.read_notes(path)


def notes_of(music: Music) -> Notes:
    """Reads a piece from whatever holds it, in its own ticks.

    Args:
      music: the path of a file, a `NoteSequence`, `Notes`, a `Composition`, a `symusic.Score` or a
        `pretty_midi.PrettyMIDI`.

    Raises:
      UserError: it is none of these, or holds no piece that can be read.
    """
    if isinstance(music, str | os.PathLike):
        return read_notes(music, details=True)
    if isinstance(music, Notes):
        return music
    if isinstance(notes := getattr(music, "notes", None), Notes):
        return notes
    kind, some = type(music), cast(Any, music)
    if kind.__module__.startswith("symusic") and kind.__name__.startswith("Score"):
        return midi.from_bytes(some.to("tick").dumps_midi(), "The score of symusic", details=True)
    if kind.__name__ == "PrettyMIDI":
        some.write(file := io.BytesIO())
        return midi.from_bytes(file.getvalue(), "The piece of pretty_midi", details=True)
    if isinstance(music, sequence.sequence_class()):
        return sequence.from_sequence(music)
    raise UserError(
        f"Give the path of a file, a NoteSequence, Composition, symusic.Score or "
        f"pretty_midi.PrettyMIDI, not {music!r:.80}."
    )


def read(path: str | os.PathLike[str]) -> NoteSequence:
    """Reads a MIDI file or a score as a NoteSequence, see `read_notes`.

    Raises:
      UserError: as `read_notes` does.
    """
    return sequence.to_sequence(read_notes(path, details=True))


def check_kept(
    source: str | os.PathLike[str], target: str | os.PathLike[str], force: bool = False
) -> None:
    """Raises UserError if writing to a file would replace the one that is given.

    Args:
      source: the given file, perhaps with the number of a tune.
      target: the file to write.
      force: allow it.
    """
    given = score.without_tune(source)
    # Names that no file can have are left to reading and writing.
    there = os.path.exists(given) and os.path.exists(target)
    if not force and there and os.path.samefile(given, target):
        raise UserError(
            f"{target} is the file that is given: choose another name, or add --force to replace "
            "it."
        )


def convert(
    source: str | os.PathLike[str], target: str | os.PathLike[str], force: bool = False
) -> None:
    """Reads a piece from one file and writes it to another, each by its suffix.

    From MIDI to a score the piece is put on the beats of its music first, because played notes make
    no readable score on a file's own. Bars of scores and pictures are those that people count, see
    `music.bar_count`.

    Args:
      source: file to read.
      target: file to write.
      force: replace the source if the target is the same file.

    Warns:
      Remark: the target cannot hold all that the source says.

    Raises:
      UserError: one cannot be read or the other cannot be written, or both are the same.
    """
    _encoder(target)
    check_kept(source, target, force)
    notes = read_notes(source, details=True)
    from_midi = epath.Path(source).suffix.lower() in _MIDI
    write(counted(notes, target) if from_midi else notes, target)


def counted(notes: Notes, target: str | os.PathLike[str]) -> Notes:
    """Returns a given piece with the bars that people count, for a file that shows bars.

    Args:
      notes: the piece in its own ticks.
      target: the file to write; sound and MIDI show none.
    """
    suffix = epath.Path(target).suffix.lower()
    if suffix not in (*WRITABLE_SCORES, *PICTURES):
        return notes
    return as_counted(notes, score=suffix in WRITABLE_SCORES)


def write(music: Music, path: str | os.PathLike[str]) -> None:
    """Writes a piece by the suffix of the path: MIDI, MusicXML, sound (.wav) or a piano roll.

    Args:
      music: the piece, see `notes_of`.
      path: local or remote; its folder is made where there is none.

    Warns:
      Remark: the format cannot hold all that the piece says.

    Raises:
      UserError: the suffix is unknown, or the path cannot be written to.
    """
    encode, notes = _encoder(path), notes_of(music)
    save(path, encode(notes))
    if remark := held.left_out(notes, path):
        warnings.warn(remark, Remark, stacklevel=2)


def _encoder(path: str | os.PathLike[str]) -> Callable[[Notes], bytes]:
    encode = _ENCODERS.get(epath.Path(path).suffix.lower())
    if encode is None:
        raise UserError(f"{path} cannot be written: choose a name that ends in {_or(_ENCODERS)}.")
    return encode


def _or(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"
