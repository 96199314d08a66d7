"""Commands that compose: one from nothing, one for each task with a piece, from one table."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from jaxmusic import config
from jaxmusic._src.commands import checks, options
from jaxmusic._src.core.errors import UserError

if TYPE_CHECKING:
    from jaxmusic._src.generate.composition import Composition

Song = Annotated[
    str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE", help="MIDI, MusicXML or ABC file.")
]
Model = Annotated[
    str,
    tyro.conf.arg(metavar="RUN", help="Folder of a run, or a file that jaxmusic export wrote."),
]
_WITHOUT_FORCE = [name for name in vars(config.Output()) if name != "force"]
_NONE = tyro.conf.Suppress[tyro.conf.Fixed[str]]
"""Type of what a command has no option for."""


def _bars(name: str, text: str) -> Any:
    """Makes the type of an option that names bars, as in 9-16, 7 or 1-4,9-12."""
    return Annotated[str, tyro.conf.arg(name=name, metavar="BARS", help=text)]


class Task(NamedTuple):
    """A row of the table of tasks.

    Attributes:
      help: what the command does, with an example.
      bars: type of the option that is passed on as the bars of the task; by default no option.
      default: its default; `tyro.MISSING` makes it required.
      given: whether it works with a given piece.
    """

    help: str
    bars: Any = _NONE
    default: Any = ""
    given: bool = True


TASKS = {
    "generate": Task(
        """Composes pieces of an exact duration.

        Examples:
          jaxmusic generate --model runs/pop --style pop --duration 3:00 --seed 1 --out song.mid
          jaxmusic generate --model runs/pop --key "A minor" --tempo 96 --instruments "piano, drums"
          jaxmusic generate --model runs/pop --chords "C G Am F" --wav song.wav --png song.png
        """,
        given=False,
    ),
    "continue": Task(
        """Continues a piece to an exact length.

        The given bars stay as they are, note for note. New bars have the meter and tempo in force
        where they begin. --duration is the length of the whole piece; --chords and --form apply to
        the new bars.

        Examples:
          jaxmusic continue --model runs/pop song.mid --bars 8 --duration 3:00 --out longer.mid
        """,
        Annotated[
            str,
            tyro.conf.arg(metavar="N", help="Bars of the song to continue from; 0 for all of it."),
        ],
        "0",
    ),
    "infill": Task(
        """Rewrites some bars of a piece so that they fit between the others.

        All other bars stay as they are, note for note.

        Examples:
          jaxmusic infill --model runs/pop song.mid --bars 9-16 --out other.mid
        """,
        _bars(
            "bars",
            "Bars of the file to rewrite: 9-16, 7 or 1-4,9-12; or times: 0:10-0:16.",
        ),
        tyro.MISSING,
    ),
    "accompany": Task(
        """Adds the instruments of --instruments to a piece.

        The given notes stay as they are. The chords are those of --chords; without it those of the
        file, or else those found in the notes, where enough of them sound together.

        Examples:
          jaxmusic accompany --model runs/pop melody.mid --instruments "bass, drums" --out band.mid
        """
    ),
    "harmonise": Task(
        """Finds chords for a melody and writes parts that play them.

        The parts are for a piano, or for the instruments of --instruments. The melody stays as it
        is, note for note; the chords are written into the file as well.

        Examples:
          jaxmusic harmonise --model runs/pop melody.mid --instruments "piano, bass" --out song.mid
        """
    ),
    "vary": Task(
        """Rewrites a piece over the same chords, except for some bars.

        Kept bars stay as they are, note for note.

        Examples:
          jaxmusic vary --model runs/pop song.mid --keep 1-4,9-12 --out variation.mid
        """,
        _bars("keep", "Bars of the file to keep: 1-4,9-12; or times: 0:10-0:16."),
        tyro.MISSING,
    ),
}


def _command(task: str, row: Task) -> Callable[..., None]:
    """Makes the command of a task, a function whose arguments are its options."""

    def run(
        song: Song = tyro.MISSING if row.given else "",
        /,
        *,
        model: Model,
        bars: str = row.default,
        controls: config.Controls = config.Controls(),  # noqa: B008
        sampling: config.Sampling = config.Sampling(),  # noqa: B008
        output: config.Output = config.Output(),  # noqa: B008
    ) -> None:
        # All that can be wrong is found before JAX is imported, which takes seconds.
        from jaxmusic._src.formats import files
        from jaxmusic._src.generate import draws, keywords
        from jaxmusic._src.generate.orders import order

        paths = _targets(output)
        checks.outputs(_numbered(paths, output.count))
        asked, _ = keywords.read({"controls": controls, "sampling": sampling})
        able = checks.model(model, output.step)
        draws.settings(sampling, able.codec.vocabulary)
        piece: dict[str, Any] = {}
        if row.given:
            for path in paths:
                files.check_kept(song, path, output.force)
            piece = {"task": task, "notes": files.notes_of(song), "bars": bars}
            order(able, **piece, asked=asked)
            piece["music"] = piece.pop("notes")
        else:
            able.read(asked)
        seed = asked.seed or 0
        if controls.seed is None:
            print(f"seed {seed}")
        from jaxmusic._src import model as models
        from jaxmusic._src import originals
        from jaxmusic._src.train.compilation import keep_compiled

        keep_compiled()
        if output.originality:
            training = originals.training_music(model, output.data_dir)
        music = models.load(model, None if output.step < 0 else output.step)

        def draw(seed: int) -> list[Composition]:
            return (music.perform if row.given else music.compose)(
                **piece,
                controls=dataclasses.replace(asked, seed=seed),
                count=output.count,
                sampling=sampling,
                progress=True,
            )

        if not output.originality:
            _write(draw(seed), paths, row.given)
            return
        pieces = originals.compose(draw, training, output.originality, seed, said=_say)
        _write(pieces, paths, row.given)
        if missing := [str(number) for number, piece in enumerate(pieces, 1) if piece is None]:
            raise UserError(
                f"Give another --seed, or a higher --temperature or --originality: piece "
                f"{', '.join(missing)} was not written, because each of {originals.TRIES} attempts "
                f"shared {output.originality} telling notes or more with the training music."
            )

    run.__doc__ = row.help
    run.__annotations__ |= {"bars": row.bars, "song": Song if row.given else _NONE}
    only = {"controls": config.task_controls(task)} if row.given else {"output": _WITHOUT_FORCE}
    return options.grouped(run, only)


def _targets(output: config.Output) -> list[pathlib.Path]:
    """Returns the files to write, in order; raises UserError for a suffix of no known format."""
    from jaxmusic._src.formats import files

    # Sound comes last: where it cannot be rendered, everything else has been written.
    outputs = [
        (output.out, (".mid", ".midi", *files.WRITABLE_SCORES)),
        (output.png, files.PICTURES),
        (output.wav, (".wav",)),
    ]
    for path, suffixes in outputs:
        if path and pathlib.Path(path).suffix.lower() not in suffixes:
            raise UserError(f"{path} must end in {' or '.join(suffixes)}")
    return [pathlib.Path(path).expanduser() for path, _ in outputs if path]


def _numbered(paths: Sequence[pathlib.Path], count: int) -> list[pathlib.Path]:
    """Returns the files of all pieces, with a number in each name if there are several."""
    if count == 1:
        return list(paths)
    return [path.with_stem(f"{path.stem}-{n}") for path in paths for n in range(1, count + 1)]


def _write(
    pieces: Sequence[Composition | None], paths: Sequence[pathlib.Path], given: bool
) -> None:
    """Writes pieces; None stands for a copy.

    Pieces made from a `given` one show its bars as people count them.
    """
    from jaxmusic._src.formats import files

    for target, piece in zip(_numbered(paths, len(pieces)), itertools.cycle(pieces)):
        if piece is not None:
            files.write(files.counted(piece.notes, target) if given else piece.notes, target)
            print(f"wrote {target}")


def _say(text: str) -> None:
    print(f"jaxmusic: {text}", file=sys.stderr, flush=True)


COMMANDS = {task: _command(task, row) for task, row in TASKS.items()}
"""Commands by name."""
