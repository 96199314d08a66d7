"""Attention in chunks of queries, in plain JAX: for CPUs and shapes that fit no kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from jaxmusic._src.models.layers import HIDDEN, MIXED, wide

CHUNK = 128
"""Smallest number of queries in a chunk."""
MOST_CHUNKS = 32
"""Longer rows get larger chunks instead of more of them, which bounds the program's size."""


@jax.custom_vjp
def chunked(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    q_segment: jax.Array,
    k_segment: jax.Array,
    start: jax.Array | None,
) -> jax.Array:
    """Computes attention of chunks of queries to the keys up to their end, without scores above it.

    If the queries are a part of the row, which part is known only at run time, so every chunk
    attends to all keys.

    The backward pass recomputes the probabilities from their normalisers, so that memory grows
    with T and not with its square (Dao et al. 2022).

    Arguments and result are those of `attention.plain`.
    """
    return _forward(q, k, v, q_segment, k_segment, start)[0]


def _forward(
    q: jax.Array, k: jax.Array, v: jax.Array, q_segment: Any, k_segment: Any, start: Any
) -> Any:
    q, shape = _folded(q, k)
    outs, logs = [], []
    for first, last, end, seen in _chunks(q_segment, k_segment, start):
        scores = _scores(q[:, :, :, first:last], k[:, :, :end], seen)
        top = jnp.max(scores, axis=-1, keepdims=True)
        shares = jnp.exp(scores - top)
        total = jnp.sum(shares, axis=-1, keepdims=True)
        out = _product("bghqk,bgkd->bghqd", shares.astype(v.dtype), v[:, :, :end])
        outs.append((out / total).astype(v.dtype))
        logs.append(top + jnp.log(total))
    out, log = jnp.concatenate(outs, axis=3), jnp.concatenate(logs, axis=3)
    out, log = (checkpoint_name(x, MIXED) for x in (out, log))
    return out.reshape(shape), (q, k, v, q_segment, k_segment, start, out, log)


def _backward(saved: Any, change: jax.Array) -> Any:
    q, k, v, q_segment, k_segment, start, out, log = saved
    change = change.reshape(out.shape)
    total = wide(q.dtype)
    drift = jnp.sum(change.astype(total) * out, axis=-1, keepdims=True)
    batch, groups, _, _, width = q.shape
    dq = []
    # Kept as [B, Hkv, D, T]: turning the narrow operand spares XLA:CPU turning the scores.
    dk = jnp.zeros((batch, groups, width, k.shape[2]), total)
    dv = jnp.zeros_like(dk)
    for first, last, end, seen in _chunks(q_segment, k_segment, start):
        some = (slice(None), slice(None), slice(None), slice(first, last))
        rows = (batch, groups, -1, width)
        keys, values = k[:, :, :end], v[:, :, :end]
        shares = jnp.exp(_scores(q[some], keys, seen) - log[some])
        pull = _product("bghqd,bgkd->bghqk", change[some], values)
        pull = (shares * (pull - drift[some])).astype(q.dtype)
        dq.append(_product("bghqk,bgkd->bghqd", pull, keys))
        pull, shares = (x.astype(q.dtype).reshape(*rows[:3], end) for x in (pull, shares))
        turned = q[some].reshape(rows).swapaxes(2, 3)
        dk = dk.at[..., :end].add(jnp.matmul(turned, pull, preferred_element_type=total))
        turned = change[some].reshape(rows).swapaxes(2, 3)
        dv = dv.at[..., :end].add(jnp.matmul(turned, shares, preferred_element_type=total))
    dq = jnp.concatenate(dq, axis=3).reshape(batch, -1, *q.shape[3:]) * width**-0.5
    dk, dv = dk.swapaxes(2, 3), dv.swapaxes(2, 3)
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None, None, None


chunked.defvjp(_forward, _backward)


def _folded(q: jax.Array, k: jax.Array) -> tuple[jax.Array, tuple[int, ...]]:
    """Returns scaled queries as [B, Hkv, H / Hkv, T, D], and their original shape."""
    batch, _, length, width = q.shape
    return (q * width**-0.5).reshape(batch, k.shape[1], -1, length, width), q.shape


def _chunks(
    q_segment: jax.Array, k_segment: jax.Array, start: jax.Array | None
) -> Iterator[tuple[int, int, int, jax.Array]]:
    """Returns bounds of each chunk of queries, the end of its keys, and its mask."""
    length = q_segment.shape[1]
    size = max(CHUNK, -(-length // MOST_CHUNKS))
    for first in range(0, length, size):
        last = min(first + size, length)
        end = last if start is None else k_segment.shape[1]
        index = jnp.arange(first, last) + (0 if start is None else start)
        seen = q_segment[:, first:last, None] == k_segment[:, None, :end]
        yield first, last, end, seen & (index[:, None] >= jnp.arange(end))


def _scores(q: jax.Array, k: jax.Array, seen: jax.Array) -> jax.Array:
    return jnp.where(seen[:, None, None], _product("bghqd,bgkd->bghqk", q, k), HIDDEN)


def _product(spec: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(spec, a, b, preferred_element_type=wide(a.dtype))
