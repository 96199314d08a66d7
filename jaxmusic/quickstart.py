"""Runs every step once: dataset, small model, three-minute piece."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Sequence

from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic.core.errors import UserError

DURATION = 180.0
"""Seconds of the piece that is composed."""


def quickstart(
    sources: Sequence[str], out: pathlib.Path, minutes: float, songs: int, seed: int
) -> int:
    """Prepares, trains for some minutes, composes; prints where everything is.

    Args:
      sources: folders, files or globs of MIDI; empty for the starter corpus.
      out: folder for everything.
      minutes: how long to train.
      songs: number of songs of the starter corpus, at most 400.
      seed: seed of training and composing.

    Returns:
      The signal that stopped the training and with it everything, 0 if none did.

    Raises:
      UserError: as `prepare`, `train` and `load` do.
    """
    from jaxmusic.data import builder, starter
    from jaxmusic.runs import experiments
    from jaxmusic.train import trainer

    if not 0 < minutes <= 10_000:
        raise UserError(f"minutes must be more than 0, not {minutes:g}")
    begun = time.perf_counter()
    name = "music" if sources else "starter"
    options = config.Prepare(name=name, data_dir=str(out / "data"))
    if sources:
        _say(1, f"preparing {', '.join(sources)}")
        summary = builder.prepare(sources, options)
    else:
        _say(1, f"preparing {songs} songs of the starter corpus")
        summary = builder.prepare_pieces(starter.corpus(songs), options, songs)
    print(summary)

    experiment = experiments.load_experiment("starter_cpu")
    data = dataclasses.replace(experiment.data, dataset=name, data_dir=options.data_dir)
    experiment = dataclasses.replace(experiment, data=data, seed=seed)
    run = _next_run(out / "runs", name)
    _say(2, f"training a small model for about {minutes:g} minutes")
    result = trainer.train(_for(experiment, minutes), str(run))
    if result.stopped:
        return result.signal

    _say(3, "composing a piece of 3:00")
    style = "pop" if "pop" in summary.styles else None
    files = _compose(run, out, style, seed)
    took = time.perf_counter() - begun
    example = f"--style {style} " if style else ""
    print(
        f"\nDone in {took / 60:.1f} minutes.\n"
        + "".join(f"  {title:12}{path}\n" for title, path in files)
        + f"  {'model':12}{run}\n\n"
        "Another piece:\n"
        f"  jaxmusic generate --model {run} {example}--duration 3:00 --seed 2 --out song.mid\n"
        "A better model, from your own folder of MIDI files:\n"
        "  jaxmusic prepare ~/midi --name mine --style pop\n"
        "  jaxmusic train pop_cpu --run runs/mine --data.dataset mine"
    )
    return 0


def _say(number: int, text: str) -> None:
    print(f"\n[{number}/3] {text}", flush=True)


def _next_run(folder: pathlib.Path, name: str) -> pathlib.Path:
    """A run folder that does not exist yet: a second quickstart leaves the first one alone."""
    number = 1
    while (folder / f"{name}-{number}").exists():
        number += 1
    return folder / f"{name}-{number}"


def _for(experiment: config.Experiment, minutes: float) -> config.Experiment:
    """The experiment with as many steps as fit into the minutes on this machine."""
    from jaxmusic.train.timing import seconds_per_step

    with tqdm(total=1, desc="timing a training step", bar_format="{desc} {elapsed}") as shown:
        step = seconds_per_step(experiment)
        shown.update()
    steps = max(10, int(minutes * 60 / step))
    interval = max(1, steps // 4)
    warmup = min(experiment.optimizer.warmup, steps // 10)
    optimizer = dataclasses.replace(experiment.optimizer, warmup=warmup)
    return dataclasses.replace(
        experiment,
        steps=steps,
        optimizer=optimizer,
        eval_every=interval,
        checkpoint_every=interval,
    )


def _compose(
    run: pathlib.Path, out: pathlib.Path, style: str | None, seed: int
) -> list[tuple[str, str]]:
    """Writes the piece in all formats: title of each, and its path or why there is none."""
    from jaxmusic import model
    from jaxmusic.formats import files

    music = model.load(run)
    (piece,) = music.compose(style, DURATION, seed, progress=True)
    midi, picture, sound = (out / f"song-{run.name}{end}" for end in (".mid", ".png", ".wav"))
    files.write(piece.notes, midi)
    files.write(piece.notes, picture)
    heard = str(sound)
    try:
        files.write(piece.notes, sound)
    except UserError as error:
        # Sound needs wheels that not every platform has; everything else is there.
        heard = f"not written: {error}"
    return [("MIDI", str(midi)), ("piano roll", str(picture)), ("sound", heard)]
