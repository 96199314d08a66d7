"""Tasks with a given piece: continue, infill, accompany, harmonise and vary it."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from jaxmusic import config
from jaxmusic._src.core.errors import Remark, UserError
from jaxmusic._src.generate import infilling, splice
from jaxmusic._src.generate.capabilities import Capabilities
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.composition import Composition, Progress
from jaxmusic._src.generate.continuation import ContinuingPlanner
from jaxmusic._src.generate.orders import order
from jaxmusic._src.music.notes import Notes


def perform(
    composer: Composer,
    capabilities: Capabilities,
    task: str,
    notes: Notes,
    bars: str | int,
    asked: config.Controls,
    count: int = 1,
    sampling: config.Sampling = config.Sampling(),  # noqa: B008
    progress: Progress | None = None,
) -> list[Composition]:
    """Does a task with a given piece.

    Args:
      composer: samples.
      capabilities: those of the model.
      task, notes, bars, asked: as in `orders.order`.
      count, sampling, progress: as in `Composer.compose`.

    Returns:
      Pieces in which what was given stands untouched.

    Warns:
      Remark: bars of the music are not those of the file.

    Raises:
      UserError: what is asked for cannot be done, which is found out before anything is sampled.
    """
    if count < 1:
        raise UserError(f"the count must be at least 1, not {count}")
    got = order(capabilities, task, notes, bars=bars, asked=asked)
    for remark in got.remarks:
        warnings.warn(remark, Remark, stacklevel=2)
    if got.given is None:
        planner = ContinuingPlanner(
            composer.grammar, composer.context, got.request, got.source, got.prompt, got.drop
        )
        found = composer.compose(planner, asked.seed or 0, count, sampling, progress)
        return [
            dataclasses.replace(c, written=splice.added(c.notes, got.source, planner.kept))
            for c in found
        ]
    bars_each = int(got.given.marked.sum())
    return [
        infilling.fill(
            composer,
            got.source,
            got.given,
            got.drop,
            got.request,
            got.joining,
            seed=int(np.random.SeedSequence((asked.seed or 0, number)).generate_state(1)[0]),
            sampling=sampling,
            progress=infilling.after(progress, number * bars_each, count * bars_each),
        )
        for number in range(count)
    ]
