"""Flash attention for GPUs, as Pallas kernels that Triton compiles.

After FlashAttention-2 (Dao 2023): a program holds one block of queries, iterates over the keys and
rescales its sums at each new maximum; the backward pass recomputes the probabilities from the
normalisers, in one kernel by blocks of queries and one by blocks of keys. In addition there are
grouped heads, queries that are a part of the row, and segments: blocks with only tokens of other
segments are skipped, so that a row of many parts costs less than a row of one.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from jaxmusic._src.models.layers import HIDDEN, MIXED

OUTER = 128
"""Tokens of the block that a program holds."""
LOG2_E = math.log2(math.e)
"""Exponentials are to base 2, the native one of GPUs."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def flash(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    q_segment: jax.Array,
    k_segment: jax.Array,
    start: jax.Array | None,
    interpret: bool = False,
) -> jax.Array:
    """Computes attention on one GPU; numbers of queries and of keys are multiples of `OUTER`.

    Sums are float32. With `interpret` it runs in Pallas' interpreter, on any platform. The other
    arguments and the result are those of `attention.plain`.
    """
    return _forward(q, k, v, q_segment, k_segment, start, interpret)[0]


def _inner(q: jax.Array) -> int:
    """Returns the block size in tokens that fits into shared memory."""
    return 64 if q.shape[-1] * q.dtype.itemsize <= 128 else 32


def _options(width: int) -> Any:
    return triton.CompilerParams(num_warps=4 if width <= 64 else 8, num_stages=2)


