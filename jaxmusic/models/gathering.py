"""Gathering of sharded parameters where they are used, as in fully sharded data parallelism.

Every device keeps a shard of each parameter. A layer gathers its matrices in the type that it
computes in, uses and frees them; the backward pass gathers them again, and reduce-scatters the
gradients in that type
(Rajbhandari et al. 2020, "ZeRO", stage 3; Zhao et al. 2023, "PyTorch FSDP").
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxmusic.models.layout import Axes, Layout


def gathered(weight: jax.Array, axes: Axes, dtype: Any, layout: Layout | None) -> jax.Array:
    """Returns a parameter in the type of a computation, gathered along its axis `embed`.

    Without this, the compiler may gather before the cast, gather twice for two products, or
    all-reduce whole gradients: up to twice the bytes each.

    Args:
      weight: the parameter, split over the mesh.
      axes: names of its axes.
      dtype: the type to compute in.
      layout: the mesh and how parameters are split over it; None for one device.
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
