"""Layout of arrays over the mesh: names of axes, and gathering parameters where they are used."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from jaxmusic._src.core.errors import UserError

Axes = tuple[str | None, ...]
"""Names of the axes of an array, keys of `RULES`; None is never split."""

RULES: dict[str, tuple[str, ...]] = {
    "batch": ("replica", "fsdp"),
    "sequence": ("context",),
    # A few thousand rows are not worth splitting.
    "vocab": (),
    # The width of the residual stream is split in parameters only.
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "head_dim": (),
    "hidden": ("tensor",),
    "layers": (),
}
"""Axes of the mesh that split each named axis."""


def spec(
    mesh: Mesh | AbstractMesh, axes: Axes, shape: tuple[int, ...] | None = None
) -> PartitionSpec:
    """Returns the partition of an array with these axes.

    Raises:
      UserError: a shape is given and one of its axes does not divide.
    """
    parts = [RULES[axis] if axis else () for axis in axes]
    for axis, split, size in zip(axes, parts, shape or ()):
        ways = math.prod(mesh.shape[name] for name in split)
        if size % ways:
            raise UserError(
                f"Choose a mesh whose {' x '.join(split)} divides the model: {axis} of size "
                f"{size} cannot be split over {ways} devices."
            )
    return PartitionSpec(*(split or None for split in parts))


@dataclasses.dataclass(frozen=True)
class Layout:
    """The layout of the activations of a program over its mesh.

    Attributes:
      mesh: the devices of the program, not necessarily of this machine.
    """

    mesh: Mesh

    @property
    def platform(self) -> str:
        """Platform of the mesh: cpu, gpu or tpu."""
        return self.mesh.devices.flat[0].platform

    def over(self, axis: str) -> tuple[str, ...]:
        """Axes of the mesh that split this axis into more than one part."""
        return tuple(name for name in RULES[axis] if self.mesh.shape[name] > 1)

    def ways(self, axis: str) -> int:
        """Returns the number of parts into which this axis is split."""
        return math.prod(self.mesh.shape[name] for name in RULES[axis])

    def constrain(self, x: jax.Array, axes: Axes) -> jax.Array:
        """Constrains the sharding of an activation."""
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, spec(self.mesh, axes)))


def constrain(layout: Layout | None, x: jax.Array, axes: Axes) -> jax.Array:
    """Constrains the sharding of an activation if there is a layout."""
    return x if layout is None else layout.constrain(x, axes)


def gathered_layer(
    weights: Mapping[str, jax.Array], axes: Mapping[str, Axes], dtype: Any, layout: Layout | None
) -> dict[str, jax.Array]:
    """Returns the parameters of one layer, gathered, with matrices in the type of activations.

    Vectors, the scales of norms and biases, are not cast, because they are used in float32.

    Args:
      weights: the parameters, split over the mesh.
      axes: names of their axes, "layers" before the others.
      dtype: the type of the activations.
      layout: the mesh; None for one device.
    """
    return {
        name: gathered(w, axes[name][1:], dtype if w.ndim > 1 else w.dtype, layout)
        for name, w in weights.items()
    }


def gathered(weight: jax.Array, axes: Axes, dtype: Any, layout: Layout | None) -> jax.Array:
    """Returns a parameter in the type of a computation, gathered along its axis `embed`.

    Every device keeps a shard of each parameter. A layer gathers its matrices in the type that it
    computes in, uses and frees them; the backward pass gathers them again, and reduce-scatters the
    gradients in that type, as in fully sharded data parallelism (Rajbhandari et al. 2020, "ZeRO",
    stage 3; Zhao et al. 2023, "PyTorch FSDP"). Without this function, the compiler may gather
    before the cast, gather twice for two products, or all-reduce whole gradients: up to twice the
    bytes each.

    Args:
      weight: the parameter, split over the mesh.
      axes: names of its axes.
      dtype: the type to compute in.
      layout: the mesh; None for one device.
    """
    if layout is None or "embed" not in axes:
        return weight.astype(dtype)
    stored, place = weight.dtype, axes.index("embed")
    whole = tuple(None if axis == "embed" else axis for axis in axes)

    @jax.custom_vjp
    def gather(weight: jax.Array) -> jax.Array:
        # Constrained before and after, so that the shard is cast, not the whole.
        return layout.constrain(layout.constrain(weight.astype(dtype), axes), whole)

    def forward(weight: jax.Array) -> tuple[jax.Array, None]:
        return gather(weight), None

    def backward(_: None, change: jax.Array) -> tuple[jax.Array]:
        # XLA:TPU reduce-scatters along the first axis only; along others it all-reduces whole
        # gradients, which takes twice the traffic.
        first = jnp.moveaxis(change, place, 0)
        share = layout.constrain(first, (axes[place], *axes[:place], *axes[place + 1 :]))
        return (jnp.moveaxis(share, 0, place).astype(stored),)

    gather.defvjp(forward, backward)
    return gather(weight)
