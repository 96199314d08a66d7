"""Runs: what their folders say of settings, size, time and learning, as plain JSON."""

from __future__ import annotations

from typing import Any

from jaxmusic.core import settings
from jaxmusic.core.errors import UserError
from jaxmusic.model import MusicModel
from jaxmusic.models import base
from jaxmusic.reports.figures import plain
from jaxmusic.runs import folder as runs
from jaxmusic.runs.log import read_log
from jaxmusic.runs.weights import SUFFIX

MOST_POINTS = 400
"""Points of a learning curve; of more, the means of neighbours are told."""


def about(source: str, model: MusicModel | None = None) -> dict[str, Any]:
    """What is known of a trained model.

    Args:
      source: folder of a run, or a file that `jaxmusic export` wrote, which has no log.
      model: the model, to be told about where it is in a file.

    Returns:
      name, settings by name, dataset, parameters, steps, seconds of training, losses as
      [step, loss] pairs, and the last and the best validation loss; None where it is not known.

    Raises:
      UserError: the folder is not that of a run.
    """
    path = runs.folder(source)
    lines: list[dict[str, Any]] = []
    if path.suffix != SUFFIX:
        experiment, codec, dataset = runs.read(path)[:3]
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
    """At most `MOST_POINTS` points: means of as many neighbours as it takes."""
    size = -(-len(points) // MOST_POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)] if points else []
    return [(g[-1][0], sum(loss for _, loss in g) / len(g)) for g in groups]
