"""Where a program's arrays lie, as far as a model has to know."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Axes = tuple[str | None, ...]
"""Name of each axis of an array, a field of `models.sharding.ShardingRules`; None for one that is
never split."""


class Split(Protocol):
    """Says which axes of the mesh split the named axes of an array."""

    def __call__(self, axes: Axes, *, shape: tuple[int, ...] | None = None) -> PartitionSpec:
        """The partition; raises UserError if a shape is given that does not divide."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """A mesh, and how arrays with named axes are split over it.

    A model knows the axes batch, sequence, heads, kv_heads and vocab of its activations; which axes
    of the mesh they lie on is decided outside of it.

    Attributes:
      mesh: the devices that the program is for; they need not be those of this machine.
      split: partition of an array by the names of its axes.
    """

    mesh: Mesh
    split: Split

    @property
    def platform(self) -> str:
        """cpu, gpu or tpu."""
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
        """Lays an activation out over the mesh."""
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, self.split(axes)))


def constrain(layout: Layout | None, x: jax.Array, axes: Axes) -> jax.Array:
    """Lays an activation out, or leaves that to the compiler where there is no layout."""
    return x if layout is None else layout.constrain(x, axes)
