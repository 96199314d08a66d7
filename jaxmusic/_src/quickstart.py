"""The command that runs every step once: dataset, small model, three-minute piece."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import time
from typing import Annotated

import tyro
from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic._src.core import ranges
from jaxmusic._src.core.errors import UserError
from jaxmusic.config.fields import SEED

DURATION = 180.0
"""Seconds of the piece that is composed."""


def quickstart(
    source: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")] = (),
    /,
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "quickstart",
    minutes: float = 3.0,
    songs: int = 400,
    seed: int = 1,
) -> int:
    """Prepares music, trains a small model and composes a 3:00 piece.

    Without a source it trains on the starter corpus, band songs that ship with jaxmusic.

    Examples:
      jaxmusic quickstart
      jaxmusic quickstart ~/midi/pop --out mine --minutes 10

    Args:
      source: folders, files or quoted globs of your own MIDI files and scores.
      out: folder for the dataset, the run and the piece.
      minutes: how long to train.
      songs: songs of the starter corpus to use, at most 400.
      seed: random seed of training and composing.
    """
    ranges.check("minutes", minutes, "(0, 10000]")
    ranges.check("songs", songs, "[1, 400]", whole=True)
    ranges.check("seed", seed, SEED, whole=True)
    from jaxmusic._src.data import builder, starter
    from jaxmusic._src.formats.saving import check_writable

    check_writable(out, folder=True)
    begun, folder = time.perf_counter(), pathlib.Path(out).expanduser()
    name = "music" if source else "starter"
    options = config.Prepare(name=name, data_dir=str(folder / "data"))
    if source:
        _say(1, f"preparing {', '.join(source)}")
        summary = builder.prepare(source, options)
    else:
        _say(1, f"preparing {songs} songs of the starter corpus")
        summary = builder.prepare_pieces(starter.corpus(songs), options, songs)
    print(summary)

    from jaxmusic._src.cluster import exits
    from jaxmusic._src.runs import experiments
    from jaxmusic._src.train import trainer
    from jaxmusic._src.train.compilation import keep_compiled

    keep_compiled()
    experiment = experiments.load_experiment("starter_cpu")
    data = dataclasses.replace(experiment.data, dataset=name, data_dir=options.data_dir)
    experiment = dataclasses.replace(experiment, data=data, seed=seed)
    # A second quickstart leaves the run of the first one alone.
    names = (folder / "runs" / f"{name}-{number}" for number in itertools.count(1))
    run = next(path for path in names if not path.exists())
    _say(2, f"training a small model for about {minutes:g} minutes")
    result = trainer.train(_for(experiment, minutes), str(run))
    if result.stopped:
        return exits.after(result.signal)

    _say(3, "composing a piece of 3:00")
    style = "pop" if "pop" in summary.styles else None
    files = _compose(run, folder, style, seed)
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


def _for(experiment: config.Experiment, minutes: float) -> config.Experiment:
    """Returns the experiment with the number of steps that fit into the minutes on this machine."""
    from jaxmusic._src.train.timing import seconds_per_step

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
    from jaxmusic._src import model
    from jaxmusic._src.formats import files

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
