"""Piano rolls in JSON: splits of pieces, pieces of time steps, time steps of MIDI pitches.

The format of the JSB chorales (``Jsb16thSeparated.json``, ``jsb-chorales-quarter.json``) and of
other benchmarks of polyphonic music::

    {"train": [[[74, 70, 65, 58], [75, 70, 58, 55], ...], ...], "valid": [...], "test": [...]}

If all time steps of a file have the same number of pitches, they are voices, each a track, in which
-1, null and NaN are rests; else a piece is one track. The format does not tell a held note from
repeated ones: a pitch that a voice has in consecutive steps is one note. It has no tempo, meter,
loudness or instruments.
"""

from __future__ import annotations

import functools
import json
import os
import re
from typing import NamedTuple

import numpy as np

from jaxmusic._src.core.errors import NoNotes, UserError
from jaxmusic._src.formats.saving import load
from jaxmusic._src.music.notes import Notes, make_notes

SUFFIX = ".json"
TICKS_PER_STEP = 120
STEPS = {"16th": 480, "8th": 240, "quarter": 120}
"""Ticks in a quarter note, by the note value of a time step."""
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
"""Splits of a dataset, by their names in files."""
VELOCITY = 80
_MOST_BYTES = 2**26
_PIECE = re.compile(r"(.*\.json)#([a-z]+)(\d+)", re.I | re.S)


class _Roll(NamedTuple):
    """A piece as S sounding cells of a piano roll.

    Attributes:
      step, lane, pitch: int64 [S], time step, place in its step, and MIDI pitch.
      steps: time steps.
      voices: number of voices; 0 where places in a step have no meaning.
    """

    step: np.ndarray
    lane: np.ndarray
    pitch: np.ndarray
    steps: int
    voices: int


def step_of(path: str | os.PathLike[str]) -> str:
    """The note value of a time step, one of `STEPS`, as the name of the file says; or empty."""
    name = os.path.basename(_split(path)[0]).lower()
    return next((step for step in STEPS if step in name), "")


def is_roll(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a JSON file, or a piece in it."""
    return _split(path)[0].lower().endswith(SUFFIX)


def piece_names(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Names of all pieces of a file, as `read_notes` takes them, and their splits.

    Raises:
      UserError: it cannot be read.
    """
    rolls = _rolls(load(path), os.fspath(path))
    return [
        (f"{os.fspath(path)}#{name}{i}", SPLITS[name])
        for name, pieces in rolls.items()
        for i in range(1, len(pieces) + 1)
    ]


def read_notes(path: str | os.PathLike[str]) -> Notes:
    """Reads a piece: ``chorales.json#train3`` is the third of the split ``train``.

    Time steps are sixteenths, unless the name of the file says ``8th`` or ``quarter``.

    Raises:
      UserError: the file cannot be read, has no such piece, or the piece has no notes.
    """
    file, split, number = _split(path)
    rolls = _rolls(load(file), file)
    if not 1 <= number <= len(rolls.get(split, ())):
        counts = ", ".join(f"{name}1 to {name}{len(r)}" for name, r in rolls.items() if r)
        raise UserError(f"{file} holds many pieces: name one of {counts}, as in {file}#train1.")
    roll = rolls[split][number - 1]
    if not len(roll.pitch):
        raise NoNotes(f"{path} holds no notes.")
    # A note is a run of steps in which one place of the roll has one pitch.
    cell = np.sort((roll.lane * 128 + roll.pitch) << 32 | roll.step)
    cell = cell[np.append(True, cell[1:] != cell[:-1])]
    first = np.flatnonzero(np.append(True, cell[1:] != cell[:-1] + 1))
    length = np.diff(first, append=len(cell))
    lane, pitch = np.divmod(cell[first] >> 32, 128)
    tracks = max(roll.voices, 1)
    return make_notes(
        (cell[first] & (2**32 - 1)) * TICKS_PER_STEP,
        length * TICKS_PER_STEP,
        pitch,
        np.full(len(first), VELOCITY),
        lane,
        program=[0] * tracks,
        drum=[False] * tracks,
        end=roll.steps * TICKS_PER_STEP,
        ticks_per_beat=STEPS[step_of(file) or "16th"],
    )


def _split(path: str | os.PathLike[str]) -> tuple[str, str, int]:
    """A path, and the split and number of the piece that is meant; 0 for none."""
    match = _PIECE.fullmatch(os.fspath(path))
    return (match[1], match[2], int(match[3])) if match else (os.fspath(path), "", 0)


@functools.lru_cache(2)  # by content: a worker reads many pieces of one file
def _rolls(data: bytes, path: str) -> dict[str, list[_Roll]]:
    """The pieces of a file, by the names of their splits."""
    wrong = (
        f"{path} is no JSON of piano rolls: give splits (train, valid, test) of pieces, each a "
        "list of time steps, each a list of MIDI pitches."
    )
    if len(data) > _MOST_BYTES:
        raise UserError(f"{path} is longer than 64 MB: divide its piano rolls into several files.")
    try:
        splits = json.loads(data)
        if not isinstance(splits, dict) or splits.keys() - SPLITS or not any(splits.values()):
            raise ValueError("there are no splits with pieces")
        lengths = {len(step) for pieces in splits.values() for piece in pieces for step in piece}
        voices = max(lengths) if len(lengths) == 1 and max(lengths) <= 16 else 0
        return {name: [_roll(piece, voices) for piece in pieces] for name, pieces in splits.items()}
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(wrong) from error


def _roll(piece: list[list[float | None]], voices: int) -> _Roll:
    """The sounding cells of a piece; raises ValueError or TypeError for what is no roll."""
    lengths = np.array([len(step) for step in piece], np.int64)
    flat = np.array([pitch for step in piece for pitch in step], np.float64)
    start = np.cumsum(lengths) - lengths
    lane = np.arange(len(flat)) - np.repeat(start, lengths)
    sounds = np.isfinite(flat) & (flat >= 0)
    pitch = flat[sounds]
    if flat.ndim > 1 or (pitch % 1).any() or (pitch > 127).any():
        raise ValueError("pitches are whole numbers up to 127")
    step = np.repeat(np.arange(len(piece)), lengths)[sounds]
    return _Roll(step, lane[sounds] * bool(voices), pitch.astype(np.int64), len(piece), voices)
