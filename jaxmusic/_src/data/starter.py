"""Reads the starter corpus, 400 band songs that ship with the library: music without a download.

`examples/starter` composes them and writes the file. It holds one column for each field of
`Notes` and of its `Labels`, all songs one after another, with times in steps of `TICKS` and notes
in the order of track, onset and pitch, which deflates best.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.music.notes import TICKS_PER_BEAT, Labels, Notes, make_notes

SHIPPED = pathlib.Path(__file__).with_name("starter.npz")
"""Songs 0 to 399."""
TICKS = TICKS_PER_BEAT // 12
"""Ticks in a step of the file."""


def corpus(
    count: int | None = None, first: int = 0, path: str | os.PathLike[str] = SHIPPED
) -> Iterator[Notes]:
    """Reads songs as aligned notes with style, key, chord and section labels.

    Args:
      count: number of songs; all from `first` on if None.
      first: index of the first song.
      path: a file that `examples/starter` wrote.

    Raises:
      UserError: the file holds fewer songs.
    """
    with np.load(path) as file:
        columns = {name: file[name] for name in file.files}
    size = len(columns["song.name"])
    last = size if count is None else first + count
    if not 0 <= first <= last <= size:
        raise UserError(
            f"Choose from songs 0 to {size - 1}, not {first} to {last - 1}, of {os.fspath(path)}. "
            "`python -m examples.starter` in jaxmusic's repository composes more of them."
        )
    return (_song(columns, index) for index in range(first, last))


def _song(columns: dict[str, np.ndarray], index: int) -> Notes:
    def rows(name: str) -> np.ndarray:
        offset = columns[name.split(".")[0] + ".offset"]
        return columns[name][offset[index] : offset[index + 1]].astype(np.int32)

    return make_notes(
        onset=TICKS * np.cumsum(rows("note.wait")),
        duration=TICKS * rows("note.duration"),
        pitch=rows("note.pitch"),
        velocity=np.cumsum(rows("note.louder")) + rows("note.touch"),
        track=rows("note.track"),
        program=rows("track.program"),
        drum=rows("track.drum"),
        tempos=((0, float(columns["song.tempo"][index])),),
        meters=((0, *columns["song.meter"][index].tolist()),),
        end=TICKS * int(columns["song.end"][index]),
        labels=Labels(
            styles=(str(columns["song.style"][index]),),
            song=str(columns["song.name"][index]),
            key_tick=TICKS * rows("key.step"),
            key=rows("key.key").astype(np.uint8),
            chord_tick=TICKS * rows("chord.step"),
            chord=rows("chord.chord").astype(np.uint8),
            section_tick=TICKS * rows("section.step"),
            section=rows("section.section").astype(np.uint8),
        ),
    )
