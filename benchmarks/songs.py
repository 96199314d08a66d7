"""Sets of real music that several benchmarks read."""

from __future__ import annotations

import pathlib

from benchmarks import runner
from jaxmusic._src.core.errors import UserError

SETS = {
    "pop909": "pop909/POP909/*/[0-9]*.mid",
    "mutopia": "mutopia/midi/*.mid",
    "piano_midi_de": "piano_midi_de/midis/**/*.mid",
    "giantmidi": "giantmidi/midi/**/*.mid",
    "groove": "groove/**/*.mid",
    "freedoom": "freedoom/musics/*.mid",
    "nottingham": "nottingham/MIDI/*.mid",
    "multitrack_pop": "multitrack_pop/*.mid",
}
"""Patterns of the files of each set, in the folder of real music."""


def files(data: str, name: str) -> list[pathlib.Path]:
    """Returns the files of a set; raises UserError without POP909."""
    found = sorted(runner.folder("data", data).glob(SETS[name]))
    if name == "pop909" and not found:
        raise UserError("Give --data a folder whose folder pop909 holds the POP909 dataset.")
    return found


def spread(files: list[pathlib.Path], most: int) -> list[pathlib.Path]:
    """Picks at most `most` files, evenly spread."""
    return [files[i * len(files) // most] for i in range(most)] if len(files) > most else files
