"""Writes composed songs as one file of columns, which `data.starter` reads."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable

import numpy as np

from examples.starter import songs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data.starter import TICKS
from jaxmusic._src.music.notes import Notes

NOTICE = """\
Band songs with their styles, keys, chords, sections, tempos and meters, composed by a program of
jaxmusic, examples/starter. Licensed like jaxmusic under the Apache License, Version 2.0:
https://www.apache.org/licenses/LICENSE-2.0
"""


def seeds(count: int, seed: int = 0) -> range:
    """Seeds of a corpus: corpora of different seeds share no song.

    Args:
      count: number of songs, up to a million.
      seed: seed of the corpus.

    Raises:
      UserError: the count is not between 1 and a million, or the seed is negative.
    """
    if not 1 <= count <= 1_000_000 or seed < 0:
        raise UserError(f"Choose 1 to 1000000 songs and a seed of 0 or more, not {count}, {seed}.")
    return range(seed * 1_000_000, seed * 1_000_000 + count)


def write(path: pathlib.Path, chosen: Iterable[int]) -> None:
    """Composes the songs of these seeds and writes them."""
    parts = [_columns(songs.compose(seed), songs.compose(seed, touch=False)) for seed in chosen]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for group in ("track", "note", "key", "chord", "section"):
        name = next(name for name in columns if name.startswith(f"{group}."))
        sizes = [len(part[name]) for part in parts]
        columns[f"{group}.offset"] = np.array([0, *itertools.accumulate(sizes)], np.int32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(file, notice=np.array(NOTICE), **columns)


def _columns(song: Notes, plain: Notes) -> dict[str, np.ndarray]:
    """Columns of one song.

    Onsets and velocities are differences from the note before, which deflate well because bars
    repeat.

    Args:
      song: the song.
      plain: the same song without touch, which is random: it is a column of its own.
    """
    order = np.lexsort((song.pitch, song.onset, song.track))
    labels = song.labels

    def steps(ticks: np.ndarray | int) -> np.ndarray:
        return np.atleast_1d(ticks) // TICKS

    touch = song.velocity.astype(np.int8) - plain.velocity.astype(np.int8)
    return {
        "song.name": np.array([labels.song]),
        "song.style": np.array([labels.styles[0]]),
        "song.tempo": song.tempo_qpm.astype(np.uint8),
        "song.meter": np.stack([song.meter_num, song.meter_den], axis=1),
        "song.end": steps(song.end).astype(np.uint16),
        "track.program": song.program,
        "track.drum": song.drum,
        "note.track": song.track[order].astype(np.uint8),
        "note.wait": np.diff(steps(song.onset)[order], prepend=0).astype(np.int16),
        "note.duration": steps(song.duration)[order].astype(np.uint8),
        "note.pitch": song.pitch[order],
        "note.louder": np.diff(plain.velocity[order].astype(np.int8), prepend=np.int8(0)),
        "note.touch": touch[order],
        "key.step": steps(labels.key_tick).astype(np.uint16),
        "key.key": labels.key,
        "chord.step": steps(labels.chord_tick).astype(np.uint16),
        "chord.chord": labels.chord,
        "section.step": steps(labels.section_tick).astype(np.uint16),
        "section.section": labels.section,
    }
