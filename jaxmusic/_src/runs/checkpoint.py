"""Checkpoints: a run's state on disk, saved in the background and restored bit for bit."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import jax
from etils import epath

from jaxmusic._src.core import outside, paths, settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.runs.state import State
from jaxmusic.version import __version__

FOLDER = runs.CHECKPOINTS
AVERAGE = "average"
"""Part of a checkpoint, and field of a state."""
_BOUND = {
    "seed": "seed {}",
    "manifest": "data of content {}",
    "codec": "a codec of fingerprint {}",
}
"""What the steps of a checkpoint have depended on, and how to speak of it."""


class _Validation(TypedDict):
    loss: float
    loss_per_note: float
    first: float


class _Info(TypedDict):
    seconds: float
    validation: NotRequired[_Validation | None]
    frozen: NotRequired[dict[str, Any]]
    seed: NotRequired[int]
    manifest: NotRequired[str]
    codec: NotRequired[str]


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint holds the parameters, their average where a run keeps one, the rest of the state,
    and a JSON object that says what they were made from. It is written in the background and
    counts only when it is complete, so that a run killed while saving still has the one before.
    Kept are the latest `config.Experiment.keep`, multiples of `keep_every`, the best by validation
    loss, and the first, against which a finished model can be compared.

    Of several processes each writes its own part of the arrays, and all must make the same calls.
    """

    def __init__(self, run: epath.Path, stored: runs.Stored):
        """Makes the folder, or opens it and removes what unfinished saves left there.

        Args:
          run: the run's folder.
          stored: what the run is made of; its settings say what is kept.
        """
        import orbax.checkpoint as ocp

        logging.getLogger("absl").addFilter(_worth_saying)
        self._folder = run / FOLDER
        self._about = _about(stored)
        experiment = stored.experiment
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_Preserved(experiment.keep, experiment.keep_every),
                best_fn=lambda metrics: metrics["val_loss"],
                best_mode="min",
                cleanup_tmp_directories=True,
            ),
            item_handlers={
                **{name: _arrays_handler() for name in ("params", AVERAGE, "rest")},
                "info": ocp.JsonCheckpointHandler(),
            },
        )

    def save(
        self, step: int, state: State, info: dict[str, Any], val_loss: float | None = None
    ) -> None:
        """Starts to save a state; it may be donated to the next step at once.

        Args:
          step: steps made, which names the checkpoint.
          state: what to save.
          info: a JSON object to keep with it. Step, seed, dataset, manifest, fingerprint of the
            codec, all settings and the version of this library are added.
          val_loss: validation loss at this step, for finding the best; None if not measured.

        Raises:
          OSError: there is too little room on the disk.
          ValueError: the save before this one failed in the background.
        """
        import orbax.checkpoint as ocp

        self.wait()
        if not paths.in_bucket(self._folder):
            _check_room(self._folder, state)
        items = {name: ocp.args.PyTreeSave(item) for name, item in _items(state).items()}
        about = ocp.args.JsonSave(self._about | info | {"step": step})
        known = val_loss is not None and math.isfinite(val_loss)
        self._manager.save(
            step,
            args=ocp.args.Composite(info=about, **items),
            metrics={"val_loss": val_loss} if known else None,
        )

    def wait(self) -> None:
        """Returns when everything saved is on disk; a failed save raises only here."""
        self._manager.wait_until_finished()

    def restore(self, step: int, like: State) -> tuple[State, dict[str, Any]]:
        """Restores the state and the JSON object of a checkpoint.

        Args:
          step: which one.
          like: abstract state with the shardings that the arrays will have: those of any mesh,
            over any number of processes.

        Raises:
          UserError: the checkpoint holds arrays of other names, shapes or types, or comes from
            another seed, other data or another codec.
        """
        folder = self._folder / str(step)
        info = _info(folder)
        if differences := _differences(info, self._about):
            raise UserError(
                f"Bring back the checkpoints that belong to this run, or start a new one: {folder} "
                f"was made with {differences}."
            )
        return _state(folder, like), info

    def close(self) -> None:
        """Frees the background threads; call `wait` first to learn of failed saves."""
        with contextlib.suppress(Exception):
            self._manager.close()
        logging.getLogger("absl").removeFilter(_worth_saying)


def restore_state(run: epath.Path, like: State, stored: runs.Stored) -> tuple[int, State, str]:
    """Restores the whole state of another run at its latest step.

    Args:
      run: the other run's folder.
      like: abstract state with the shardings that the arrays will have.
      stored: description of the run that continues from it.

    Returns:
      The step, the state, and in words what of the other run was not as it is here, or nothing.

    Raises:
      UserError: there is no such run or checkpoint, or it holds other names, shapes or types.
    """
    if run.suffix == ".safetensors":
        raise UserError(f"Use init_from in place of resume_from: {run} holds weights alone.")
    step = runs.finished(run, None)
    folder = run / FOLDER / str(step)
    if bool(like.average) != (folder / AVERAGE).is_dir():
        raise UserError(f"Set optimizer.ema to what {run} was trained with.")
    return step, _state(folder, like), _differences(_info(folder), _about(stored))


