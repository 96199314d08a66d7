"""Gathers the content of a report from a model or from files."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic._src.core import settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import sources
from jaxmusic._src.evaluate import copy_index
from jaxmusic._src.reports import figures, sets, verdict
from jaxmusic._src.reports.sets import Songs
from jaxmusic.version import __version__

VERSION = 1
"""Raise it when a name in report.json changes its meaning."""
TOGETHER = 4
"""Pieces composed side by side."""
REAL = 100
"""Maximum real songs whose longest passages are searched for."""
SHORTEST, LONGEST = 5.0, 900.0
"""Seconds of a composed piece, where real ones are shorter or longer."""


@dataclasses.dataclass(frozen=True)
class Gathered:
    """The content of a report.

    Attributes:
      report: the content of report.json.
      ours: the reported songs.
      real: the reference.
      shown: real songs to draw.
      matches: the longest passage that each of ours shares with the reference.
      asked: pieces composed with controls, by name.
    """

    report: dict[str, Any]
    ours: Songs
    real: Songs
    shown: Songs
    matches: figures.Found
    asked: dict[str, Any] = dataclasses.field(default_factory=dict)


def of_songs(
    songs: str, reference: str, options: config.Evaluation, progress: bool = True
) -> Gathered:
    """Gathers a report that compares files with a reference.

    Args:
      songs: a folder, a file or a glob of MIDI, MusicXML or ABC.
      reference: real music, in the same form.
      options: how many songs are taken and drawn.
      progress: show progress bars.

    Raises:
      UserError: one of them is empty.
    """
    check(options)
    # Both are looked for before either is read.
    files, others = (sources.find([source], progress) for source in (songs, reference))
    ours = sets.read(files, "songs", options, progress)
    real = sets.read(others, "reference", options, progress)
    index = copy_index.build(real, progress)
    matches = figures.longest([index], [(s.name, s.notes) for s in ours.songs], progress)
    passages = figures.real_longest(real, REAL, options.seed, progress)
    report = {
        "kind": "songs",
        "songs": songs,
        "reference": reference,
        **_about(options),
        **figures.of_sets(ours, real, progress),
        "originality": figures.passages(matches, passages),
    }
    return Gathered(_judged(report), ours, real, real, matches)


def of_model(
    source: str,
    data_dir: str,
    options: config.Evaluation,
    sampling: config.Sampling,
    progress: bool = True,
) -> Gathered:
    """Gathers a report on a model.

    Statistics, endings and repetition of its pieces are compared with those of its training music,
    the largest split. Likelihood, requests and the originality of real music are of held-out
    pieces.

    Args:
      source: folder of a run, or a file that `jaxmusic export` wrote.
      data_dir: folder that holds the dataset of the run; empty for the one that the run used.
      options: what is composed and measured.
      sampling: how tokens are drawn.
      progress: show progress bars.

    Raises:
      UserError: there is no such run or dataset, or an option is not possible.
    """
    from jaxmusic._src import model as models
    from jaxmusic._src.evaluate import likelihood
    from jaxmusic._src.reports import adherence, runs

    check(options)
    model = models.load(source, None if options.step < 0 else options.step)
    data = runs.data_of(source, model, data_dir)
    training = sets.measured(
        runs.pieces(data, "train", options.most, options.seed, progress), "training", progress
    )
    split = options.split or "validation"
    held_out = runs.pieces(data, split, options.most, options.seed, progress)
    held = sets.measured(held_out, split, progress)
    free = _compose(model, training, options, sampling, progress)
    ours = sets.measured([(piece.name, piece.notes) for piece in free], "pieces", progress)
    asked, refused = adherence.compose(model, held_out, options, sampling, progress)
    read = [model.quantise(notes)[0] for _, notes in held_out]
    likely = likelihood.evaluate(model.scorer, read, progress).as_json()
    indices = copy_index.read(data.dataset, data.data_dir, progress)
    matches = figures.longest(indices, [(p.name, p.notes) for p in free], progress)
    some = sets.drawn(held_out, REAL, options.seed)
    others = figures.longest(indices, some, progress)
    run = runs.about(source, model)
    requested = {f"request-{i:02d}": piece for i, piece in enumerate(asked, 1)}
    report = {
        "kind": "model",
        "run": run | {"step": model.step, "controls": list(model.controls)},
        "split": split,
        "sampling": settings.flat(sampling),
        **_about(options),
        **figures.of_sets(ours, training, progress),
        "held_out": figures.about(held),
        "likelihood": likely,
        "adherence": {
            "controls": adherence.figures(asked, free, held.notes),
            "pieces": {name: piece.name for name, piece in requested.items()},
            "duration": options.request_duration,
            "refused": [{"song": name, "reason": reason} for name, reason in refused],
        },
        "originality": figures.passages(matches, others),
    }
    notes = {name: piece.notes for name, piece in requested.items()}
    return Gathered(_judged(report), ours, training, held, matches, notes)


def _judged(report: dict[str, Any]) -> dict[str, Any]:
    """Returns the report as plain JSON, with its verdict."""
    plain = figures.plain(report)
    return plain | {"verdict": figures.plain(verdict.of(plain))}


def check(options: config.Evaluation) -> None:
    """Raises UserError for an impossible option."""
    if options.split not in ("", "validation", "test"):
        raise UserError(f"Set --split to validation or test, not {options.split!r}.")


def _about(options: config.Evaluation) -> dict[str, Any]:
    return {"version": VERSION, "jaxmusic": __version__, "settings": settings.flat(options)}


def _compose(
    model: Any,
    real: Songs,
    options: config.Evaluation,
    sampling: config.Sampling,
    progress: bool,
) -> list[Any]:
    """Composes pieces with a requested length only, in groups of one length.

    Without a requested duration, lengths are quantiles of real ones, evenly spaced, so that
    measures that depend on length can be compared.
    """
    from jaxmusic._src.reports import adherence

    groups = math.ceil(options.pieces / TOGETHER)
    durations: list[str | float] = [options.duration] * groups
    if not options.duration.strip() and len(real):
        seconds = np.clip([float(n.seconds(n.end)) for n in real.notes], SHORTEST, LONGEST)
        middles = (np.arange(groups) + 0.5) / groups
        durations = [round(float(x), 1) for x in np.quantile(seconds, middles)]
    out: list[Any] = []
    with tqdm(desc="composing", total=options.pieces, unit=" pieces", disable=not progress) as bar:
        for number, duration in enumerate(durations):
            count = min(TOGETHER, options.pieces - len(out))
            controls = config.Controls(duration=duration, seed=1000 * options.seed + number)
            for piece in model.compose(controls=controls, count=count, sampling=sampling):
                requests = adherence.timed(duration or 180.0)
                out.append(adherence.Asked(f"piece-{len(out) + 1:02d}", requests, piece.notes))
            bar.update(count)
    return out
