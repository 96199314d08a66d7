"""Causal attention over packed rows."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmusic.errors import UserError

CHUNK = 128
"""Least number of queries in a chunk."""
MOST_CHUNKS = 32
"""Longer rows get larger chunks instead of more of them, which bounds the program's size."""
HIDDEN = -1e30
"""Score of what must not be seen; finite, so that no row of the softmax is NaN."""


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, segment: jax.Array, *, kernel: str = "auto"
) -> jax.Array:
    """Softmax attention in which a token sees its own segment up to itself.

    Scores are scaled by 1 / sqrt(D) and the softmax is taken in float32. Query head h reads
    key head h // (H / Hkv).

    Args:
      q: [B, H, T, D].
      k: [B, Hkv, T, D] with H a multiple of Hkv.
      v: [B, Hkv, T, D].
      segment: int [B, T]; tokens of different segments do not see each other.
      kernel: "plain" (one dense mask), "chunked" (queries in chunks, each against the keys up
        to its end: half the arithmetic), or "auto", which is "chunked" on every platform so far.

    Returns:
      [B, H, T, D] in the type of v.

    Raises:
      UserError: if there is no kernel of that name.
    """
    return select(kernel)(q, k, v, segment)


def select(kernel: str) -> Callable[..., jax.Array]:
    """The attention function of that name; raises UserError if there is none."""
    kernels = {"auto": chunked, "chunked": chunked, "plain": plain}
    if kernel not in kernels:
        raise UserError(f"Set model.attention to one of {', '.join(kernels)}, not {kernel!r}.")
    return kernels[kernel]


def plain(q: jax.Array, k: jax.Array, v: jax.Array, segment: jax.Array) -> jax.Array:
    """The reference: all scores at once under a dense mask."""
    index = jnp.arange(q.shape[2])
    seen = (segment[:, :, None] == segment[:, None, :]) & (index[:, None] >= index)
    return masked(q, k, v, seen)


def chunked(q: jax.Array, k: jax.Array, v: jax.Array, segment: jax.Array) -> jax.Array:
    """Chunks of queries against the keys up to their end: no scores above the diagonal."""
    length = q.shape[2]
    size = max(CHUNK, -(-length // MOST_CHUNKS))
    parts = []
    for start in range(0, length, size):
        end = min(start + size, length)
        index = jnp.arange(end)
        seen = segment[:, start:end, None] == segment[:, None, :end]
        seen &= index[start:, None] >= index
        parts.append(masked(q[:, :, start:end], k[:, :, :end], v[:, :, :end], seen))
    return jnp.concatenate(parts, axis=2)


def masked(q: jax.Array, k: jax.Array, v: jax.Array, seen: jax.Array) -> jax.Array:
    """Attention where `seen` [B, Tq, Tk] is true; q [B, H, Tq, D], k and v [B, Hkv, Tk, D]."""
    batch, heads, queries, width = q.shape
    groups = k.shape[1]
    # The query heads that share a key head become rows of one matrix product.
    folded = (q * width**-0.5).reshape(batch, groups, heads // groups * queries, width)
    scores = jnp.einsum("bgqd,bgkd->bgqk", folded, k, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, heads, queries, -1)
    shares = jax.nn.softmax(jnp.where(seen[:, None], scores, HIDDEN), axis=-1)
    shares = shares.astype(v.dtype).reshape(batch, groups, heads // groups * queries, -1)
    return jnp.einsum("bgqk,bgkd->bgqd", shares, v).reshape(q.shape)
