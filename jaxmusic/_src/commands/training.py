"""Commands about training: train, plan, status and export."""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import tyro

from jaxmusic import config
from jaxmusic._src.commands import checks, parsing
from jaxmusic._src.core import settings
from jaxmusic._src.core.errors import UserError

Experiment = Annotated[config.Experiment, tyro.conf.arg(name="")]


def train(
    run: Annotated[str, tyro.conf.arg(metavar="DIR")],
    restarts: int = 0,
    experiment: Experiment = config.Experiment(),  # noqa: B008
    command: tyro.conf.Suppress[tyro.conf.Fixed[tuple[str, ...]]] = (),
) -> int:
    """Trains a model on a prepared dataset, or continues a run.

    CONFIG is a Python file with a function experiment(), or the name of one that comes with
    jaxmusic; any field of the experiment can be set by an option, and --model lstm replaces
    its model by one of another family, whose fields follow. A run resumes from its own last
    checkpoint, else from the state of the run --resume-from; else it starts from the weights
    of --init-from (a run, or a file that jaxmusic export wrote), else from scratch. It prints
    which. Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2 save and exit. Several processes find one
    another by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or by Slurm, Open
    MPI or the metadata of a TPU pod.

    Exit codes: 0 finished, 2 a mistake of the user, 75 saved after a signal, 130 saved after
    Ctrl-C; 1 an error or no progress, 134 another process was lost.

    Examples:
      jaxmusic train pop_cpu --data.dataset pop --run runs/pop
      jaxmusic train my.py --run runs/mine --model.layers 8 --steps 10000 --restarts 5
      jaxmusic train pop_cpu --run runs/tuned --init-from runs/pop --data.dataset mine

    Args:
      run: folder of the run: checkpoints, logs, TensorBoard events.
      restarts: restarts after crashes in a row, without a new checkpoint in between.
      experiment: fields of the experiment.
    """
    from jaxmusic._src.cluster import supervisor

    if restarts < 0:
        raise UserError(f"Set --restarts to at least 0, not {restarts}.")
    from jaxmusic._src.runs import folder as runs

    runs.check_place(run)
    if restarts:
        reached = functools.partial(runs.latest, run)
        once = [sys.executable, "-m", "jaxmusic", "train", *command, "--restarts", "0"]
        return supervisor.supervise(once, reached, restarts)
    checks.training(experiment, run)
    from jaxmusic._src.train import process
    from jaxmusic._src.train.compilation import keep_compiled

    keep_compiled()
    return process.run(experiment, run)


def plan(
    topology: Annotated[str, tyro.conf.arg(metavar="NAME")] = "",
    slices: int = 1,
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    experiment: Experiment = config.Experiment(),  # noqa: B008
) -> int:
    """Estimates memory, traffic and time of training on named hardware.

    CONFIG is a config as in jaxmusic train. For TPUs the real train step is compiled on this
    machine, which takes a minute or two and needs pip install 'jaxmusic[plan]'. For GPUs it is
    arithmetic. Without --topology, the costs that depend on the config alone are shown, and the
    names of known hardware.

    Exit codes: 0 the step fits into memory, 3 it does not; settings that fit are then shown.

    Examples:
      jaxmusic plan pretrain_100m
      jaxmusic plan pretrain_100m --topology v5e:16x16 --slices 2
      jaxmusic plan pretrain_1b --topology h100:8 --data.batch 64 --json

    Args:
      topology: hardware and its size: v5e:16x16, v5p:4x4x8, v6e:4x4, v4:4x4x4 or h100:8.
      slices: slices of TPUs, connected by the data center's network.
      json: print JSON instead of tables.
      experiment: fields of the experiment.
    """
    from jaxmusic._src.cluster import topology as topologies

    if topology:
        topologies.parse(topology, slices)
    from jaxmusic._src.planning import plan as planning
    from jaxmusic._src.planning import text

    if not topology:
        print(text.costs(experiment))
        return 0
    found = planning.plan(experiment, topology, slices, lambda text: _say(f"plan: {text}"))
    print(text.as_json(found) if json else text.as_text(found))
    return 0 if found.memory.fits else 3


def status(
    run_folders: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    json: bool = False,
    watch: bool = False,
) -> int:
    """Shows progress, losses, speed, checkpoints and time left of runs.

    Reads the folder of a run, on any machine, while it trains or afterwards.

    Examples:
      jaxmusic status runs/pop
      jaxmusic status runs/* --watch
      jaxmusic status runs/pop --json

    Args:
      run_folders: folders of runs.
      json: print a line of JSON for each run.
      watch: refresh every two seconds, until Ctrl-C.
    """
    from jaxmusic._src.runs import status as statuses

    return statuses.show(run_folders, json, watch)


def export(
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    /,
    out: Annotated[str, tyro.conf.arg(metavar="FILE")] = "model.safetensors",
    step: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> None:
    """Exports a trained model as one file that can be shared.

    Examples:
      jaxmusic export runs/pop --out pop.safetensors
      jaxmusic generate --model pop.safetensors --out song.mid
      jaxmusic train pop_cpu --run runs/mine --init-from pop.safetensors

    Args:
      run: folder of a run.
      out: file to write, ending in .safetensors.
      step: training step of the checkpoint; by default the one with the best validation loss.
      dtype: float32 keeps every bit, bfloat16 takes half the space.
    """
    from jaxmusic._src.runs import described

    described.check_name(out)
    checks.outputs([out])
    checks.model(run, -1 if step is None else step)
    from jaxmusic._src.runs import weights

    exported = weights.export(run, out, step, dtype)
    print(f"wrote {out}: the model of {run} at step {exported}")


OF_A_CONFIG = (train, plan)
"""Commands that name a config first, which gives the defaults of their options."""


def run(command: Callable[..., int], argv: Sequence[str], prog: str) -> int:
    """Runs a command of `OF_A_CONFIG` and returns its exit code."""
    if command is plan:
        from jaxmusic._src.cluster.topology import compile_elsewhere

        compile_elsewhere()
    experiment, options = _experiment(argv)
    own = {"command": tuple(argv)} if command is train else {}
    bound = functools.partial(command, experiment=experiment, **own)
    bound.__doc__ = command.__doc__
    return parsing.run(bound, options, f"{prog} CONFIG")


def _experiment(argv: Sequence[str]) -> tuple[config.Experiment, Sequence[str]]:
    """Loads the experiment that is named first; returns it and the other arguments."""
    from jaxmusic._src.runs import experiments

    if not argv or argv[0].startswith("-"):
        if not set(argv) & {"-h", "--help"}:
            names = ", ".join(experiments.names())
            raise UserError(f"Name a config first, a Python file or one of: {names}")
        return config.Experiment(), argv
    return _of_kind(experiments.load_experiment(argv[0]), list(argv[1:]))


def _of_kind(
    experiment: config.Experiment, argv: list[str]
) -> tuple[config.Experiment, Sequence[str]]:
    """Takes ``--model lstm`` and the like out of the arguments: another family, by its defaults."""
    for name, hint in typing.get_type_hints(config.Experiment).items():
        kinds, flag = settings.members(hint), f"--{name}"
        if not kinds or flag not in argv:
            continue
        place = argv.index(flag)
        kind = argv[place + 1] if place + 1 < len(argv) else ""
        if kind not in kinds:
            raise UserError(f"Set {flag} to {' or '.join(kinds)}, not {kind!r}.")
        experiment = dataclasses.replace(experiment, **{name: kinds[kind]()})
        argv = argv[:place] + argv[place + 2 :]
    return experiment, argv


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
