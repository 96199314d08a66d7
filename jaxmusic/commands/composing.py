"""Commands that compose: generate and quickstart."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxmusic import config
from jaxmusic.errors import UserError

if TYPE_CHECKING:
    from jaxmusic.generate.composer import Composition
    from jaxmusic.model import MusicModel


def generate(
    model: Annotated[str, tyro.conf.arg(metavar="RUN")],
    controls: Annotated[config.Controls, tyro.conf.arg(name="")] = config.Controls(),  # noqa: B008
    sampling: Annotated[config.Sampling, tyro.conf.arg(name="")] = config.Sampling(),  # noqa: B008
    output: Annotated[config.Output, tyro.conf.arg(name="")] = config.Output(),  # noqa: B008
) -> None:
    """Composes pieces of exactly the duration asked for.

    For example:

    jaxmusic generate --model runs/pop --style pop --duration 3:00 --seed 1 --out song.mid

    jaxmusic generate --model runs/pop --key "A minor" --tempo 96 --instruments "piano, drums"

    Args:
      model: folder of a run, or a file that jaxmusic export wrote.
      controls: what the piece shall be like.
      sampling: how tokens are drawn.
      output: which checkpoint composes, and what is written.
    """
    wanted = targets(output)
    music = load(model, output)
    write_all(
        music.compose(controls=controls, count=output.count, sampling=sampling, progress=True),
        wanted,
    )


def load(model: str, output: config.Output) -> MusicModel:
    """The model of a run or a file."""
    from jaxmusic import model as models

    return models.load(model, None if output.step < 0 else output.step)


def targets(output: config.Output) -> list[pathlib.Path]:
    """The files to write, in this order; raises UserError where a suffix is not possible."""
    from jaxmusic.formats import files

    # Sound comes last: where it cannot be rendered, everything else has been written.
    outputs = [
        (output.out, (".mid", ".midi", *files.WRITABLE_SCORES)),
        (output.png, (".png", ".svg", ".pdf")),
        (output.wav, (".wav",)),
    ]
    return [_output(path, suffixes) for path, suffixes in outputs if path]


def write_all(pieces: Sequence[Composition], paths: Sequence[pathlib.Path]) -> None:
    """Writes pieces, with a number in each name where there are several."""
    from jaxmusic.formats import files

    for path in paths:
        for number, piece in enumerate(pieces, 1):
            target = path if len(pieces) == 1 else path.with_stem(f"{path.stem}-{number}")
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
