"""Sharding rules from logical axes to axes of the mesh."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmusic.core.errors import UserError
from jaxmusic.models.layout import Axes


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """Mesh axes that split each logical axis; empty for none."""

    batch: tuple[str, ...] = ("replica", "fsdp")
    """Rows of a batch."""
    sequence: tuple[str, ...] = ("context",)
    """Tokens of a row."""
    vocab: tuple[str, ...] = ()
    """Token ids; a few thousand rows are not worth splitting."""
    embed: tuple[str, ...] = ("fsdp",)
    """Width of the residual stream, in parameters."""
    heads: tuple[str, ...] = ("tensor",)
    """Query heads."""
    kv_heads: tuple[str, ...] = ("tensor",)
    """Key and value heads."""
    head_dim: tuple[str, ...] = ()
    """Width of a head."""
    hidden: tuple[str, ...] = ("tensor",)
    """Hidden units of the SwiGLU layer."""
    layers: tuple[str, ...] = ()
    """Layers."""


def spec(
    rules: ShardingRules, axes: Axes, mesh: Mesh, shape: tuple[int, ...] | None = None
) -> PartitionSpec:
    """Returns the partition of an array with these logical axes.

    Args:
      rules: mesh axes of each logical axis.
      axes: logical axes of the array.
      mesh: the mesh.
      shape: sizes of the array's axes, checked for divisibility if given.

    Returns:
      The partition of each axis.

    Raises:
      UserError: if a logical or mesh axis is unknown, two axes of the array have the same mesh
        axis, or an axis does not divide.
    """
    known = {field.name for field in dataclasses.fields(rules)}
    used: dict[str, str] = {}
    parts: list[tuple[str, ...] | None] = []
    for place, axis in enumerate(axes):
        if axis is not None and axis not in known:
            raise UserError(f"Name axes {', '.join(sorted(known))}, not {axis!r}.")
        split = () if axis is None else getattr(rules, axis)
        for name in split:
            if name not in mesh.shape:
                raise UserError(
                    f"Split {axis} over {', '.join(mesh.axis_names)}: the mesh has no {name!r}."
                )
            if name in used:
                raise UserError(
                    f"Split {used[name]} and {axis} over different axes of the mesh: one array "
                    f"cannot use {name} twice."
                )
            used[name] = str(axis)
        ways = math.prod(mesh.shape[name] for name in split)
        if shape is not None and shape[place] % ways:
            raise UserError(
                f"Choose a mesh whose {' x '.join(split)} divides the model: {axis} of size "
                f"{shape[place]} cannot be split over {ways} devices."
            )
        parts.append(split or None)
    return PartitionSpec(*parts)


def shardings(
    axes: Mapping[str, Axes], shapes: Mapping[str, Any], mesh: Mesh, rules: ShardingRules
) -> dict[str, NamedSharding]:
    """Returns the sharding of each parameter, by its name.

    Args:
      axes: names of the axes of each parameter.
      shapes: the parameters, concrete or abstract.
      mesh: the mesh.
      rules: mesh axes of each logical axis.
    """
    return {
        name: NamedSharding(mesh, spec(rules, axes[name], mesh, leaf.shape))
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
                f"Set mesh.{name} to 1, or name {name} in the sharding rules: they split nothing "
                f"over it, so its {size} devices would all compute the same."
            )


def batch_sharding(
    mesh: Mesh, rules: ShardingRules, rows: int, parts: int = 1, context: int | None = None
) -> NamedSharding:
    """Returns the sharding of arrays [rows, T]; raises UserError if rows or tokens do not divide.

    Args:
      mesh: the mesh.
      rules: mesh axes of each logical axis.
      rows: rows of a batch.
      parts: micro-batches, computed one after another on all devices.
      context: tokens of a row, checked for divisibility if given.
    """
    ways = math.prod(mesh.shape[name] for name in rules.batch)
    if parts < 1 or rows % (ways * parts):
        of_each = f" in {parts} parts each" if parts != 1 else ""
        raise UserError(
            f"Set data.batch to a multiple of {ways * max(parts, 1)}: {rows} rows cannot be split "
            f"over {ways} devices{of_each}."
        )
    ways = math.prod(mesh.shape[name] for name in rules.sequence)
    if context is not None and context % ways:
        raise UserError(
            f"Set data.context to a multiple of {ways}: rows of {context} tokens cannot be split "
            f"over {ways} devices."
        )
    return NamedSharding(mesh, spec(rules, ("batch", "sequence"), mesh))


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
