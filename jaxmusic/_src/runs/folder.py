"""The folder of a run: what is in it, and who may write to it.

experiment.json   the settings, resolved
codec.json        the codec with its styles
data.json         name, version and content hash of the dataset, its styles and controls,
                  and how often each instrument plays
log.jsonl         losses and speed
tensorboard/      the same for TensorBoard
checkpoints/      see `runs.checkpoint`
samples/          pieces composed on the way, see `train.samples`
lock              held by the process that trains
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict

from etils import epath

from jaxmusic import config as configs
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.codecs.registry import read_codec
from jaxmusic._src.core import leases, locks, outside, paths, settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.instruments import Heard, HeardCounts, heard

if TYPE_CHECKING:
    # It imports JAX, and to look at a run takes none.
    from jaxmusic._src.cluster.hosts import Hosts

EXPERIMENT, CODEC, DATA, LOCK = "experiment.json", "codec.json", "data.json", "lock"
CHECKPOINTS = "checkpoints"
COMMITTED = "commit_success.txt"
"""In a bucket, where nothing can be renamed, Orbax writes this last into a checkpoint."""


class Stored(NamedTuple):
    """What a run's folder says about the run.

    Attributes:
      experiment: its settings.
      codec: its codec.
      dataset: name and version, as in ``pop:1.0.0``.
      manifest: hash of the dataset's content.
      styles: styles of the dataset's pieces: those the model can be asked for.
      controls: optional controls that it can be asked for, see `music.controls`.
      heard: how often it heard each instrument in training.
    """

    experiment: configs.Experiment
    codec: Codec
    dataset: str
    manifest: str
    styles: tuple[str, ...]
    controls: tuple[str, ...]
    heard: Heard = Heard()


class _Data(TypedDict):
    dataset: str
    manifest: str
    styles: list[str]
    controls: list[str]
    heard: NotRequired[HeardCounts | None]


class _Metrics(TypedDict):
    val_loss: float


def folder(run: str | os.PathLike[str]) -> epath.Path:
    """Returns the absolute path of a run's folder, local or in a bucket, as Orbax requires."""
    return paths.absolute(run)


def read(run: str | epath.Path) -> Stored:
    """Reads the description of a run; raises UserError if the folder is not one."""
    path = folder(run)
    if not (path / EXPERIMENT).exists():
        raise UserError(f"Name the folder of a run: {path} holds no {EXPERIMENT}.")
    experiment = read_settings(outside.content(path / EXPERIMENT), path / EXPERIMENT)
    codec = read_codec(outside.content(path / CODEC), path / CODEC)
    data = outside.read(path / DATA, _Data)
    names = {name: tuple(data[name]) for name in ("styles", "controls")}
    return Stored(
        experiment,
        codec,
        data["dataset"],
        data["manifest"],
        **names,
        heard=heard(data.get("heard")),
    )


def steps(run: epath.Path) -> list[int]:
    """Steps of the finished checkpoints of a run, ascending."""
    folder = run / CHECKPOINTS
    # On a disk, a checkpoint gets its name, the bare number, when it is complete.
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    found = [name for name in names if name.isdecimal()]
    if paths.in_bucket(run):
        found = [name for name in found if (folder / name / COMMITTED).exists()]
    return sorted(int(name) for name in found)


def latest(run: str) -> int:
    """Returns the step of the latest finished checkpoint of a run, -1 if there is none."""
    return max(steps(folder(run)), default=-1)


def finished(run: epath.Path, step: int | None) -> int:
    """Returns the step, or the latest; raises UserError if the run has no checkpoint of it."""
    found = steps(run)
    if not found or (step is not None and step not in found):
        have = ", ".join(map(str, found)) or "none"
        wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
        raise UserError(f"Train {run} until it has {wanted}: so far it has {have}.")
    return found[-1] if step is None else step


def best(run: epath.Path) -> int | None:
    """Returns the finished checkpoint with the lowest validation loss; None if none has one."""
    # Orbax writes the metrics of a checkpoint there, as JSON.
    files = {step: run / CHECKPOINTS / str(step) / "metrics" / "metrics" for step in steps(run)}
    found = {s: outside.read(f, _Metrics) for s, f in files.items() if f.exists()}
    losses = {step: metrics["val_loss"] for step, metrics in found.items()}
    return min(losses, key=lambda step: losses[step]) if losses else None


