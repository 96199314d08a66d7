"""Activation sharding as seen by a model."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Axes = tuple[str | None, ...]
"""Names of the axes of an array, fields of `models.sharding.ShardingRules`; None is never split."""


class Split(Protocol):
    """Maps the named axes of an array to axes of the mesh."""

    def __call__(self, axes: Axes, *, shape: tuple[int, ...] | None = None) -> PartitionSpec:
        """Returns the partition; raises UserError if a given shape does not divide."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh and the partition of named axes over it.

    A model names the axes batch, sequence, heads, kv_heads and vocab of its activations; the layout
    maps them to axes of the mesh.

    Attributes:
      mesh: the devices of the program, not necessarily of this machine.
      split: partition of an array by the names of its axes.
    """

    mesh: Mesh
    split: Split

    @property
    def platform(self) -> str:
        """Platform of the mesh: cpu, gpu or tpu."""
        return self.mesh.devices.flat[0].platform

    def over(self, axis: str) -> tuple[str, ...]:
        """Axes of the mesh that split this axis into more than one part."""
        names = self.split((axis,))[0] or ()
        names = (names,) if isinstance(names, str) else names
        return tuple(name for name in names if self.mesh.shape[name] > 1)

    def ways(self, axis: str) -> int:
        """Number of parts into which this axis is split."""
        ways = 1
        for name in self.over(axis):
            ways *= self.mesh.shape[name]
        return ways

    def constrain(self, x: jax.Array, axes: Axes) -> jax.Array:
        """Constrains the sharding of an activation."""
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, self.split(axes)))


def constrain(layout: Layout | None, x: jax.Array, axes: Axes) -> jax.Array:
    """Constrains the sharding of an activation if there is a layout."""
    return x if layout is None else layout.constrain(x, axes)
