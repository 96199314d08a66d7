"""Numbers that the layers agree on."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

HIDDEN = -1e30
"""Score of what must not be seen; finite, so that no row of a softmax is NaN."""


def wide(dtype: Any) -> Any:
    """The type in which sums over values of `dtype` are taken: float32, or float64 for float64.

    Norms, rotations, softmax, sums of products and logits are computed in it.
    """
    return jnp.promote_types(dtype, jnp.float32)