def restore_item(folder: epath.Path, like: Any) -> Any:
    """Restores one item of a checkpoint, such as ``RUN/checkpoints/400/params``."""
    import orbax.checkpoint as ocp

    handler = _arrays_handler()
    with _whole(folder):
        # Orbax casts silently to the type that is asked for: compare before restoring.
        compare(folder, _arrays(handler.metadata(folder)), _arrays(like))
        restore_args = ocp.checkpoint_utils.construct_restore_args(like)
        return handler.restore(
            folder, args=ocp.args.PyTreeRestore(item=like, restore_args=restore_args)
        )


@contextlib.contextmanager
def _whole(folder: epath.Path) -> Iterator[None]:
    """Turns what Orbax raises for damaged files into a sentence."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if full or paths.in_bucket(folder):  # which may be out of reach, and there again later
            raise
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"Restore the original files, or use another checkpoint: {folder} cannot be read "
            f"({type(error).__name__}: {said})."
        ) from error


def compare(where: epath.Path, have: Mapping[str, str], need: Mapping[str, str]) -> None:
    """Raises UserError at the first array, by name, that is not described as it must be."""
    for name in sorted(have.keys() | need.keys()):
        if have.get(name) != need.get(name):
            raise UserError(
                f"Use the model settings that {where} was trained with: it holds "
                f"{have.get(name, 'nothing')} as {name} where this model has "
                f"{need.get(name, 'nothing')}."
            )


def _about(stored: runs.Stored) -> dict[str, Any]:
    """Describes the origin of a checkpoint."""
    return {
        "seed": stored.experiment.seed,
        "dataset": stored.dataset,
        "manifest": stored.manifest,
        "codec": stored.codec.fingerprint,
        "experiment": settings.plain(stored.experiment),
        "jaxmusic": __version__,
    }


def _differences(info: dict[str, Any], about: dict[str, Any]) -> str:
    """Describes what differed when a checkpoint was made; checkpoints of 0.1 say less."""
    found = [
        f"{words.format(info[name])}, not {about[name]}"
        for name, words in _BOUND.items()
        if name in info and info[name] != about[name]
    ]
    return " and ".join(found)


def _check_room(folder: epath.Path, state: State) -> None:
    """Checks that the disk has room, since a disk that fills while writing gives many errors."""
    shards = [s for leaf in jax.tree.leaves(_items(state)) for s in leaf.addressable_shards]
    size = sum(shard.data.nbytes for shard in shards if shard.replica_id == 0)
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _info(folder: epath.Path) -> dict[str, Any]:
    """Reads the JSON object that was saved with a checkpoint."""
    return outside.read(folder / "info" / "metadata", _Info)


def _arrays_handler() -> Any:
    import orbax.checkpoint as ocp

    # Weights hardly get smaller by compression, which takes the cores from the steps meanwhile.
    return ocp.PyTreeCheckpointHandler(use_compression=False)


def _items(state: State) -> dict[str, Any]:
    """Returns the parts of a state that are saved and restored separately."""
    parts = state._asdict()
    del parts["frozen"]
    items = {name: parts.pop(name) for name in ("params", AVERAGE)}
    # Nothing stands for what is empty, as in the checkpoints of jaxmusic 0.1, which knew no more.
    items["rest"] = {"params": {}} | {n: part for n, part in parts.items() if jax.tree.leaves(part)}
    return {name: item for name, item in items.items() if item}


def _state(folder: epath.Path, like: State) -> State:
    """Reads what `_items` names from a checkpoint; frozen parameters are put in by the caller."""
    found = {name: restore_item(folder / name, item) for name, item in _items(like).items()}
    found = {**found.pop("rest"), AVERAGE: {}, **found}
    return like._replace(**found, frozen={name: {} for name in like.frozen})


def _worth_saying(record: logging.LogRecord) -> bool:
    """Leaves out tracebacks of errors that `wait` raises anyway, and what is as it should be."""
    text = str(record.msg)
    usual = ("_SignalingThread", "tracked_metric", "Waiting for previous save", "Sharding info")
    return not any(words in text for words in usual)


class _Preserved:
    """Orbax's preservation policy: the latest `keep`, multiples of `every`, best and first."""

    def __init__(self, keep: int, every: int):
        self.keep, self.every = keep, every

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        count = len(checkpoints)
        losses = {i: c.metrics["val_loss"] for i, c in enumerate(checkpoints) if c.metrics}
        best = min(losses, key=lambda i: losses[i]) if losses else 0
        return [
            i in (0, best)
            or i >= count - max(self.keep, 1)
            or (self.every > 0 and c.step % self.every == 0)
            for i, c in enumerate(checkpoints)
        ]


def _arrays(tree: Any) -> dict[str, str]:
    """Describes type and shape of every array of a tree, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in leaves
    }