def read_settings(text: str | bytes, where: object) -> configs.Experiment:
    """Reads the settings of a run or model from JSON."""
    remedy = f"Use the jaxmusic that wrote it, or {outside.RESTORE.lower()}"
    return settings.from_json(configs.Experiment, text, where, remedy)


def write(run: epath.Path, stored: Stored, hosts: Hosts, patience: float) -> None:
    """Writes the description for all processes; the others wait for it up to `patience` seconds."""
    if hosts.first:
        data = stored._asdict() | {"heard": stored.heard.as_json()}
        del data["experiment"], data["codec"]
        paths.write_text(run / DATA, json.dumps(data, indent=2))
        paths.write_text(run / CODEC, stored.codec.to_json())
        # What makes the folder a run comes last.
        paths.write_text(run / EXPERIMENT, settings.to_json(stored.experiment))
    hosts.barrier("the description of the run", patience)
    if not (run / EXPERIMENT).exists():
        raise UserError(
            f"Name a folder for the run that all hosts share: {hosts.name} does not see in {run} "
            "what process 0 has written there."
        )


def claim(run: epath.Path, experiment: configs.Experiment) -> Stored | None:
    """Checks that an experiment may go on in a folder.

    Args:
      run: the folder.
      experiment: the settings asked for.

    Returns:
      The description of the run that is there, with the settings asked for; None for a new run.

    Raises:
      UserError: the folder holds something else, or a run with other settings.
    """
    if not (run / EXPERIMENT).exists():
        ours = {LOCK, DATA, CODEC}
        # In a bucket a folder is there when something is in it.
        there = run.iterdir() if run.is_dir() else ()
        foreign = sorted(p.name for p in there if p.name not in ours and p.suffix != ".new")
        if foreign:
            raise UserError(
                f"Name an empty or new folder for the run: {run} holds {foreign[0]} and is not "
                "the folder of a run."
            )
        return None
    stored = read(run)
    was, wanted = settings.flat(stored.experiment), settings.flat(experiment)
    free = settings.marked(experiment, "resumable")
    for name, now in wanted.items():
        before = was.get(name)
        if before != now and name not in free:
            raise UserError(
                f"Set {name} back to {before!r}, or name another folder for a new run: {run} was "
                f"started with it and cannot go on with {now!r}."
            )
    return stored._replace(experiment=experiment)


def check_place(run: str | os.PathLike[str]) -> None:
    """Raises UserError where there can be no folder of a run, because a file is in its place."""
    path = folder(run)
    if paths.in_bucket(path):
        return
    if files := [p for p in (path, *path.parents) if p.exists() and not p.is_dir()]:
        raise UserError(f"Name a folder for the run, new or begun: {files[0]} is a file.")


@contextlib.contextmanager
def locked(run: epath.Path, hosts: Hosts) -> Iterator[None]:
    """Makes the folder and holds it against a second start; any death sets it free.

    Process 0 holds it for all. A local folder is free at once, one in a bucket when the lease has
    run out, see `leases.leased`.
    """
    bucket = paths.in_bucket(run)
    if not bucket:
        check_place(run)
        run.mkdir(parents=True, exist_ok=True)
    elif not str(run).startswith("gs://"):
        raise UserError(f"Name a local folder or one in gs://: checkpoints cannot go to {run}.")
    with contextlib.ExitStack() as stack:
        if hosts.first:
            busy = f"Wait for the process that trains in {run}, or stop it, or name another folder."
            hold = leases.leased if bucket else locks.held
            with explained(run):
                stack.enter_context(hold(run / LOCK, busy))
        yield


@contextlib.contextmanager
def explained(run: epath.Path) -> Iterator[None]:
    """Says in a sentence what to do when disk or device memory are full, or a bucket refuses."""
    try:
        with paths.explained(run):
            yield
    except UserError:
        raise
    except Exception as error:
        text = f"{error!r} {error.__cause__!r}"
        if getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text:
            raise UserError(
                f"Free some space on the full disk of {run} and run the same command again: the "
                "last finished checkpoint is intact, and the run resumes from it."
            ) from error
        if "RESOURCE_EXHAUSTED" in text:
            raise UserError(
                "Lower data.batch or data.context, or set model.remat: the device has too little "
                f"memory ({str(error).splitlines()[0]})."
            ) from error
        raise
