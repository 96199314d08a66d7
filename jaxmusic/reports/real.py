"""Real music for a model's report: the pieces of its own datasets."""

from __future__ import annotations

import dataclasses

import numpy as np
from etils import epath
from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic.core.errors import UserError
from jaxmusic.data import facts, mixture, selection
from jaxmusic.data.catalog import Dataset, open_dataset
from jaxmusic.evaluate.copy_index import Stored
from jaxmusic.model import MusicModel
from jaxmusic.music.notes import Notes
from jaxmusic.runs import folder as runs
from jaxmusic.runs import weights

Named = tuple[str, Notes]


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
    dataset, folder = weights.dataset_of(source)
    data = dataclasses.replace(model.experiment.data, dataset=dataset, data_dir=data_dir or folder)
    found = _members(data)
    # Of a mixture or a selection the run has kept a hash of more than the records, and a file none.
    alone = len(found) == 1 and not data.where and runs.folder(source).suffix != weights.SUFFIX
    if alone and found[0].summary["content"] != runs.read(source).manifest:
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
    stored = [Stored(epath.Path(m.path), split) for m in _members(data) if m.splits.get(split)]
    places = [(pieces, number) for pieces in stored for number in range(len(pieces))]
    taken: dict[int, Named] = {}
    total = min(most, len(places))
    with tqdm(desc=f"reading {split}", total=total, unit=" pieces", disable=not progress) as bar:
        for i in np.random.default_rng(seed).permutation(len(places)).tolist():
            if len(taken) == most:
                break
            pieces, number = places[i]
            notes = pieces[number]
            if where.matches(facts.facts(notes)):
                taken[i] = pieces.name(number), notes
                bar.update()
    return [taken[i] for i in sorted(taken)]


def _members(data: config.Data) -> list[Dataset]:
    return [open_dataset(m.dataset, data.data_dir) for m in mixture.parse(data.dataset)]
