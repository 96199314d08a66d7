"""Weights alone: loading a trained model, and sharing it as one safetensors file.

Such a file is a complete model. Its arrays bear the names that parameters have in a run, such as
``layers.query``, with the layers stacked along the first axis; settings, codec, styles, controls
and step are in its header. Reading one executes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxmusic import config as configs
from jaxmusic.codecs.base import Codec
from jaxmusic.codecs.registry import read_codec
from jaxmusic.core import paths, settings
from jaxmusic.core.errors import UserError
from jaxmusic.models import adapters, base
from jaxmusic.models.params import Params
from jaxmusic.runs import checkpoint
from jaxmusic.runs import folder as runs

SUFFIX = ".safetensors"
FORMAT = "1"
"""Raised when what is in the header changes so that it must be read in another way."""
DTYPES = ("float32", "bfloat16")


class Saved(NamedTuple):
    """A trained model.

    Attributes:
      experiment: how it was trained.
      codec: its codec.
      params: parameters by name.
      styles: styles that it was trained on.
      step: step of the checkpoint.
      controls: optional controls that it was trained with, see `jaxmusic.music.controls`;
        tasks that it was trained for have a chance in ``experiment.data.tasks``.
    """

    experiment: configs.Experiment
    codec: Codec
    params: Params
    styles: tuple[str, ...]
    step: int
    controls: tuple[str, ...]


def load(source: str | epath.PathLike, step: int | None = None) -> Saved:
    """Reads a trained model, onto the first device.

    Args:
      source: folder of a run, which may be training at this moment, or a safetensors file that
        `export` wrote.
      step: which checkpoint; None for the best by validation, or the latest if none was validated.

    Raises:
      UserError: there is no such run, file or checkpoint, or the model in it is of another shape.
    """
    path = runs.folder(source)
    with _opened(path) as found:
        model, size = found.experiment.model, found.codec.vocab_size
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        adapter = adapters.of(found.experiment.adapter)
        whole = base.abstract_params(model, size)
        trained = jax.eval_shape(lambda p: adapter.init(p, jax.random.key(0)), whole)
        like = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
            for name, leaf in trained.items()
        }
        if step is None and found.file is None:
            step = checkpoint.best(path)
        step, params = found.read(like, step)
        frozen = load(found.experiment.init_from).params if adapter.has_base else {}
        params = adapter.merge(frozen, params)
    return Saved(found.experiment, found.codec, params, found.styles, step, found.controls)


def restore_params(
    source: str | epath.PathLike, like: dict[str, Any], step: int | None = None
) -> tuple[int, dict[str, jax.Array]]:
    """The weights of a checkpoint or file: the average of the parameters, where a run keeps one.

    Args:
      source: folder of a run, which may be going on, or a safetensors file.
      like: abstract parameters by name, with the shardings that the arrays will have.
      step: which checkpoint; None for the latest.

    Returns:
      The step of the weights, and the weights.

    Raises:
      UserError: there are no such weights, or they have other names, shapes or types.
    """
    with _opened(runs.folder(source)) as found:
        return found.read(like, step)


def codec_of(source: str | epath.PathLike) -> Codec:
    """The codec of a run or of a safetensors file."""
    with _opened(runs.folder(source)) as found:
        return found.codec


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

    target = paths.absolute(out)
    if target.suffix != SUFFIX:
        raise UserError(f"Name a file that ends in {SUFFIX}, not {out}.")
    if dtype not in DTYPES:
        raise UserError(f"Set dtype to {' or '.join(DTYPES)}, not {dtype}.")
    saved = load(run, step)
    arrays = {
        name: np.ascontiguousarray(np.asarray(leaf).astype(jnp.dtype(dtype)))
        for name, leaf in saved.params.items()
    }
    header = {
        "format": "jaxmusic",
        "version": FORMAT,
        "experiment": settings.to_json(_without_paths(saved.experiment)),
        "codec": saved.codec.to_json(),
        "styles": json.dumps(saved.styles),
        "controls": json.dumps(saved.controls),
        "step": str(saved.step),
    }
    with paths.written(target) as local:
        save_file(arrays, local, metadata=header)
    return saved.step


def dataset_of(source: str | epath.PathLike) -> tuple[str, str]:
    """The dataset that a run or a safetensors file was trained on, and the folder that it lay in.

    A file tells neither the dataset's version nor its folder; the folder is the usual one then.
    """
    with _opened(runs.folder(source)) as found:
        return found.dataset, found.experiment.data.data_dir


class _Opened:
    """A run's folder or a file, opened for reading weights."""

    def __init__(self, path: epath.Path, file: Any = None):
        self.path, self.file = path, file
        if file is None:
            stored = runs.read(path)
            self.experiment, self.codec, self.dataset = stored[:3]
            self.styles, self.controls = stored.styles, stored.controls
            return
        header = file.metadata() or {}
        if header.get("format") != "jaxmusic":
            raise UserError(
                f"Name a file that jaxmusic export wrote: {path} does not say what model it holds."
            )
        if header["version"] != FORMAT:
            raise UserError(
                f"Use a newer jaxmusic: {path} is of version {header['version']} and this one "
                f"reads version {FORMAT}."
            )
        self.experiment = runs.read_settings(header["experiment"], path)
        self.codec = read_codec(header["codec"])
        self.dataset = self.experiment.data.dataset
        self.styles = tuple(json.loads(header["styles"]))
        self.controls = tuple(json.loads(header["controls"]))

    def read(self, like: dict[str, Any], step: int | None) -> tuple[int, dict[str, jax.Array]]:
        """The step and the weights, laid out as those of `like`."""
        if self.file is None:
            step = checkpoint.finished(self.path, step)
            folder = self.path / checkpoint.FOLDER / str(step)
            average = folder / checkpoint.AVERAGE
            item = average if average.is_dir() else folder / "params"
            return step, checkpoint.restore_item(item, like)
        have = int(self.file.metadata()["step"])
        if step not in (None, have):
            raise UserError(f"Leave out the step, or give {have}: {self.path} has no other.")
        names = self.file.keys()
        checkpoint.compare(
            self.path,
            {name: str(self.file.get_slice(name).get_shape()) for name in names},
            {name: str(list(leaf.shape)) for name, leaf in like.items()},
        )
        return have, {name: self._placed(name, leaf) for name, leaf in like.items()}

    def _placed(self, name: str, leaf: Any) -> jax.Array:
        part = self.file.get_slice(name)

        def read(index: Any) -> np.ndarray:
            found = part[index] if index else self.file.get_tensor(name)
            if not np.can_cast(found.dtype, leaf.dtype):
                raise UserError(
                    f"Export {self.path} again: {name} is {found.dtype}, not {leaf.dtype}."
                )
            return found.astype(leaf.dtype)

        return jax.make_array_from_callback(leaf.shape, leaf.sharding, read)


@contextlib.contextmanager
def _opened(path: epath.Path) -> Iterator[_Opened]:
    """Opens the folder of a run, or a file that may lie in a bucket."""
    if path.suffix != SUFFIX:
        yield _Opened(path)
        return
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise UserError(f"There is no file {path}.")
    with paths.read(path) as local:
        try:
            file = safe_open(local, framework="np")
        except SafetensorError as error:
            raise UserError(
                f"Bring the whole of {path} again: it is no safetensors file, or a part of one "
                f"({error})."
            ) from error
        with file:
            yield _Opened(path, file)


def _without_paths(experiment: configs.Experiment) -> configs.Experiment:
    # The weights of an adapter are merged with those of its base.
    data = dataclasses.replace(experiment.data, data_dir=configs.Data.data_dir)
    return dataclasses.replace(
        experiment, data=data, adapter=configs.Full(), init_from="", resume_from=""
    )
