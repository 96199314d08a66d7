"""Commands that compose: generate and quickstart."""

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

    def compose(music: MusicModel, asked: config.Controls) -> list[Composition]:
        return music.compose(controls=asked, count=output.count, sampling=sampling, progress=True)

    compose_and_write(model, controls, output, wanted, compose)


def compose_and_write(
    model: str,
    controls: config.Controls,
    output: config.Output,
    wanted: Sequence[pathlib.Path],
    compose: Callable[[MusicModel, config.Controls], list[Composition]],
) -> None:
    """Composes with a model and writes the pieces that are original enough.

    Raises:
      UserError: something is not possible, or some pieces are copies; the others are written then.
    """
    from jaxmusic import model as models
    from jaxmusic import originals

    limit = output.originality
    if limit:
        originals.check(limit)
        training = originals.training_music(model, output.data_dir)
    music = models.load(model, None if output.step < 0 else output.step)

    def again(seed: int) -> list[Composition]:
        return compose(music, dataclasses.replace(controls, seed=seed))

    if not limit:
        write_all(again(controls.seed), wanted)
        return
    pieces = originals.compose(again, training, limit, controls.seed, said=_say)
    write_all(pieces, wanted)
    if missing := [number for number, piece in enumerate(pieces, 1) if piece is None]:
        which = ", ".join(map(str, missing))
        raise UserError(
            f"Give another --seed, or a higher --temperature or --originality: piece {which} was "
            f"not written, as each of {originals.TRIES} tries shared {limit} telling notes or more "
            "with the training music."
        )


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


def write_all(pieces: Sequence[Composition | None], paths: Sequence[pathlib.Path]) -> None:
    """Writes the pieces that there are, with a number in each name where several are wanted."""
    from jaxmusic.formats import files

    for path in paths:
        for number, piece in enumerate(pieces, 1):
            if piece is None:
                continue
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


def _say(text: str) -> None:
    print(f"jaxmusic: {text}", file=sys.stderr, flush=True)


def _output(path: str, suffixes: tuple[str, ...]) -> pathlib.Path:
    """The path, if its suffix is one of these."""
    target = pathlib.Path(path).expanduser()
    if target.suffix.lower() not in suffixes:
        raise UserError(f"{path} must end in {' or '.join(suffixes)}")
    return target
