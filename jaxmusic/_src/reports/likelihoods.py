"""Likelihoods of the splits of any dataset under a model."""

from __future__ import annotations

from typing import Any

from jaxmusic import config
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import mixture
from jaxmusic._src.data.catalog import open_dataset
from jaxmusic._src.data.songs import SPLITS
from jaxmusic._src.evaluate import likelihood, transfer
from jaxmusic._src.reports import runs, text
from jaxmusic._src.reports.figures import plain
from jaxmusic._src.runs import described

FILE = "likelihood.json"
_FIGURES = {"bits_per_note": "bits per note", "nats_per_token": "nats per token"}


def of_dataset(
    source: str,
    dataset: str,
    data_dir: str,
    options: config.Evaluation,
    progress: bool = True,
) -> dict[str, Any]:
    """Measures the likelihood of any dataset under a model.

    Styles and controls that the model was not trained with are dropped, and counted.

    Args:
      source: folder of a run, or a file that `jaxmusic export` wrote.
      dataset: name of a prepared dataset, perhaps with a version.
      data_dir: folder that holds it; empty for that of the run's dataset.
      options: split (empty for all), most pieces of each, and their seed; checkpoint.
      progress: show progress bars.

    Returns:
      model, step, dataset, whether the model was trained on a dataset of that name, and by the name
      of each split `likelihood.Likelihood.as_json` with ``labels``, see `transfer.Labels`.

    Raises:
      UserError: there is no such model, dataset or split.
    """
    from jaxmusic._src import model as models

    trained = described.described(source)
    home = data_dir or trained.experiment.data.data_dir
    found = open_dataset(dataset, home)
    splits = [split for split in SPLITS if split in found.splits]
    if options.split and options.split not in splits:
        raise UserError(f"Set --split to one that {dataset} has: {', '.join(splits)}.")
    name = f"{found.name}:{found.version}"
    data = config.Data(dataset=name, data_dir=home)
    model = models.load(source, None if options.step < 0 else options.step)
    known = {member.dataset.partition(":")[0] for member in mixture.parse(trained.dataset)}
    measured = {}
    for split in [options.split] if options.split else splits:
        pieces = runs.pieces(data, split, options.most, options.seed, progress)
        labels = transfer.Labels()
        read = list(transfer.read(model, [notes for _, notes in pieces], labels))
        scores = likelihood.evaluate(model.scorer, read, progress).as_json()
        measured[split] = scores | {"labels": labels.as_json()}
    about = {"kind": "likelihood", "model": source, "step": model.step, "dataset": name}
    return plain(about | {"trained_on": found.name in known, "splits": measured})


def as_text(report: dict[str, Any]) -> str:
    """Returns the figures of each split, and the dropped labels, as text."""
    lines = [f"{report['dataset']} under {report['model']}, step {report['step']}:"]
    for split, found in report["splits"].items():
        seen = " (the model was trained on it)" * (split == "train" and report["trained_on"])
        figures = (
            f"{text.interval(found['figures'][name], separator=' ')} {words}"
            for name, words in _FIGURES.items()
        )
        lines.append(f"  {split}{seen}: {found['pieces']:,} pieces, {', '.join(figures)}")
        labels = {
            kind: [f"{name} of {n:,} pieces" for name, n in counts.items()]
            for kind, counts in found["labels"].items()
        }
        if dropped := [f"style {words}" for words in labels["styles"]] + labels["controls"]:
            lines.append(f"    dropped, as the model was not trained with it: {', '.join(dropped)}")
        if missing := labels["missing"]:
            lines.append(f"    missing, though the model was trained with it: {', '.join(missing)}")
    return "\n".join(lines)
