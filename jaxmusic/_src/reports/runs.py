"""Runs: settings, size, time and learning as plain JSON, and the music they were trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from etils import epath
from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic._src.core import settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import metadata, mixture, selection
from jaxmusic._src.data.catalog import Dataset, open_dataset
from jaxmusic._src.data.pieces import Stored
from jaxmusic._src.model import MusicModel
from jaxmusic._src.models import base
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.reports.figures import plain
from jaxmusic._src.runs import described, folder
from jaxmusic._src.runs.log import read_log

MOST_POINTS = 400
"""Maximum points of a learning curve; longer curves show means of neighbours."""
Named = tuple[str, Notes]


def about(source: str, model: MusicModel | None = None) -> dict[str, Any]:
    """Describes a trained model.

    Args:
      source: folder of a run, or a file that `jaxmusic export` wrote, which has no log.
      model: the model, needed for an exported file.

    Returns:
      name, settings by name, dataset, parameters, steps, seconds of training, losses as
      [step, loss] pairs, and the last and the best validation loss; None if unknown.

    Raises:
      UserError: the folder is not that of a run.
    """
    path = folder.folder(source)
    lines: list[dict[str, Any]] = []
    if path.suffix != described.SUFFIX:
        experiment, codec, dataset = folder.read(path)[:3]
        lines = read_log(path)
    elif model is not None:
        experiment, codec, dataset = model.experiment, model.codec, model.experiment.data.dataset
    else:
        raise UserError(f"Name the folder of a run or of a report: {source} has no log.")
    training = [(x["step"], x["loss"]) for x in lines if x.get("loss") is not None]
    validation = [(x["step"], x["val_loss"]) for x in lines if x.get("val_loss") is not None]
    out = {
        "name": path.name,
        "settings": settings.flat(experiment),
        "dataset": dataset,
        "parameters": base.num_parameters(experiment.model, codec.vocab_size),
        "steps": max((x["step"] for x in lines), default=model.step if model else 0),
        "seconds": max((x["seconds"] for x in lines if "seconds" in x), default=None),
        "training": thinned(training),
        "validation": validation,
        "last": validation[-1][1] if validation else None,
        "best": min((loss for _, loss in validation), default=None),
    }
    return plain(out)


def thinned(points: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """Reduces a curve to `MOST_POINTS` points by averaging neighbours."""
    size = -(-len(points) // MOST_POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)] if points else []
    return [(g[-1][0], sum(loss for _, loss in g) / len(g)) for g in groups]


def data_of(source: str, model: MusicModel, data_dir: str) -> config.Data:
    """Locates the datasets that a model was trained on.

    Args:
      source: folder of the run, or a file that `jaxmusic export` wrote.
      model: the model in it.
      data_dir: folder that holds the datasets; empty for the one that the run used.

    Raises:
      UserError: there is no such dataset, or its content differs from the training data of the
        model, so that held-out pieces may have been trained on.
    """
    trained = described.described(source)
    dataset, home = trained.dataset, trained.experiment.data.data_dir
    data = dataclasses.replace(model.experiment.data, dataset=dataset, data_dir=data_dir or home)
    found = _members(data)
    # Of a mixture or a selection the run has kept a hash of more than the records, and a file none.
    alone = len(found) == 1 and not data.where and folder.folder(source).suffix != described.SUFFIX
    if alone and found[0].summary["content"] != folder.read(source).manifest:
        raise UserError(
            f"Give --data-dir a folder with the {data.dataset} that {source} was trained on: the "
            f"one in {data.data_dir} has other content, and what it holds out may have been "
            "learned."
        )
    return data


def pieces(data: config.Data, split: str, most: int, seed: int, progress: bool) -> list[Named]:
    """Reads names and notes of the pieces of a split, over all datasets.

    Args:
      data: datasets and selection; weights are ignored.
      split: train, validation or test; a dataset without it is left out.
      most: maximum pieces; larger sets are subsampled.
      seed: of the subsample.
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
            if where.matches(metadata.describe(notes)):
                taken[i] = pieces.name(number), notes
                bar.update()
    return [taken[i] for i in sorted(taken)]


def _members(data: config.Data) -> list[Dataset]:
    return [open_dataset(m.dataset, data.data_dir) for m in mixture.parse(data.dataset)]
