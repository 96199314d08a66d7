"""Rotary positions: half of the pairs turn with the index, half with musical time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

INDEX_BASE = 10_000.0
"""Longest wavelength of the index half in tokens, divided by 2 pi (Su et al. 2021)."""
SHORTEST_PERIOD = 12.0
"""Shortest period of the time half in grid steps: a quarter note on the usual grid."""
OCTAVES = 8
"""The longest time period is just under `SHORTEST_PERIOD` * 2**OCTAVES: 64 bars of 4/4."""


def frequencies(head_dim: int) -> tuple[jax.Array, jax.Array]:
    """Angular frequencies of the rotary pairs of a head.

    The index half has the geometric series of RoFormer. The time half has periods of
    12 * 2**(8 j / n) grid steps for j = 0 .. n-1, so that beats, half bars, bars and groups of
    2, 4, 8 and more bars are hit exactly when 8 divides n or n divides 8.

    Args:
      head_dim: width of a head, a multiple of 4.

    Returns:
      float32 [head_dim / 4] radians per token and float32 [head_dim / 4] radians per grid step.
    """
    count = head_dim // 4
    ramp = jnp.arange(count, dtype=jnp.float32) / count
    by_index = INDEX_BASE**-ramp
    by_time = 2 * jnp.pi / (SHORTEST_PERIOD * 2.0 ** (OCTAVES * ramp))
    return by_index, by_time


def angles(index: jax.Array, time: jax.Array, head_dim: int) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines by which queries and keys are turned.

    Args:
      index: int [B, T] place in the row (only differences matter).
      time: int [B, T] grid steps.
      head_dim: width of a head.

    Returns:
      float32 cosine and sine, each [B, T, head_dim / 2].
    """
    by_index, by_time = frequencies(head_dim)
    turns = jnp.concatenate(
        [
            index[..., None].astype(jnp.float32) * by_index,
            time[..., None].astype(jnp.float32) * by_time,
        ],
        axis=-1,
    )
    return jnp.cos(turns), jnp.sin(turns)


def rotate(x: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """Turns the pairs (x[i], x[i + D/2]) of the last axis; broadcasts over the leading axes."""
    halves = x.reshape(*x.shape[:-1], 2, -1)
    # Reversing the halves is faster on XLA:CPU than putting two results together.
    crossed = jnp.flip(halves, axis=-2) * jnp.stack([-sine, sine], axis=-2)
    return (halves * cosine[..., None, :] + crossed).reshape(x.shape)
