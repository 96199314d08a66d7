"""Spikes: updates whose loss or gradient stands out from those before, to be left out.

A batch of broken data, or a step into a bad region, shows as a loss or a gradient norm far above
the usual. That is measured in standard deviations above the mean of the last updates, as by the
skip-step optimisers of OLMo-core; here the older ones fade (West 1979), so that a mean and a
variance are all that is kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

MEMORY = 128
"""Updates over which means are taken: all so far until there are as many, and then the older ones
fade."""
SETTLED = 64
"""Updates before anything is said to stand out."""
LEAST = 0.01
"""Least standard deviation, as a share of the mean: less is rounding, not a spread."""


class Usual(NamedTuple):
    """Mean and variance of the loss and of the gradient norm, over the updates that were made.

    Attributes:
      updates: int32 [], their number.
      mean: float [2].
      variance: float [2].
    """

    updates: jax.Array
    mean: jax.Array
    variance: jax.Array


def nothing_yet(dtype: Any) -> Usual:
    """Returns the statistics before the first update; means and variances have type `dtype`."""
    return Usual(jnp.zeros((), jnp.int32), jnp.zeros(2, dtype), jnp.zeros(2, dtype))


def stands_out(usual: Usual, values: jax.Array, limit: float) -> jax.Array:
    """Tells whether a value lies more than `limit` standard deviations above its mean.

    Args:
      usual: statistics of the updates before.
      values: float [2], loss and gradient norm.
      limit: standard deviations.

    Returns:
      bool []; False for the first `SETTLED` updates.
    """
    deviation = jnp.maximum(jnp.sqrt(usual.variance), LEAST * usual.mean)
    return (usual.updates >= SETTLED) & jnp.any(values - usual.mean > limit * deviation)


def updated(usual: Usual, values: jax.Array) -> Usual:
    """Updates the statistics with the values of one update."""
    count = usual.updates + 1
    share = 1 / jnp.minimum(count, MEMORY).astype(values.dtype)
    change = values - usual.mean
    variance = (1 - share) * (usual.variance + share * change**2)
    return Usual(count, usual.mean + share * change, variance)
