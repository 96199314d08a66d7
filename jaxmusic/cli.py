"""The command line: `jaxmusic COMMAND`, one short function for each command."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import tyro

from jaxmusic import config
from jaxmusic.errors import UserError, explained
from jaxmusic.version import __version__


def prepare(
    sources: Annotated[tuple[str, ...], tyro.conf.Positional],
    /,
    options: Annotated[config.Prepare, tyro.conf.arg(name="")] = config.Prepare(),  # noqa: B008
) -> None:
    """Turns a named dataset, or folders or files of music, into train, validation and test.

    Named datasets: pop909, lakh_full, lakh_matched, maestro, groove, jsb_chorales, nottingham,
    mutopia. They are downloaded into DATA_DIR/downloads, or read from --manual-dir; their own
    styles, beats, chords and splits are used, and their licence is shown. A folder that is called
    like one of them is written as a path: ./pop909.

    Examples:
      jaxmusic prepare pop909
      jaxmusic prepare groove --manual-dir ~/downloads/groove
      jaxmusic prepare ~/midi/pop --name pop --style pop
      jaxmusic prepare "~/midi/**/*.mid" extra/song.kar --name mine
      jaxmusic prepare ~/midi --name mine --style-from-folders --labels labels.csv
      jaxmusic prepare lakh_full --name band --where "has=drums tempo=90..140"

    Args:
      sources: the name of a dataset, or folders, files or quoted globs of MIDI (.mid, .midi, .kar),
        MusicXML (.musicxml, .xml, .mxl) and ABC (.abc).
      options: what the dataset is called, what its pieces are labelled with and which are kept.
    """
    from jaxmusic.data import builder

    print(builder.prepare(sources, options))


def train(argv: Sequence[str]) -> int:
    """Trains a model: `jaxmusic train CONFIG --run DIR [--field.name value ...]`."""
    command = list(argv)
    experiment, argv = _experiment(argv)

    def run_experiment(
        run: Annotated[str, tyro.conf.arg(metavar="DIR")],
        restarts: int = 0,
        experiment: Annotated[config.Experiment, tyro.conf.arg(name="")] = experiment,
    ) -> int:
        """Trains a model on a prepared dataset; the same command again goes on where it stopped.

        Usage: jaxmusic train CONFIG --run DIR [--any.field value ...]

        CONFIG is a Python file with a function experiment(), or the name of one that comes with
        jaxmusic. A run goes on from its own last checkpoint, else from the state of the run
        --resume-from, else it starts from the weights of --init-from (a run, or a file that
        jaxmusic export wrote), else from scratch; it says which. Ctrl-C, SIGTERM, SIGUSR1 and
        SIGUSR2 save and leave. Several processes find one another by JAX_COORDINATOR_ADDRESS,
        JAX_NUM_PROCESSES and JAX_PROCESS_ID, or by Slurm, Open MPI or the metadata of a TPU pod.

        Exit codes: 0 finished, 1 a mistake, 2 wrong usage, 75 saved after a signal, 130 saved after
        Ctrl-C, 70 stood still, 71 an error, 76 another process was lost.

        Args:
          run: folder of the run: checkpoints, logs, TensorBoard events.
          restarts: how many times in a row to start again after a crash, without a new checkpoint
            in between.
          experiment: fields of the experiment that differ from the config.
        """
        from jaxmusic.train import supervisor

        if restarts < 0:
            raise UserError(f"Set --restarts to at least 0, not {restarts}.")
        if restarts:
            return supervisor.supervise(supervisor.again(command), run, restarts)
        from jaxmusic.train import process
        from jaxmusic.train.compilation import keep_compiled

        keep_compiled()
        return process.run(experiment, run)

    return tyro.cli(run_experiment, args=list(argv), prog="jaxmusic train CONFIG")


def plan(argv: Sequence[str]) -> int:
    """Says what training a config costs on hardware that is not here: `jaxmusic plan CONFIG`."""
    from jaxmusic.parallel.topology import compile_elsewhere

    compile_elsewhere()
    from jaxmusic.planning import plan as planning
    from jaxmusic.planning import text

    experiment, argv = _experiment(argv)

    def plan_experiment(
        topology: Annotated[str, tyro.conf.arg(metavar="NAME")] = "",
        slices: int = 1,
        json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        experiment: Annotated[config.Experiment, tyro.conf.arg(name="")] = experiment,
    ) -> int:
        """Plans memory, traffic and time of training on named hardware.

        Usage: jaxmusic plan CONFIG --topology v5e:16x16 [--slices 2] [--json] [--any.field value]

        For TPUs the real train step is compiled here, which takes a minute or two and needs
        pip install 'jaxmusic[plan]'. For GPUs, as in h100:8, it is arithmetic. Without --topology
        it says what the config costs at all, and which hardware has a name.

        Ends with 0 if the step fits into memory, with 3 if it does not; then it looks for settings
        that do.

        Args:
          topology: hardware and how much of it: v5e:16x16, v5p:4x4x8, v6e:4x4, v4:4x4x4, h100:8.
          slices: slices of TPUs, joined by the data center's network.
          json: print JSON instead of tables.
          experiment: fields of the experiment that differ from the config.
        """
        if not topology:
            print(text.costs(experiment))
            return 0
        found = planning.plan(experiment, topology, slices, lambda text: _say(f"plan: {text}"))
        print(text.as_json(found) if json else text.as_text(found))
        return 0 if found.fits else 3

    return tyro.cli(plan_experiment, args=list(argv), prog="jaxmusic plan CONFIG")


def _experiment(argv: Sequence[str]) -> tuple[config.Experiment, Sequence[str]]:
    """The experiment that is named first, and the other arguments."""
    from jaxmusic.train import experiments

    if not argv or argv[0].startswith("-"):
        if not set(argv) & {"-h", "--help"}:
            names = ", ".join(experiments.names())
            raise UserError(f"name a config first, a Python file or one of: {names}")
        return config.Experiment(), argv
    return experiments.load_experiment(argv[0]), argv[1:]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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


def export(
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "model.safetensors",
    step: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Writes a trained model as one file that can be passed on and composes anywhere.

    Examples:
      jaxmusic export runs/pop --out pop.safetensors
      jaxmusic generate --model pop.safetensors --out song.mid
      jaxmusic train pop_cpu --run runs/mine --init-from pop.safetensors

    Args:
      run: folder of a run.
      out: file to write, ending in .safetensors.
      step: training step of the checkpoint; the one with the best validation loss if absent.
      dtype: float32 keeps every bit, bfloat16 takes half the room.
    """
    from jaxmusic.train import weights

    made = weights.export(run, out, step, dtype)
    print(f"wrote {out}: the model of {run} at step {made}")


