"""Real music for a model's report: the pieces of its own datasets."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from etils import epath
from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic.core.errors import UserError
from jaxmusic.data import facts, mixture, selection
from jaxmusic.data.catalog import open_dataset
from jaxmusic.evaluate.copy_index import Stored
from jaxmusic.model import MusicModel
from jaxmusic.music.notes import Notes
from jaxmusic.runs import folder as runs
from jaxmusic.runs.weights import SUFFIX

Named = tuple[str, Notes]


class _Place(NamedTuple):
    """Where a piece is stored."""

    split: Stored
    number: int


def data_of(source: str, model: MusicModel, data_dir: str) -> config.Data:
    """The datasets that a model was trained on, where they are now.

    Args:
      source: folder of the run, or a file that `jaxmusic export` wrote.
      model: the model in it.
      data_dir: folder that holds the datasets; empty for the one that the run used.

    Raises:
      UserError: there is no such dataset, or it is another than the model was trained on: what is
        held out of that one may have been trained on.
    """
    data = dataclasses.replace(
        model.experiment.data, data_dir=data_dir or model.experiment.data.data_dir
    )
    if runs.folder(source).suffix == SUFFIX:
        return data
    stored = runs.read(source)
    data = dataclasses.replace(data, dataset=stored.dataset)
    members = mixture.parse(data.dataset)
    found = [open_dataset(member.dataset, data.data_dir) for member in members]
    # Of a mixture or a selection the run has kept a hash of more than the records.
    if len(found) == 1 and not data.where and found[0].summary["content"] != stored.manifest:
        raise UserError(
            f"Give --data a folder with the {data.dataset} that {source} was trained on: the one "
            f"in {data.data_dir} has other content, and what it holds out may have been learned."
        )
    return data


def pieces(data: config.Data, split: str, most: int, seed: int, progress: bool) -> list[Named]:
    """Names and notes of pieces of a split, of all datasets together, in their order.

    Args:
      data: datasets and selection, as a run has them; weights play no part.
      split: train, validation or test; a dataset without it is left out.
      most: maximum pieces; larger sets are subsampled.
      seed: by which they are drawn.
      progress: show a progress bar if it takes over two seconds.
    """
    where = selection.parse(data.where)
    places: list[_Place] = []
    for member in mixture.parse(data.dataset):
        found = open_dataset(member.dataset, data.data_dir)
        if found.splits.get(split):
            stored = Stored(epath.Path(found.path), split)
            places += [_Place(stored, number) for number in range(len(stored))]
    order = np.random.default_rng(seed).permutation(len(places)).tolist()
    total = min(most, len(places))
    taken: dict[int, Notes] = {}
    with tqdm(desc=f"reading {split}", total=total, unit=" pieces", disable=not progress) as bar:
        for i in order:
            if len(taken) == most:
                break
            notes = places[i].split[places[i].number]
            if where.matches(facts.facts(notes)):
                taken[i] = notes
                bar.update()
    return [(places[i].split.name(places[i].number), taken[i]) for i in sorted(taken)]
