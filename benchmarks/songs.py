"""Songs that several benchmarks measure: real ones, ones made by rule, and composed ones."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

from benchmarks.beats import SETS
from jaxmusic import config
from jaxmusic.data import labelling, starter
from jaxmusic.data.sources import Known
from jaxmusic.formats.midi import read_notes
from jaxmusic.music import beats
from jaxmusic.music.notes import Notes

STARTER_SONGS = 400
"""Songs made by rule, unless --count says otherwise."""


def pop909_folders(data: pathlib.Path, count: int = 0) -> list[pathlib.Path]:
    """Folders of POP909's songs; at most `count` of them, spread over all."""
    folders = sorted(path for path in (data / "pop909/POP909").iterdir() if path.is_dir())
    step = max(len(folders) // count, 1) if count else 1
    return folders[::step][: count or None]


def pop909(data: pathlib.Path, count: int = 0) -> Iterator[Notes]:
    """POP909's songs on the beats of beat_midi.txt, with its chords and keys as labels."""
    for folder in tqdm(pop909_folders(data, count), "POP909", leave=False):
        files = {"beats": "beat_midi.txt", "chords": "chord_midi.txt", "keys": "key_audio.txt"}
        known = Known(("pop",), **{what: str(folder / name) for what, name in files.items()})
        notes = read_notes(folder / f"{folder.name}.mid")
        yield labelling.align(labelling.labelled(notes, known), known)[0]


def in_files(data: pathlib.Path, name: str) -> Iterator[Notes]:
    """The files of a set of `benchmarks.beats.SETS` on beats found in their notes."""
    for path in tqdm(sorted(data.glob(SETS[name])), name, leave=False):
        yield beats.align(read_notes(path))[0]


def made_by_rule(count: int = 0) -> Iterator[Notes]:
    """Songs of the starter corpus, with all labels."""
    count = count or STARTER_SONGS
    yield from tqdm(starter.corpus(count), "starter", count, leave=False)


def compose(model: Any, controls: config.Controls, count: int, progress: bool = False) -> list[Any]:
    """Composes pieces side by side: all that the benchmarks ask of a model.

    Args:
      model: what `jaxmusic.load` returns.
      controls: what is asked for, the seed included.
      count: number of pieces.
      progress: show a progress bar.

    Returns:
      The notes of each piece.
    """
    pieces = model.compose(controls=controls, count=count, progress=progress)
    return [piece.notes for piece in pieces]


def real_set(model: Any) -> str:
    """Which songs a model's are to be compared with: ``starter`` or ``pop909``."""
    return "starter" if "starter" in model.experiment.data.dataset else "pop909"
