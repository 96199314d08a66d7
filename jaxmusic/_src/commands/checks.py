"""Checks of what a command is given, made before JAX is imported: in well under a second."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from jaxmusic._src.core.errors import UserError

if TYPE_CHECKING:
    from jaxmusic import config
    from jaxmusic._src.generate.capabilities import Capabilities


def model(source: str, step: int = -1) -> Capabilities:
    """Returns what a model was trained for.

    Args:
      source: folder of a run, or an exported file.
      step: of its checkpoint, -1 for the best.

    Raises:
      UserError: there is no such model, or it has no such checkpoint.
    """
    from jaxmusic._src.generate.capabilities import Capabilities
    from jaxmusic._src.runs import described, folder

    path = folder.folder(source)
    stored = described.described(source)
    if path.suffix != described.SUFFIX:
        folder.finished(path, None if step < 0 else step)
    return Capabilities(
        stored.codec, stored.styles, stored.controls, stored.experiment.data, stored.heard
    )


def outputs(paths: Iterable[str | os.PathLike[str]], folder: bool = False) -> None:
    """Raises UserError if one of the files, or folders, cannot be written."""
    from jaxmusic._src.formats import saving

    for path in paths:
        saving.check_writable(path, folder)


def dataset(name: str, data_dir: str) -> None:
    """Raises UserError if there is no such dataset, or no such mixture of datasets."""
    from jaxmusic._src.data import catalog, mixture

    for member in mixture.parse(name):
        catalog.open_dataset(member.dataset, data_dir)


def training(experiment: config.Experiment, run: str) -> None:
    """Raises UserError where training cannot start: no dataset, run or weights of these names."""
    from jaxmusic._src.runs import described

    outputs([run], folder=True)
    dataset(experiment.data.dataset, experiment.data.data_dir)
    for source in (experiment.init_from, experiment.resume_from):
        if source:
            described.described(source)


def compared(sources: Sequence[str]) -> None:
    """Raises UserError for fewer than two runs or reports, or for what is neither."""
    from jaxmusic._src.core import paths
    from jaxmusic._src.reports.writing import JSON
    from jaxmusic._src.runs import folder

    if len(sources) < 2:
        raise UserError("Name at least two runs or reports to compare.")
    for source in sources:
        path = paths.absolute(source)
        whole = [path] if path.suffix == ".json" else [path / folder.EXPERIMENT, path / JSON]
        if not any(file.is_file() for file in whole):
            raise UserError(f"Name the folder of a run or of a report: {source} is neither.")
