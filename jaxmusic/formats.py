"""Files of music: MIDI, scores and the pieces of other libraries, as notes."""

from jaxmusic._src.formats.files import convert, notes_of, read_notes
from jaxmusic._src.formats.scores.score import read_tunes

__all__ = ["convert", "notes_of", "read_notes", "read_tunes"]
