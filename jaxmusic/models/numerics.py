"""Numeric conventions of the layers."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

HIDDEN = -1e30
"""Score of masked positions; finite, so that no row of a softmax is NaN."""


def wide(dtype: Any) -> Any:
    """Returns the accumulation type of `dtype`: float32, or float64 for float64.

    Norms, rotations, softmax, sums of products and logits are computed in it.
    """
    return jnp.promote_types(dtype, jnp.float32)
