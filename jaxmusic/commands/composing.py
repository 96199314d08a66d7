"""Quickstart, and what all commands that compose share."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from jaxmusic import config
from jaxmusic.core.errors import UserError

if TYPE_CHECKING:
    from jaxmusic.generate.composition import Composition
    from jaxmusic.model import MusicModel


Model = Annotated[
    str,
    tyro.conf.arg(metavar="RUN", help="Folder of a run, or a file that jaxmusic export wrote."),
]
Controls = Annotated[config.Controls, tyro.conf.arg(name="")]
Sampling = Annotated[config.Sampling, tyro.conf.arg(name="")]
Output = Annotated[config.Output, tyro.conf.arg(name="")]


def compose_and_write(
    model: str,
    controls: config.Controls,
    output: config.Output,
    paths: Sequence[pathlib.Path],
    compose: Callable[[MusicModel, config.Controls], list[Composition]],
) -> None:
    """Composes with a model and writes the pieces that are original enough.

    Args:
      model: folder of a run, or an exported file.
      controls: controls of the pieces; another seed replaces theirs where pieces are copies.
      output: which checkpoint composes, and how original pieces must be.
      paths: files to write, as `targets` returns them.
      compose: composes the pieces with the loaded model.

    Raises:
      UserError: something is not possible, or some pieces are copies; the others are written then.
    """
    from jaxmusic import model as models
    from jaxmusic import originals
    from jaxmusic.train.compilation import keep_compiled

    keep_compiled()
    limit = output.originality
    if limit:
        originals.check(limit)
        training = originals.training_music(model, output.data_dir)
    music = models.load(model, None if output.step < 0 else output.step)

    def again(seed: int) -> list[Composition]:
        return compose(music, dataclasses.replace(controls, seed=seed))

    if not limit:
        write_all(again(controls.seed), paths)
        return
    pieces = originals.compose(again, training, limit, controls.seed, said=_say)
    write_all(pieces, paths)
    if missing := [number for number, piece in enumerate(pieces, 1) if piece is None]:
        which = ", ".join(map(str, missing))
        raise UserError(
            f"Give another --seed, or a higher --temperature or --originality: piece {which} was "
            f"not written, because each of {originals.TRIES} attempts shared {limit} telling notes "
            "or more with the training music."
        )


def targets(output: config.Output) -> list[pathlib.Path]:
    """Returns the files to write, in order; raises UserError for a suffix of no known format."""
    from jaxmusic.formats import files

    # Sound comes last: where it cannot be rendered, everything else has been written.
    outputs = [
        (output.out, (".mid", ".midi", *files.WRITABLE_SCORES)),
        (output.png, (".png", ".svg", ".pdf")),
        (output.wav, (".wav",)),
    ]
    return [_output(path, suffixes) for path, suffixes in outputs if path]


def write_all(pieces: Sequence[Composition | None], paths: Sequence[pathlib.Path]) -> None:
    """Writes pieces, with a number in each name if there are several; None stands for a copy."""
    from jaxmusic.formats import files

    for path in paths:
        for number, piece in enumerate(pieces, 1):
            if piece is None:
                continue
            target = path if len(pieces) == 1 else path.with_stem(f"{path.stem}-{number}")
            files.write(piece.notes, target)
            print(f"wrote {target}")


def quickstart(
    source: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")] = (),
    /,
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "quickstart",
    minutes: float = 3.0,
    songs: int = 400,
    seed: int = 1,
) -> None:
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
    from jaxmusic import quickstart as steps
    from jaxmusic.train.compilation import keep_compiled

    keep_compiled()
    signal = steps.quickstart(
        source, pathlib.Path(out).expanduser(), minutes=minutes, songs=songs, seed=seed
    )
    if signal:
        from jaxmusic.cluster import exits

        sys.exit(exits.after(signal))


def _say(text: str) -> None:
    print(f"jaxmusic: {text}", file=sys.stderr, flush=True)


def _output(path: str, suffixes: tuple[str, ...]) -> pathlib.Path:
    """Returns the path; raises UserError if its suffix is none of these."""
    target = pathlib.Path(path).expanduser()
    if target.suffix.lower() not in suffixes:
        raise UserError(f"{path} must end in {' or '.join(suffixes)}")
    return target
