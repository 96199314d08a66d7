"""Examining files on Apache Beam, for corpora that one machine does not get through.

Batches of files are examined wherever Beam runs them and left in numbered part files beside the
dataset that is being built, which all of its machines must be able to write to. The builder reads
the parts in their order: the records are the same as without Beam, and in the same order.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from collections.abc import Generator, Sequence

from etils import epath

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import workers
from jaxmusic._src.data.cleaning import Skipped
from jaxmusic._src.data.examine import Kept
from jaxmusic._src.data.sources import MusicFile
from jaxmusic.config import Prepare

BATCH = 256
"""Files per bundle: a lost machine costs the work of this many."""


def examine_files(
    files: Sequence[MusicFile], config: Prepare, folder: epath.Path
) -> Generator[tuple[MusicFile, Kept | Skipped], None, None]:
    """Examines files on ``config.beam_runner``, and yields each with its outcome, in order.

    Every machine must find the files and the folder, where part files are left, at the same path.

    Raises:
      UserError: Beam is not installed, or has no such runner.
    """
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise UserError(
            "Apache Beam is not installed: pip install 'jaxmusic[beam]', or leave out beam_runner."
        ) from error
    parts = folder / "parts"
    parts.mkdir()
    batches = [(i, list(files[i : i + BATCH])) for i in range(0, len(files), BATCH)]
    try:
        # Flags of the runner, such as a cluster's address, are Beam's own.
        pipeline = apache_beam.Pipeline(config.beam_runner, PipelineOptions([]))
    except (ValueError, AttributeError, ImportError) as error:
        raise UserError(
            f"Apache Beam has no runner {config.beam_runner!r}: try DirectRunner."
        ) from error
    with pipeline:
        _ = (
            pipeline
            | apache_beam.Create(batches)
            | apache_beam.Reshuffle()
            | apache_beam.Map(_examine, config, os.fspath(parts))
        )
    for start, batch in batches:
        with (parts / _name(start)).open("rb") as part:
            for file in batch:
                yield file, pickle.load(part)
        (parts / _name(start)).unlink()


def _examine(batch: tuple[int, list[MusicFile]], config: Prepare, parts: str) -> None:
    """Leaves the outcomes of one batch in its part file, by a process that may be lost."""
    start, files = batch
    config = dataclasses.replace(config, workers=config.workers or 1)  # Beam uses the other cores
    path = epath.Path(parts) / _name(start)
    # Beam may run a batch twice, even at the same time: the last whole one stays.
    half = path.with_name(f"{path.name}.{os.getpid()}.{id(batch)}")
    with half.open("wb") as part:
        for _, outcome in workers.examine_files(files, config):
            part.write(pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL))
    half.replace(path)


def _name(start: int) -> str:
    return f"part-{start:012}"
