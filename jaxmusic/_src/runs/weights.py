"""Weights alone: loading a trained model, and sharing it as one safetensors file.

Such a file is a complete model. Its arrays bear the names that parameters have in a run, such as
``layers.query``, with the layers stacked along the first axis; settings, codec, styles, controls
and step are in its header. Reading one executes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxmusic import config as configs
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core import outside, paths, settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.instruments import Heard
from jaxmusic._src.models import adapters, base
from jaxmusic._src.models.params import Params
from jaxmusic._src.runs import checkpoint, described
from jaxmusic._src.runs import folder as runs
from jaxmusic.config.fields import STEP

DTYPES = ("float32", "bfloat16")


class Saved(NamedTuple):
    """A trained model.

    Attributes:
      experiment: how it was trained.
      codec: its codec.
      params: parameters by name.
      styles: styles that it was trained on.
      step: step of the checkpoint.
      controls: optional controls that it was trained with, see `music.controls`;
        tasks that it was trained for have a chance in ``experiment.data.tasks``.
      heard: how often it heard each instrument in training.
    """

    experiment: configs.Experiment
    codec: Codec
    params: Params
    styles: tuple[str, ...]
    step: int
    controls: tuple[str, ...]
    heard: Heard = Heard()


def load(source: str | epath.PathLike, step: int | None = None) -> Saved:
    """Reads a trained model, onto the first device.

    Args:
      source: folder of a run, which may be training at this moment, or a safetensors file that
        `export` wrote.
      step: which checkpoint; None for the best by validation, or the latest if none was validated.

    Raises:
      UserError: there is no such run, file or checkpoint, the model in it is of another shape, or
        some of its weights are not finite.
    """
    path = runs.folder(source)
    if step is None and path.suffix != described.SUFFIX:
        step = runs.best(path)
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    with _opened(path) as (stored, read):
        experiment = stored.experiment
        adapter = adapters.of(experiment.adapter)
        try:
            whole = base.abstract_params(experiment.model, stored.codec.vocab_size)
        except UserError as error:
            raise UserError(f"{outside.RESTORE}: {path} holds no model. {error}") from error
        trained = jax.eval_shape(lambda p: adapter.init(p, jax.random.key(0)), whole)
        like = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
            for name, leaf in trained.items()
        }
        step, params = read(like, step)
    _check_finite(source, step, params)
    frozen = load(experiment.init_from).params if adapter.has_base else {}
    params = adapter.merge(frozen, params)
    return Saved(
        experiment, stored.codec, params, stored.styles, step, stored.controls, stored.heard
    )


def restore_params(
    source: str | epath.PathLike, like: dict[str, Any]
) -> tuple[int, dict[str, jax.Array]]:
    """Restores the weights of a run's latest checkpoint or of a file, averaged if a run does.

    Args:
      source: folder of a run, which may be going on, or a safetensors file.
      like: abstract parameters by name, with the shardings that the arrays will have.

    Returns:
      The step of the weights, and the weights.

    Raises:
      UserError: there are no such weights, they have other names, shapes or types, or are not
        finite.
    """
    with _opened(runs.folder(source)) as (_, read):
        step, params = read(like, None)
    _check_finite(source, step, params)
    return step, params


def export(
    run: str | epath.PathLike,
    out: str | epath.PathLike,
    step: int | None = None,
    dtype: str = "float32",
) -> int:
    """Writes a trained model as one safetensors file.

    Paths of this machine are left out of the settings in it: it is there to be passed on.

    Args:
      run: folder of the run.
      out: the file, ending in .safetensors, on local disk or in a bucket.
      step: which checkpoint; None for the best by validation, or the latest if none was validated.
      dtype: float32, which keeps every bit, or bfloat16 for half the size.

    Returns:
      The step of the checkpoint.

    Raises:
      UserError: there is no such run or checkpoint, or `out` or `dtype` cannot be.
    """
    from safetensors.numpy import save_file

    target = described.check_name(out)
    if dtype not in DTYPES:
        raise UserError(f"Set dtype to {' or '.join(DTYPES)}, not {dtype}.")
    saved = load(run, step)
    arrays = {
        name: np.ascontiguousarray(np.asarray(leaf).astype(jnp.dtype(dtype)))
        for name, leaf in saved.params.items()
    }
    header = {
        "format": "jaxmusic",
        "version": described.FORMAT,
        "experiment": settings.to_json(_without_paths(saved.experiment)),
        "codec": saved.codec.to_json(),
        "styles": json.dumps(saved.styles),
        "controls": json.dumps(saved.controls),
        "heard": json.dumps(saved.heard.as_json()),
        "step": str(saved.step),
    }
    with paths.written(target) as local:
        save_file(arrays, local, metadata=header)
    return saved.step


Reader = Callable[[dict[str, Any], int | None], tuple[int, Params]]
"""Reads the weights of a step, or of the latest, laid out as some abstract parameters."""


@contextlib.contextmanager
def _opened(path: epath.Path) -> Iterator[tuple[runs.Stored, Reader]]:
    """Opens the folder of a run, or a file that may lie in a bucket."""
    if path.suffix != described.SUFFIX:
        yield runs.read(path), functools.partial(_read_run, path)
        return
    with described.opened(path) as file:
        stored = described.of_header(path, file.metadata() or {})
        yield stored, functools.partial(_read_file, path, file)


def _read_run(path: epath.Path, like: dict[str, Any], step: int | None) -> tuple[int, Params]:
    step = runs.finished(path, step)
    folder = path / checkpoint.FOLDER / str(step)
    average = folder / checkpoint.AVERAGE
    item = average if average.is_dir() else folder / "params"
    return step, checkpoint.restore_item(item, like)


def _read_file(
    path: epath.Path, file: Any, like: dict[str, Any], step: int | None
) -> tuple[int, Params]:
    have = outside.parse(file.metadata()["step"], Annotated[int, STEP], f"{path}, step,")
    if step not in (None, have):
        raise UserError(f"Leave out the step, or give {have}: {path} has no other.")
    parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    checkpoint.compare(
        path,
        {name: str(part.get_shape()) for name, part in parts.items()},
        {name: str(list(leaf.shape)) for name, leaf in like.items()},
    )

    def placed(name: str, leaf: Any) -> jax.Array:
        def read(index: Any) -> np.ndarray:
            found = parts[name][index] if index else file.get_tensor(name)
            if not np.can_cast(found.dtype, leaf.dtype):
                raise UserError(f"Export {path} again: {name} is {found.dtype}, not {leaf.dtype}.")
            return found.astype(leaf.dtype)

        return jax.make_array_from_callback(leaf.shape, leaf.sharding, read)

    return have, {name: placed(name, leaf) for name, leaf in like.items()}


def _check_finite(source: str | epath.PathLike, step: int, params: Params) -> None:
    """Raises UserError where weights are NaN or infinite, which no music can come of."""
    finite = jax.jit(lambda p: {name: jnp.isfinite(leaf).all() for name, leaf in p.items()})
    wrong = sorted(name for name, good in finite(params).items() if not np.asarray(good))
    if wrong:
        raise UserError(
            f"Use another checkpoint, or train again with a lower optimizer.learning_rate: {source}"
            f" has weights that are not finite at step {step} ({wrong[0]})."
        )


def _without_paths(experiment: configs.Experiment) -> configs.Experiment:
    # The weights of an adapter are merged with those of its base.
    data = dataclasses.replace(experiment.data, data_dir=configs.Data.data_dir)
    return dataclasses.replace(
        experiment, data=data, adapter=configs.Full(), init_from="", resume_from=""
    )
