"""Checkpoints: a run's state on disk, saved in the background and restored bit for bit."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from etils import epath
from flax import nnx

from jaxmusic import config as configs
from jaxmusic.codecs.base import Codec
from jaxmusic.errors import UserError
from jaxmusic.models import transformer
from jaxmusic.train import run as runs
from jaxmusic.train.step import State, named, unnamed

FOLDER = "checkpoints"
AVERAGE = "average"
"""Part of a checkpoint, and field of a state."""


class Saved(NamedTuple):
    """A trained model.

    Attributes:
      experiment: how it was trained.
      codec: its codec.
      params: parameters as `jaxmusic.models.transformer.apply` takes them.
      styles: styles that it was trained on.
      step: step of the checkpoint.
    """

    experiment: configs.Experiment
    codec: Codec
    params: nnx.State
    styles: tuple[str, ...]
    step: int


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint holds the parameters, their average where a run keeps one, the rest of the state,
    and a JSON object. It is written in the background, under another name until it is complete,
    so that a run killed while saving still has the one before. Kept are the latest `keep`, the
    best by validation loss, and the first, against which a finished model can be compared.
    """

    def __init__(self, run: epath.Path, keep: int):
        """Makes the folder, or opens it and removes what unfinished saves left there."""
        import orbax.checkpoint as ocp

        logging.getLogger("absl").addFilter(_worth_saying)
        self._ocp = ocp
        self._folder = run / FOLDER
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_Preserved(keep),
                best_fn=lambda metrics: metrics["val_loss"],
                best_mode="min",
                cleanup_tmp_directories=True,
            ),
            item_handlers={
                "params": ocp.StandardCheckpointHandler(),
                AVERAGE: ocp.StandardCheckpointHandler(),
                "rest": ocp.StandardCheckpointHandler(),
                "info": ocp.JsonCheckpointHandler(),
            },
        )

    def latest(self) -> int | None:
        """Step of the latest finished checkpoint; to be called before any `save`."""
        return self._manager.latest_step()

    def save(
        self, step: int, state: State, info: dict[str, Any], val_loss: float | None = None
    ) -> None:
        """Starts to save a state; it may be donated to the next step at once.

        Args:
          step: steps made, which names the checkpoint.
          state: what to save.
          info: a JSON object to keep with it.
          val_loss: validation loss at this step, for finding the best; None if not measured.

        Raises:
          OSError: there is too little room on the disk.
          ValueError: the save before this one failed in the background.
        """
        args = self._ocp.args
        self.wait()
        # Known before anything is written, this is one error; amid writing, it is a dozen.
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        if "://" not in str(self._folder) and shutil.disk_usage(self._folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
        self._manager.save(
            step,
            args=args.Composite(
                info=args.JsonSave(info),
                **{name: args.StandardSave(item) for name, item in _items(state).items()},
            ),
            metrics=None if val_loss is None else {"val_loss": val_loss},
        )

    def wait(self) -> None:
        """Returns when everything saved is on disk; a failed save raises only here."""
        self._manager.wait_until_finished()

    def restore(self, step: int, like: State) -> tuple[State, dict[str, Any]]:
        """The state and the JSON object of a checkpoint.

        Args:
          step: which one.
          like: abstract state with the shardings that the arrays shall have.

        Raises:
          UserError: if the checkpoint holds arrays of other names, shapes or types.
        """
        args = self._ocp.args
        found, items = self._manager.item_metadata(step), _items(like)
        for name, item in items.items():
            _check(self._folder / str(step), found[name], item)
        restored = self._manager.restore(
            step,
            args=args.Composite(
                info=args.JsonRestore(),
                **{name: args.StandardRestore(item) for name, item in items.items()},
            ),
        )
        return _state({name: restored[name] for name in items}, like), restored.info

    def close(self) -> None:
        """Frees the background threads; call `wait` first to learn of failed saves."""
        with contextlib.suppress(Exception):
            self._manager.close()
        logging.getLogger("absl").removeFilter(_worth_saying)


def steps(run: epath.Path) -> list[int]:
    """Steps of the finished checkpoints of a run, ascending."""
    folder = run / FOLDER
    # A checkpoint gets its name, the bare number, when it is complete.
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def best(run: epath.Path) -> int | None:
    """Step of the kept checkpoint with the lowest validation loss; None if none was validated."""
    import orbax.checkpoint as ocp

    handler = ocp.JsonCheckpointHandler(filename="metrics")
    folders = {step: run / FOLDER / str(step) / "metrics" for step in steps(run)}
    losses = {s: handler.restore(f)["val_loss"] for s, f in folders.items() if f.is_dir()}
    return min(losses, key=lambda step: losses[step]) if losses else None


def load(run: str | epath.PathLike, step: int | None = None) -> Saved:
    """Reads a trained model, onto the first device.

    Args:
      run: folder of the run; it may be training at this moment.
      step: which checkpoint; None for the best by validation, or the latest if none was validated.

    Raises:
      UserError: there is no such run or checkpoint, or the model in it is of another shape.
    """
    path = runs.folder(run)
    stored = runs.read(path)
    model, size = stored.experiment.model, stored.codec.vocab_size
    _, abstract = jax.eval_shape(lambda: transformer.make(model, size, 0))
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
        for name, leaf in named(abstract).items()
    }
    step = best(path) if step is None else step
    step, params = restore_params(path, like, step)
    return Saved(stored.experiment, stored.codec, unnamed(abstract, params), stored.styles, step)