def _bounds(
    q_segment: jax.Array, k_segment: jax.Array, place: jax.Array, rows: int, keys: int
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Returns the first and last + 1 of the blocks to visit.

    Args:
      q_segment: int [B, Tq].
      k_segment: int [B, Tk].
      place: int [Tq], index of each query among the keys.
      rows: queries of a block.
      keys: keys of a block.

    Returns:
      Bounds int32 [B, Tq / rows] of blocks of keys for every block of queries, and bounds
      [B, Tk / keys] of blocks of queries for every block of keys.
    """

    def ranges(segment: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        blocks = segment.reshape(len(segment), -1, size)
        return blocks.min(-1), blocks.max(-1)

    def ends(wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
        last = wanted.shape[-1] - jnp.argmax(wanted[..., ::-1], axis=-1)
        first = jnp.argmax(wanted, axis=-1)
        return first.astype(jnp.int32), jnp.where(wanted.any(-1), last, 0).astype(jnp.int32)

    (q_low, q_high), (k_low, k_high) = ranges(q_segment, rows), ranges(k_segment, keys)
    wanted = (q_low[:, :, None] <= k_high[:, None]) & (k_low[:, None] <= q_high[:, :, None])
    wanted &= place[rows - 1 :: rows, None] >= jnp.arange(k_low.shape[1]) * keys
    return ends(wanted), ends(wanted.swapaxes(1, 2))


def _scores(q: Any, k: Any, q_marks: Any, k_segment: Any, j: Any) -> Any:
    """Computes base-2 scores [rows, keys] of a block of queries and block j of keys."""
    segment, place = q_marks
    index = j * k.shape[0] + jnp.arange(k.shape[0])
    seen = (segment[:, None] == k_segment[None, :]) & (place[:, None] >= index[None, :])
    scores = triton.dot(q, k.T) * (LOG2_E * q.shape[1] ** -0.5)
    return jnp.where(seen, scores, HIDDEN)


def _forward_kernel(
    first, last, place, q_segment, k_segment, q_ref, k_ref, v_ref, out_ref, log_ref, *, keys: int
) -> None:
    i = pl.program_id(0)
    q, marks = q_ref[...], (q_segment[...], place[...])

    def body(j: Any, carry: Any) -> Any:
        out, top, total = carry
        some = pl.ds(j * keys, keys)
        scores = _scores(q, k_ref[some, :], marks, k_segment[some], j)
        higher = jnp.maximum(top, scores.max(axis=1))
        # Contributions of hidden keys before the first visible one are multiplied by 0 here.
        fade = jnp.exp2(top - higher)
        shares = jnp.exp2(scores - higher[:, None])
        v = v_ref[some, :]
        out = out * fade[:, None] + triton.dot(shares.astype(v.dtype), v)
        return out, higher, total * fade + shares.sum(axis=1)

    rows, width = q.shape
    zeros = jnp.zeros((rows, width), jnp.float32)
    carry = (zeros, jnp.full(rows, HIDDEN, jnp.float32), jnp.zeros(rows, jnp.float32))
    out, top, total = jax.lax.fori_loop(first[i], last[i], body, carry)
    out_ref[...] = (out / total[:, None]).astype(out_ref.dtype)
    log_ref[...] = top + jnp.log2(total)


def _query_kernel(
    first, last, place, q_segment, k_segment, q_ref, k_ref, v_ref, change_ref, log_ref, drift_ref,
    dq_ref, *, keys: int,
) -> None:  # fmt: skip
    i = pl.program_id(0)
    q, marks = q_ref[...], (q_segment[...], place[...])
    change, log, drift = change_ref[...], log_ref[...], drift_ref[...]

    def body(j: Any, dq: Any) -> Any:
        some = pl.ds(j * keys, keys)
        k = k_ref[some, :]
        shares = jnp.exp2(_scores(q, k, marks, k_segment[some], j) - log[:, None])
        pull = shares * (triton.dot(change, v_ref[some, :].T) - drift[:, None])
        return dq + triton.dot(pull.astype(k.dtype), k)

    dq = jax.lax.fori_loop(first[i], last[i], body, jnp.zeros(q.shape, jnp.float32))
    dq_ref[...] = (dq * q.shape[1] ** -0.5).astype(dq_ref.dtype)


def _key_kernel(
    first, last, place, q_segment, k_segment, q_ref, k_ref, v_ref, change_ref, log_ref, drift_ref,
    dk_ref, dv_ref, *, rows: int,
) -> None:  # fmt: skip
    j = pl.program_id(0)
    k, v, segment = k_ref[...], v_ref[...], k_segment[...]

    def head(h: Any, carry: Any) -> Any:
        def body(i: Any, carry: Any) -> Any:
            dk, dv = carry
            some = pl.ds(i * rows, rows)
            q, change = q_ref[h, some, :], change_ref[h, some, :]
            scores = _scores(q, k, (q_segment[some], place[some]), segment, j)
            shares = jnp.exp2(scores - log_ref[h, some][:, None])
            dv += triton.dot(shares.astype(change.dtype).T, change)
            pull = shares * (triton.dot(change, v.T) - drift_ref[h, some][:, None])
            return dk + triton.dot(pull.astype(q.dtype).T, q), dv

        return jax.lax.fori_loop(first[j], last[j], body, carry)

    zeros = jnp.zeros(k.shape, jnp.float32)
    dk, dv = jax.lax.fori_loop(0, q_ref.shape[0], head, (zeros, zeros))
    dk_ref[...] = (dk * k.shape[1] ** -0.5).astype(dk_ref.dtype)
    dv_ref[...] = dv.astype(dv_ref.dtype)


def _specs(heads: int, groups: int, q_length: int, k_length: int, width: int) -> dict[str, Any]:
    """Makes block specs for grids (block of queries, row of the batch, head)."""
    share = heads // groups
    whole = (None, None, k_length, width)
    return {
        "bound": pl.BlockSpec((None, q_length // OUTER), lambda i, b, h: (b, 0)),
        "place": pl.BlockSpec((OUTER,), lambda i, b, h: (i,)),
        "q_segment": pl.BlockSpec((None, OUTER), lambda i, b, h: (b, i)),
        "k_segment": pl.BlockSpec((None, k_length), lambda i, b, h: (b, 0)),
        "q": pl.BlockSpec((None, None, OUTER, width), lambda i, b, h: (b, h, i, 0)),
        "k": pl.BlockSpec(whole, lambda i, b, h: (b, h // share, 0, 0)),
        "log": pl.BlockSpec((None, None, OUTER), lambda i, b, h: (b, h, i)),
    }


def _places(q: jax.Array, start: jax.Array | None) -> jax.Array:
    return jnp.arange(q.shape[2], dtype=jnp.int32) + (0 if start is None else start)


def _forward(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    q_segment: jax.Array,
    k_segment: jax.Array,
    start: Any,
    interpret: bool,
) -> Any:
    batch, heads, length, width = q.shape
    keys, place = _inner(q), _places(q, start)
    bounds, _ = _bounds(q_segment, k_segment, place, OUTER, keys)
    spec = _specs(heads, k.shape[1], length, k.shape[2], width)
    names = ("bound", "bound", "place", "q_segment", "k_segment", "q", "k", "k")
    out, log = pl.pallas_call(
        functools.partial(_forward_kernel, keys=keys),
        grid=(length // OUTER, batch, heads),
        in_specs=[spec[name] for name in names],
        out_specs=[spec["q"], spec["log"]],
        out_shape=[
            jax.ShapeDtypeStruct(q.shape, v.dtype),
            jax.ShapeDtypeStruct(q.shape[:3], jnp.float32),
        ],
        compiler_params=_options(width),
        interpret=interpret,
        name="flash_forward",
    )(*bounds, place, q_segment, k_segment, q, k, v)
    out, log = (checkpoint_name(x, MIXED) for x in (out, log))
    return out, (q, k, v, q_segment, k_segment, start, out, log)


def _backward(interpret: bool, saved: Any, change: jax.Array) -> Any:
    q, k, v, q_segment, k_segment, start, out, log = saved
    batch, heads, length, width = q.shape
    groups, k_length = k.shape[1:3]
    inner, place = _inner(q), _places(q, start)
    drift = jnp.sum(change.astype(jnp.float32) * out, axis=-1)
    bounds, _ = _bounds(q_segment, k_segment, place, OUTER, inner)
    spec = _specs(heads, groups, length, k_length, width)
    names = ("bound", "bound", "place", "q_segment", "k_segment", "q", "k", "k", "q", "log", "log")
    dq = pl.pallas_call(
        functools.partial(_query_kernel, keys=inner),
        grid=(length // OUTER, batch, heads),
        in_specs=[spec[name] for name in names],
        out_specs=spec["q"],
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
        compiler_params=_options(width),
        interpret=interpret,
        name="flash_query_change",
    )(*bounds, place, q_segment, k_segment, q, k, v, change, log, drift)

    # One program for each key head, which sums over its query heads.
    _, bounds = _bounds(q_segment, k_segment, place, inner, OUTER)
    shared = (batch, groups, heads // groups, length)
    block = pl.BlockSpec((None, None, OUTER, width), lambda j, b, h: (b, h, j, 0))
    whole = pl.BlockSpec((None, None, *shared[2:], width), lambda j, b, h: (b, h, 0, 0, 0))
    line = pl.BlockSpec((None, None, *shared[2:]), lambda j, b, h: (b, h, 0, 0))
    bound = pl.BlockSpec((None, k_length // OUTER), lambda j, b, h: (b, 0))
    q, change = (x.reshape(*shared, width) for x in (q, change))
    log, drift = (x.reshape(shared) for x in (log, drift))
    dk, dv = pl.pallas_call(
        functools.partial(_key_kernel, rows=inner),
        grid=(k_length // OUTER, batch, groups),
        in_specs=[
            bound,
            bound,
            pl.BlockSpec((length,), lambda j, b, h: (0,)),
            pl.BlockSpec((None, length), lambda j, b, h: (b, 0)),
            pl.BlockSpec((None, OUTER), lambda j, b, h: (b, j)),
            *(whole, block, block, whole, line, line),
        ],
        out_specs=[block, block],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (k, v)],
        compiler_params=_options(width),
        interpret=interpret,
        name="flash_key_change",
    )(*bounds, place, q_segment, k_segment, q, k, v, change, log, drift)
    return dq, dk, dv, None, None, None


flash.defvjp(_forward, _backward)