def convert(
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")],
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")],
    /,
) -> None:
    """Turns a piece from one format into another, each by the end of its name.

    Reads .mid, .midi, .kar, .musicxml, .xml, .mxl and .abc; writes .mid, .musicxml, .xml, .mxl,
    .wav, .png, .svg and .pdf. From MIDI to a score the beats and bars of the music are found first.

    Examples:
      jaxmusic convert song.mid song.musicxml
      jaxmusic convert "jigs.abc#3" jig.mid

    Args:
      source: file to read; book.abc#3 is the third tune of a book.
      target: file to write.
    """
    from jaxmusic.formats import files

    target = os.path.expanduser(target)
    files.convert(os.path.expanduser(source), target)
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


def status(
    run_folders: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    json: bool = False,
    watch: bool = False,
) -> int:
    """Shows how runs stand: progress, losses, speed, goodput, checkpoints, time left.

    Reads the folder of a run, from anywhere, while it trains or afterwards.

    Examples:
      jaxmusic status runs/pop
      jaxmusic status runs/* --watch
      jaxmusic status runs/pop --json

    Args:
      run_folders: folders of runs.
      json: print one JSON object on a line for each run.
      watch: show it anew every two seconds, until Ctrl-C.
    """
    from jaxmusic.train import status_text

    return status_text.show(run_folders, json, watch)


COMMANDS = {
    "prepare": prepare,
    "train": train,
    "plan": plan,
    "status": status,
    "generate": generate,
    "export": export,
    "convert": convert,
    "quickstart": quickstart,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; exits with 1 after a problem the user can mend, 2 after wrong usage."""
    argv = sys.argv[1:] if argv is None else list(argv)
    # TensorFlow Datasets and gRPC chatter on stderr would hide what we have to say.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        sys.exit(_dispatch(argv))
    except KeyboardInterrupt:
        print("jaxmusic: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has seen enough, as in `jaxmusic --help | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (UserError, OSError) as error:
        if (sentence := explained(error)) is None:
            raise
        print(f"jaxmusic: {sentence}", file=sys.stderr)
        sys.exit(1)


def _dispatch(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"jaxmusic {__version__}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"jaxmusic: there is no command {argv[0]!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    if argv[0] in ("generate", "quickstart") and not set(argv) & {"-h", "--help"}:
        from jaxmusic.train.compilation import keep_compiled

        keep_compiled()
    if argv[0] == "train":
        return train(argv[1:])
    if argv[0] == "plan":
        return plan(argv[1:])
    command: Any = COMMANDS[argv[0]]
    return tyro.cli(command, args=list(argv[1:]), prog=f"jaxmusic {argv[0]}") or 0


def _usage() -> str:
    lines = [
        f"  {name:12}{(command.__doc__ or '').splitlines()[0]}"
        for name, command in COMMANDS.items()
    ]
    head = "jaxmusic trains music models and composes with them.\n\nusage: jaxmusic COMMAND --help"
    return "\n".join([head, "", "commands:", *lines])


def _output(path: str, suffixes: tuple[str, ...]) -> pathlib.Path:
    """The path, if its suffix is one of these."""
    target = pathlib.Path(path).expanduser()
    if target.suffix.lower() not in suffixes:
        raise UserError(f"{path} must end in {' or '.join(suffixes)}")
    return target
