"""Which axis of an array lies along which axis of the mesh."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxmusic.errors import UserError

Axes = tuple[str | None, ...]
"""Name of each axis of an array: a field of `ShardingRules`, or None for one never split."""


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """Mesh axes over which each logical axis is split; empty for none."""

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
    """How an array with these logical axes is split over the mesh.

    Args:
      rules: mesh axes of each logical axis.
      axes: logical axes of the array.
      mesh: the mesh.
      shape: sizes of the array's axes, checked for divisibility if given.

    Returns:
      The partition of each axis.

    Raises:
      UserError: if a logical or mesh axis is unknown, two axes of the array want the same mesh
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


def shardings(state: Any, mesh: Mesh, rules: ShardingRules) -> Any:
    """Shardings of a training state.

    Args:
      state: any tree, concrete or abstract; an NNX variable with metadata `axes` (parameters,
        and the moments that optax derives from them) is split by the rules, the rest replicated.
      mesh: the mesh.
      rules: mesh axes of each logical axis.

    Returns:
      The same tree with a NamedSharding in the place of every array.
    """

    def leaf(value: Any) -> Any:
        if not isinstance(value, nnx.Variable):
            return NamedSharding(mesh, PartitionSpec())
        axes = value.get_metadata()["axes"]
        array = value[...] if not hasattr(value, "get_value") else value.get_value()
        return value.replace(NamedSharding(mesh, spec(rules, axes, mesh, array.shape)))

    return jax.tree.map(leaf, state, is_leaf=lambda value: isinstance(value, nnx.Variable))


def batch_sharding(mesh: Mesh, rules: ShardingRules, rows: int, parts: int = 1) -> NamedSharding:
    """Sharding of arrays [rows, T]; raises UserError if the rows do not divide.

    Args:
      mesh: the mesh.
      rules: mesh axes of each logical axis.
      rows: rows of a batch.
      parts: parts of a batch that are computed one after another, each on all devices.
    """
    ways = math.prod(mesh.shape[name] for name in rules.batch)
    if parts < 1 or rows % (ways * parts):
        of_each = f" in {parts} parts each" if parts != 1 else ""
        raise UserError(
            f"Set data.batch to a multiple of {ways * max(parts, 1)}: {rows} rows cannot be split "
            f"over {ways} devices{of_each}."
        )
    return NamedSharding(mesh, spec(rules, ("batch", "sequence"), mesh))


def constrain(mesh: Mesh, rules: ShardingRules) -> Callable[[jax.Array, Axes], jax.Array]:
    """A function (array, logical axes) -> array that lays an activation out over the mesh."""

    def apply(x: jax.Array, axes: Axes) -> jax.Array:
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec(rules, axes, mesh)))

    return apply