def restore_params(
    run: epath.Path, like: dict[str, Any], step: int | None = None
) -> tuple[int, dict[str, jax.Array]]:
    """The weights of a checkpoint alone: the average of the parameters, where the run keeps one.

    Args:
      run: the run's folder; the run may be going on.
      like: abstract parameters by name, with the shardings that the arrays shall have.
      step: which checkpoint; None for the latest.

    Returns:
      The checkpoint's step and its parameters.

    Raises:
      UserError: there is no such checkpoint, or it holds other names, shapes or types.
    """
    step = _finished(run, step)
    folder = run / FOLDER / str(step)
    average = folder / AVERAGE
    return step, _restored(average if average.exists() else folder / "params", like)


def restore_state(run: epath.Path, like: State) -> tuple[int, State]:
    """The latest step of another run and its whole state; `like` as in `restore_params`."""
    step = _finished(run, None)
    folder = run / FOLDER / str(step)
    items = _items(like)
    if (AVERAGE in items) != (folder / AVERAGE).exists():
        raise UserError(f"Set optimizer.ema to what {run} was trained with, whose state goes on.")
    return step, _state(
        {name: _restored(folder / name, item) for name, item in items.items()}, like
    )


def _items(state: State) -> dict[str, Any]:
    """The parts of a state that are saved and restored by themselves."""
    parts = state._asdict()
    items = {name: parts.pop(name) for name in ("params", AVERAGE)}
    # Nothing stands for what is empty, as in the checkpoints of jaxmusic 0.1, which knew no more.
    items["rest"] = {"params": {}} | {n: part for n, part in parts.items() if jax.tree.leaves(part)}
    return {name: item for name, item in items.items() if item}


def _state(items: dict[str, Any], like: State) -> State:
    """The reverse of `_items`."""
    whole = {**items["rest"], "params": items["params"], AVERAGE: items.get(AVERAGE, {})}
    return like._replace(**whole)


def _finished(run: epath.Path, step: int | None) -> int:
    """The step, or the latest, if the run has a checkpoint of it."""
    found = steps(run)
    if not found or (step is not None and step not in found):
        have = ", ".join(map(str, found)) or "none"
        wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
        raise UserError(f"Train {run} until it has {wanted}: so far it has {have}.")
    return found[-1] if step is None else step


def _restored(folder: epath.Path, like: Any) -> Any:
    """One item of a checkpoint."""
    import orbax.checkpoint as ocp

    handler = ocp.StandardCheckpointHandler()
    _check(folder, handler.metadata(folder), like)
    return handler.restore(folder, args=ocp.args.StandardRestore(like))


def _check(folder: epath.Path, found: Any, wanted: Any) -> None:
    """Orbax casts silently to the type that is asked for: compare before restoring."""
    have, need = _arrays(found), _arrays(wanted)
    for name in sorted(have.keys() | need.keys()):
        if have.get(name) != need.get(name):
            raise UserError(
                f"Use the model settings that {folder} was trained with: it holds "
                f"{have.get(name, 'nothing')} as {name} where this model has "
                f"{need.get(name, 'nothing')}."
            )


def _worth_saying(record: logging.LogRecord) -> bool:
    """Leaves out tracebacks of errors that `wait` raises anyway, and saves without validation."""
    text = str(record.msg)
    return "_SignalingThread" not in text and "tracked_metric" not in text


class _Preserved:
    """Orbax's preservation policy: the latest `keep`, the best and the first."""

    def __init__(self, keep: int):
        self.keep = keep

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        count = len(checkpoints)
        losses = {i: c.metrics["val_loss"] for i, c in enumerate(checkpoints) if c.metrics}
        best = min(losses, key=lambda i: losses[i]) if losses else 0
        return [i in (0, best) or i >= count - max(self.keep, 1) for i in range(count)]


def _arrays(tree: Any) -> dict[str, str]:
    """Shape and type of every array of a tree, by path."""
    out = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        keys = (getattr(k, "key", getattr(k, "name", getattr(k, "idx", k))) for k in path)
        out["/".join(str(key) for key in keys)] = f"{leaf.dtype}{list(leaf.shape)}"
    return out
