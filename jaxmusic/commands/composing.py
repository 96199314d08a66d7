"""Commands that compose: generate and quickstart."""

from __future__ import annotations

import pathlib
import sys
from typing import Annotated

import tyro

from jaxmusic import config
from jaxmusic.errors import UserError


def generate(
    model: Annotated[str, tyro.conf.arg(metavar="RUN")],
    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "song.mid",
    style: str = "",
    duration: Annotated[str, tyro.conf.arg(metavar="M:SS")] = "3:00",
    seed: int = 0,
    count: int = 1,
    wav: Annotated[str, tyro.conf.arg(metavar="FILE")] = "",
    png: Annotated[str, tyro.conf.arg(metavar="FILE")] = "",
    step: int | None = None,
    sampling: Annotated[config.Sampling, tyro.conf.arg(name="")] = config.Sampling(),  # noqa: B008
) -> None:
    """Composes pieces of exactly the duration asked for.

    Example:
      jaxmusic generate --model runs/pop --style pop --duration 3:00 --seed 1 --out song.mid

    Args:
      model: folder of a run, or a file that jaxmusic export wrote.
      out: MIDI or MusicXML file to write; with several pieces, song-1.mid, song-2.mid and so on.
      style: a style the model was trained on; empty leaves it to the model.
      duration: length, as 3:00 or in seconds.
      seed: the same seed gives the same piece.
      count: pieces to compose.
      wav: also render the sound to this file.
      png: also draw the piano roll to this file.
      step: training step of the checkpoint; the one with the best validation loss if absent.
      sampling: how tokens are drawn.
    """
    from jaxmusic.formats import files
    from jaxmusic.generate.length import parse_duration

    seconds = parse_duration(duration)
    # Sound comes last: where it cannot be rendered, everything else has been written.
    outputs = [
        (out, (".mid", ".midi", *files.WRITABLE_SCORES)),
        (png, (".png", ".svg", ".pdf")),
        (wav, (".wav",)),
    ]
    wanted = [_output(path, suffixes) for path, suffixes in outputs if path]
    from jaxmusic import model as models

    music = models.load(model, step)
    pieces = music.compose(style or None, seconds, seed, count, sampling, progress=True)
    for path in wanted:
        for number, piece in enumerate(pieces, 1):
            target = path if count == 1 else path.with_stem(f"{path.stem}-{number}")
            files.write(piece.notes, target)
            print(f"wrote {target}")


def quickstart(
    source: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    /,
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "quickstart",
    minutes: float = 3.0,
    songs: int = 400,
    seed: int = 1,
) -> None:
    """Does the whole road in one go: prepares music, trains a small model, composes a 3:00 piece.

    Without a source it composes its own starter corpus of band songs first.

    Args:
      source: folders, files or quoted globs of your own MIDI files and scores.
      out: folder for the dataset, the run and the piece.
      minutes: how long to train.
      songs: songs in the starter corpus.
      seed: random seed of training and composing.
    """
    from jaxmusic import quickstart as road

    signal = road.quickstart(source, pathlib.Path(out).expanduser(), minutes, songs, seed)
    if signal:
        from jaxmusic.train import exits

        sys.exit(exits.after(signal))


def _output(path: str, suffixes: tuple[str, ...]) -> pathlib.Path:
    """The path, if its suffix is one of these."""
    target = pathlib.Path(path).expanduser()
    if target.suffix.lower() not in suffixes:
        raise UserError(f"{path} must end in {' or '.join(suffixes)}")
    return target
