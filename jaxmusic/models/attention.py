"""Causal attention over packed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxmusic.errors import UserError

CHUNK = 128
"""Least number of queries in a chunk."""
MOST_CHUNKS = 32
"""Longer rows get larger chunks instead of more of them, which bounds the program's size."""
SAVED, MIXED = "saved", "mixed"
"""Names of activations that the backward pass wants, of products and of attention; others may be
computed again."""
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
    kernels: dict[str, Callable[..., jax.Array]] = {
        "auto": chunked,
        "chunked": chunked,
        "plain": plain,
    }
    if kernel not in kernels:
        raise UserError(f"Set model.attention to one of {', '.join(kernels)}, not {kernel!r}.")
    return kernels[kernel]


def plain(q: jax.Array, k: jax.Array, v: jax.Array, segment: jax.Array) -> jax.Array:
    """The reference: all scores at once under a dense mask."""
    index = jnp.arange(q.shape[2])
    seen = (segment[:, :, None] == segment[:, None, :]) & (index[:, None] >= index)
    return masked(q, k, v, seen)


@jax.custom_vjp
def chunked(q: jax.Array, k: jax.Array, v: jax.Array, segment: jax.Array) -> jax.Array:
    """Chunks of queries against the keys up to their end: no scores above the diagonal.

    The backward pass computes the shares again from their normalisers, so that memory grows
    with T and not with its square (Dao et al. 2022).
    """
    return _forward(q, k, v, segment)[0]


def _forward(q: jax.Array, k: jax.Array, v: jax.Array, segment: jax.Array) -> Any:
    q, shape = _folded(q, k)
    outs, logs = [], []
    for start, end, seen in _chunks(segment):
        scores = _scores(q[:, :, :, start:end], k[:, :, :end], seen)
        top = jnp.max(scores, axis=-1, keepdims=True)
        shares = jnp.exp(scores - top)
        total = jnp.sum(shares, axis=-1, keepdims=True)
        out = jnp.einsum("bghqk,bgkd->bghqd", shares.astype(v.dtype), v[:, :, :end])
        outs.append((out / total).astype(v.dtype))
        logs.append(top + jnp.log(total))
    out, log = jnp.concatenate(outs, axis=3), jnp.concatenate(logs, axis=3)
    out, log = (checkpoint_name(x, MIXED) for x in (out, log))
    return out.reshape(shape), (q, k, v, segment, out, log)


def _backward(saved: Any, change: jax.Array) -> Any:
    q, k, v, segment, out, log = saved
    change = change.reshape(out.shape)
    drift = jnp.sum(change.astype(jnp.float32) * out, axis=-1, keepdims=True)
    batch, groups, _, _, width = q.shape
    dq = []
    # Kept as [B, Hkv, D, T]: turning the narrow operand spares XLA:CPU turning the scores.
    dk = jnp.zeros((batch, groups, width, k.shape[2]), jnp.float32)
    dv = jnp.zeros_like(dk)
    for start, end, seen in _chunks(segment):
        some = (slice(None), slice(None), slice(None), slice(start, end))
        rows = (batch, groups, -1, width)
        keys, values = k[:, :, :end], v[:, :, :end]
        shares = jnp.exp(_scores(q[some], keys, seen) - log[some])
        pull = jnp.einsum(
            "bghqd,bgkd->bghqk", change[some], values, preferred_element_type=jnp.float32
        )
        pull = (shares * (pull - drift[some])).astype(q.dtype)
        dq.append(jnp.einsum("bghqk,bgkd->bghqd", pull, keys))
        pull, shares = (x.astype(q.dtype).reshape(*rows[:3], end) for x in (pull, shares))
        turned = q[some].reshape(rows).swapaxes(2, 3)
        dk = dk.at[..., :end].add(turned @ pull)
        turned = change[some].reshape(rows).swapaxes(2, 3)
        dv = dv.at[..., :end].add(turned @ shares)
    dq = jnp.concatenate(dq, axis=3).reshape(batch, -1, *q.shape[3:]) * width**-0.5
    dk, dv = dk.swapaxes(2, 3), dv.swapaxes(2, 3)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None


chunked.defvjp(_forward, _backward)


def _folded(q: jax.Array, k: jax.Array) -> tuple[jax.Array, tuple[int, ...]]:
    """Scaled queries as [B, Hkv, H / Hkv, T, D], and the shape they had."""
    batch, _, length, width = q.shape
    return (q * width**-0.5).reshape(batch, k.shape[1], -1, length, width), q.shape


def _chunks(segment: jax.Array) -> Iterator[tuple[int, int, jax.Array]]:
    """Start and end of every chunk of queries, and what it sees of the keys up to its end."""
    length = segment.shape[1]
    size = max(CHUNK, -(-length // MOST_CHUNKS))
    for start in range(0, length, size):
        end = min(start + size, length)
        index = jnp.arange(end)
        seen = segment[:, start:end, None] == segment[:, None, :end]
        yield start, end, seen & (index[start:, None] >= index)


def _scores(q: jax.Array, k: jax.Array, seen: jax.Array) -> jax.Array:
    scores = jnp.einsum("bghqd,bgkd->bghqk", q, k, preferred_element_type=jnp.float32)
    return jnp.where(seen[:, None, None], scores, HIDDEN)


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
