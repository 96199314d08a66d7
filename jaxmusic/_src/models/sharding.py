"""Shardings of parameters, optimizer states and batches, and the rows of each process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models.layout import RULES, Axes, spec


def shardings(
    axes: Mapping[str, Axes], shapes: Mapping[str, Any], mesh: Mesh
) -> dict[str, NamedSharding]:
    """Returns the sharding of each parameter, by its name.

    Args:
      axes: names of the axes of each parameter.
      shapes: the parameters, concrete or abstract.
      mesh: the mesh.
    """
    return {
        name: NamedSharding(mesh, spec(mesh, axes[name], leaf.shape))
        for name, leaf in shapes.items()
    }


def of_moment(place: NamedSharding, like: tuple[int, ...], shape: tuple[int, ...]) -> NamedSharding:
    """Returns the sharding of an optimizer state for a parameter.

    A moment of the parameter's shape is split like the parameter. One that lacks an axis, such as
    Adafactor's sums over rows and columns, is split like the remaining axes. Anything else is small
    and replicated.

    Args:
      place: sharding of the parameter.
      like: shape of the parameter.
      shape: shape of the moment.
    """
    if shape == like:
        return place
    parts = (*place.spec, *[None] * (len(like) - len(place.spec)))
    for axis in range(len(like)):
        if shape == like[:axis] + like[axis + 1 :]:
            return NamedSharding(place.mesh, PartitionSpec(*parts[:axis], *parts[axis + 1 :]))
    return NamedSharding(place.mesh, PartitionSpec())


def check_used(mesh: Mesh, places: Any) -> None:
    """Raises UserError if an axis of the mesh splits nothing.

    Args:
      mesh: the mesh.
      places: a tree of the shardings of all parameters and batches.
    """
    used: set[str] = set()
    for place in jax.tree.leaves(places):
        for part in place.spec:
            used.update((part,) if isinstance(part, str) else part or ())
    for name, size in mesh.shape.items():
        if size > 1 and name not in used:
            raise UserError(
                f"Set mesh.{name} to 1: nothing of this model is split over it, so its {size} "
                "devices would all compute the same."
            )


def batch_sharding(
    mesh: Mesh, rows: int, parts: int = 1, context: int | None = None
) -> NamedSharding:
    """Returns the sharding of arrays [rows, T]; raises UserError if rows or tokens do not divide.

    Args:
      mesh: the mesh.
      rows: rows of a batch.
      parts: micro-batches, computed one after another on all devices.
      context: tokens of a row, checked for divisibility if given.
    """
    ways = math.prod(mesh.shape[name] for name in RULES["batch"])
    if parts < 1 or rows % (ways * parts):
        of_each = f" in {parts} parts each" if parts != 1 else ""
        raise UserError(
            f"Set data.batch to a multiple of {ways * max(parts, 1)}: {rows} rows cannot be split "
            f"over {ways} devices{of_each}."
        )
    ways = math.prod(mesh.shape[name] for name in RULES["sequence"])
    if context is not None and context % ways:
        raise UserError(
            f"Set data.context to a multiple of {ways}: rows of {context} tokens cannot be split "
            f"over {ways} devices."
        )
    return NamedSharding(mesh, spec(mesh, ("batch", "sequence")))


def process_rows(
    place: NamedSharding, shape: tuple[int, ...], process: int | None = None
) -> tuple[int, int]:
    """Returns which rows of an array a process has to read.

    Processes whose devices lie along `context` or `tensor` hold the same rows, or columns of them,
    and read the same ones; `jax.make_array_from_process_local_data` picks the part of each device.
    The rows of a process need not be contiguous: TPUs are ordered by links, not by hosts.

    Args:
      place: sharding of the array.
      shape: shape of the array.
      process: index of the process; this one when None.

    Returns:
      (index, count): the process reads block `index` of `count` equal blocks of rows. Without such
      a pattern every process reads all rows: (0, 1).
    """
    held: dict[int, set[int]] = {}
    parts: Mapping[Any, Any] = place.devices_indices_map(shape)
    for device, index in parts.items():
        held.setdefault(device.process_index, set()).add(index[0].start or 0)
    blocks = sorted({frozenset(rows) for rows in held.values()}, key=min)
    whole = len(frozenset.union(*blocks))
    if any(len(block) * len(blocks) != whole for block in blocks):
        return 0, 1
    mine = jax.process_index() if process is None else process
    return blocks.index(frozenset(held[mine])), len(blocks)
