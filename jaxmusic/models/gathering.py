"""Parameters made whole where they are used: the traffic of fully sharded data parallelism.

Every device keeps a share of each parameter. A layer gathers its matrices in the type that it
computes in, uses them and forgets them; the backward pass gathers them again, and adds the
gradients of all devices up in that type, each device getting the sums for its own share alone
(Zhao et al. 2023, "PyTorch FSDP"; Rajbhandari et al. 2020, "ZeRO", stage 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Axes = tuple[str | None, ...]


def gathered(
    weight: jax.Array, axes: Axes, dtype: Any, constrain: Callable[[jax.Array, Axes], jax.Array]
) -> jax.Array:
    """A parameter in the type of a computation, with its axis `embed` whole on every device.

    Without saying so, the compiler may gather before the cast, gather twice for two products, or
    give every device the sums of whole gradients to cut its share from: up to twice the bytes each.

    Args:
      weight: the parameter, split over the mesh.
      axes: logical names of its axes.
      dtype: the type to compute in.
      constrain: lays an array with the given logical axes out over the mesh.
    """
    stored = weight.dtype
    whole = tuple(None if axis == "embed" else axis for axis in axes)

    @jax.custom_vjp
    def gather(weight: jax.Array) -> jax.Array:
        # Laid out before as well as after: the cast is done on the share, not on the whole.
        return constrain(constrain(weight.astype(dtype), axes), whole)

    def forward(weight: jax.Array) -> tuple[jax.Array, None]:
        return gather(weight), None

    def backward(_: None, change: jax.Array) -> tuple[jax.Array]:
        if axes[-1] == "embed":
            first = jnp.moveaxis(change, -1, 0)
            share = jnp.moveaxis(constrain(first, (axes[-1], *axes[:-1])), 0, -1)
        else:
            share = constrain(change, axes)
        return (share.astype(stored),)

    gather.defvjp(forward, backward)
    return gather(weight)
