"""Composing until pieces are original: what copies the training music is thrown away.

>>> training = originals.training_music("runs/pop")
>>> originals.compose(lambda seed: model.compose("pop", "3:00", seed, count=4), training, seed=1)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.evaluate import copy_index, originality
from jaxmusic._src.evaluate.copy_index import CopyIndex
from jaxmusic._src.evaluate.originality import Match
from jaxmusic._src.generate.composition import Composition
from jaxmusic._src.music import beats
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.runs import described

TRIES = 5
"""Seeds that are tried for a piece."""


def training_music(model: str | os.PathLike[str], data_dir: str = "") -> list[CopyIndex]:
    """Returns the training music of a model, as an index that finds copies.

    The index is built the first time, which shows progress if it takes long.

    Args:
      model: folder of a run, or a file that `jaxmusic export` wrote.
      data_dir: folder that holds the dataset; empty for that of the training, or of a file for the
        usual one.

    Raises:
      UserError: there is no such model, or the dataset is not in the folder.
    """
    trained = described.described(model)
    dataset, folder = trained.dataset, trained.experiment.data.data_dir
    try:
        return copy_index.read(dataset, data_dir or folder)
    except UserError as error:
        raise UserError(
            f"Give --data-dir, the folder that holds {dataset}, the training music of "
            f"{os.fspath(model)} that copies are looked for in. {error}"
        ) from error


def compose(
    draw: Callable[[int], Sequence[Composition]],
    training: Sequence[CopyIndex],
    limit: int = originality.COPIED,
    seed: int = 0,
    tries: int = TRIES,
    said: Callable[[str], None] = lambda text: None,
) -> list[Composition | None]:
    """Composes pieces that share no long passage with the training music.

    Pieces are judged one by one. Where one is a copy, all are composed again with the next seed,
    and the one of the same number takes its place: so piece i does not depend on the others.

    Args:
      draw: composes the pieces of a seed, always as many.
      training: from `training_music`.
      limit: the length, in telling notes, at which a shared passage is too long.
      seed: the first seed.
      tries: seeds to try.
      said: called with a sentence for each piece that was thrown away.

    Returns:
      The pieces; None where all tries were copies.

    Raises:
      UserError: the limit is not above 0, or what `draw` raises.
    """
    if limit < 1:
        raise UserError(f"Give originality a number of telling notes above 0, not {limit}.")
    pieces: list[Composition | None] = []
    for now in range(seed, seed + tries):
        drawn = draw(now)
        pieces = pieces or [None] * len(drawn)
        for number, piece in enumerate(drawn):
            if pieces[number] is not None:
                continue
            match = judge(piece, training)
            if match.telling < limit:
                pieces[number] = piece
                continue
            which = f"piece {number + 1} of " if len(drawn) > 1 else ""
            said(f"threw away {which}seed {now}: {match.describe()}")
        if None not in pieces:
            break
    return pieces


def judge(piece: Composition, training: Sequence[CopyIndex]) -> Match:
    """Finds the longest passage that the written notes of a piece share with the training music."""
    return originality.find(training, written(piece))


def written(piece: Composition) -> Notes:
    """Returns the aligned notes of a piece that the model wrote."""
    notes, rows = piece.notes, piece.written
    if rows is None:
        return beats.align(notes)[0]
    # What was given is no copy, but it helps to find the beats: it is aligned too, in tracks of
    # its own, and taken away afterwards.
    count = len(notes.program)
    track = notes.track.astype(np.int64) + count * rows
    order = np.lexsort((notes.pitch, track, notes.onset))
    names = ("onset", "duration", "pitch", "velocity")
    columns = {name: getattr(notes, name)[order] for name in names}
    columns["track"] = track[order].astype(np.int16)
    tables = {"program": np.tile(notes.program, 2), "drum": np.tile(notes.drum, 2)}
    found, _ = beats.align(notes.replace(**columns, **tables))
    mine = found.track >= count
    columns = {name: getattr(found, name)[mine] for name in names}
    columns["track"] = found.track[mine] - np.int16(count)
    return found.replace(**columns, program=notes.program, drum=notes.drum)
