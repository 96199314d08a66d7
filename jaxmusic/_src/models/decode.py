"""Decoding with the Transformer: a cache of keys and values, a few events at a time.

Weights are unstacked once (`prepare`): a scan over stacked layers would copy every layer's
weights out of the stack for each token.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmusic import config as configs
from jaxmusic._src.core.events import Events
from jaxmusic._src.models import position
from jaxmusic._src.models.layers import HIDDEN, embed, rms_norm, softcapped, wide
from jaxmusic._src.models.params import Params, embeddings, stacked


class Cache(NamedTuple):
    """Cached keys and values.

    Attributes:
      k, v: for each layer [B Hkv, length, D], the shape of their products: with any operation
        between update and product, XLA:CPU would copy the whole cache for every token.
      place: int32 [B], events read by each row, the position of its next one. On XLA:CPU,
        scattered writes take no longer than one slice for all rows.
    """

    k: tuple[jax.Array, ...]
    v: tuple[jax.Array, ...]
    place: jax.Array


MOST_PARTS = 4
"""A matrix is cut into at most this many blocks of columns."""
FEW_ROWS = 8
"""Up to this many rows are multiplied block by block."""


class Weights(NamedTuple):
    """The parameters in the layout of decoding; matrices are [P, in, out / P], see `blocks`.

    Attributes:
      tables: embeddings of token, position, slot and pitch.
      layers: a dictionary of matrices and norms for each layer.
      norm: scale of the last norm.
      output: the transposed token embedding, from E to V.
    """

    tables: tuple[jax.Array, ...]
    layers: tuple[dict[str, jax.Array], ...]
    norm: jax.Array
    output: jax.Array


def prepare(config: configs.Transformer, params: Params) -> Weights:
    """Unstacks the layers and joins the matrices that read the same input.

    Args:
      config: shape of the model.
      params: the parameters by name.

    Returns:
      Weights in config.dtype (norms in float32). Call it once, not for every token.
    """
    dtype = jnp.dtype(config.dtype)
    tables, width = embeddings(params), config.width

    def layer(i: int) -> dict[str, jax.Array]:
        w = {name: value[i] for name, value in stacked(params).items()}
        projections = [w[name].reshape(width, -1) for name in ("query", "key", "value")]
        matrices = {
            "joined": jnp.concatenate(projections, axis=1),
            "output": w["output"].reshape(-1, width),
            "gate_up": jnp.concatenate([w["gate"], w["up"]], axis=1),
            "down": w["down"],
        }
        norms = {name: value for name, value in w.items() if name.endswith("norm")}
        return norms | {name: blocks(value.astype(dtype)) for name, value in matrices.items()}

    layers = tuple(layer(i) for i in range(config.layers))
    return Weights(tables, layers, params["norm"], blocks(tables[0].T.astype(dtype)))


def blocks(matrix: jax.Array) -> jax.Array:
    """Cuts [in, out] into P blocks of columns [P, in, out / P], one for each core of a CPU.

    XLA:CPU multiplies one row by one matrix on one core; a batch of them it spreads over all.
    P is 1 on other platforms.
    """
    cores = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    parts = next(p for p in range(min(cores, MOST_PARTS), 0, -1) if matrix.shape[1] % p == 0)
    return jnp.stack(jnp.split(matrix, parts, axis=1))


def product(x: jax.Array, matrix: jax.Array, dtype: Any = None) -> jax.Array:
    """Multiplies x [..., in] by a matrix in `blocks`: [..., out] in dtype, that of x if None."""
    parts, wide, _ = matrix.shape
    rows = x.reshape(-1, wide)
    if len(rows) > FEW_ROWS:
        whole = matrix.swapaxes(0, 1).reshape(wide, -1)
        out = jnp.matmul(rows, whole, preferred_element_type=dtype)
    else:
        copies = jnp.broadcast_to(rows, (parts, *rows.shape))
        out = jnp.matmul(copies, matrix, preferred_element_type=dtype).swapaxes(0, 1)
    return out.reshape(*x.shape[:-1], -1)


def begin(config: configs.Transformer, rows: int, length: int) -> Cache:
    """Makes an empty cache; see `models.base.Family.begin`."""
    shape = (rows * config.kv_heads, length, config.head_dim)

    def zeros() -> tuple[jax.Array, ...]:
        return tuple(jnp.zeros(shape, config.dtype) for _ in range(config.layers))

    return Cache(zeros(), zeros(), jnp.zeros(rows, jnp.int32))


def grow(cache: Cache, length: int) -> Cache:
    """Returns the cache with capacity for `length` events.

    A step reads the whole cache: long pieces are sampled fastest in loops over caches of
    increasing length.
    """
    more = length - cache.k[0].shape[1]
    k, v = (tuple(jnp.pad(x, ((0, 0), (0, more), (0, 0))) for x in side) for side in cache[:2])
    return cache._replace(k=k, v=v)


def feed(
    config: configs.Transformer,
    weights: Weights,
    cache: Cache,
    events: Events,
    count: jax.Array | int | None = None,
    keep: jax.Array | None = None,
) -> tuple[jax.Array, Cache]:
    """Reads S more events; see `models.base.Family.feed`."""
    (rows, size), length = events.token.shape, cache.k[0].shape[1]
    number = size if count is None else count
    keep = jnp.ones((rows, size), bool) if keep is None else keep
    keep &= jnp.arange(size) < number
    place = cache.place[:, None] + jnp.cumsum(keep, axis=1, dtype=jnp.int32) - 1
    # Skipped events are written past the end of the cache, which drops them.
    target = jnp.repeat(jnp.where(keep, place, length), config.kv_heads, axis=0)
    group = jnp.arange(len(target))[:, None]
    seen = jnp.repeat(place, config.kv_heads, axis=0)
    rope = position.angles(config, place, events.time, events.pitch)
    x = embed(events, weights.tables).astype(config.dtype)
    ks, vs = [], []
    for w, k, v in zip(weights.layers, cache.k, cache.v, strict=True):
        h = product(rms_norm(x, w["attention_norm"]), w["joined"])
        q, new_k, new_v = _split(config, h, w, rope)
        k = k.at[group, target].set(new_k.astype(k.dtype), mode="drop")
        v = v.at[group, target].set(new_v.astype(v.dtype), mode="drop")
        mixed = _attend(q, k, v, seen)
        mixed = mixed.reshape(rows, config.heads, size, -1).transpose(0, 2, 1, 3)
        x = x + product(mixed.reshape(rows, size, -1), w["output"])
        h = product(rms_norm(x, w["hidden_norm"]), w["gate_up"])
        gate, up = jnp.split(h, 2, axis=-1)
        x = x + product(jax.nn.silu(gate) * up, w["down"])
        ks.append(k)
        vs.append(v)
    x = jax.lax.dynamic_index_in_dim(x, number - 1, axis=1, keepdims=False)
    x = rms_norm(x, weights.norm)
    logits = softcapped(product(x, weights.output, wide(x.dtype)), config.softcap)
    read = cache.place + keep.sum(1, dtype=jnp.int32)
    return logits, Cache(tuple(ks), tuple(vs), read)


def mark(cache: Cache) -> jax.Array:
    """Returns the position of each row (int32 [B]) for `rewind`."""
    return cache.place


def rewind(cache: Cache, mark: jax.Array, rows: jax.Array) -> Cache:
    """Undoes what some rows (bool [B]) have read since a mark."""
    return cache._replace(place=jnp.where(rows, mark, cache.place))


def _attend(q: jax.Array, k: jax.Array, v: jax.Array, place: jax.Array) -> jax.Array:
    """Computes attention [G, Q, D] of queries [G, Q, D] to keys and values [G, length, D].

    Query i of a group sees positions up to that of event i % S, which is in `place`, int32 [G, S].
    """
    place = jnp.tile(place, (1, q.shape[1] // place.shape[1]))
    scores = jnp.einsum("gqd,gkd->gqk", q, k.astype(q.dtype), preferred_element_type=wide(q.dtype))
    visible = place[..., None] >= jnp.arange(k.shape[1])
    scores = jnp.where(visible, scores, HIDDEN)
    shares = jnp.exp(scores - scores.max(-1, keepdims=True))
    mixed = jnp.einsum(
        "gqk,gkd->gqd",
        shares.astype(q.dtype),
        v.astype(q.dtype),
        preferred_element_type=wide(q.dtype),
    )
    return (mixed / shares.sum(-1, keepdims=True)).astype(q.dtype)


def _split(
    config: configs.Transformer,
    joined: jax.Array,
    w: dict[str, jax.Array],
    rope: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns scaled queries [B Hkv, H / Hkv S, D], and keys and values [B Hkv, S, D]."""
    heads = joined.reshape(*joined.shape[:2], -1, config.head_dim).transpose(0, 2, 1, 3)
    q, k, v = jnp.split(heads, [config.heads, config.heads + config.kv_heads], axis=1)
    q = position.apply_rope(rms_norm(q, w["query_norm"]), rope)
    k = position.apply_rope(rms_norm(k, w["key_norm"]), rope)
    q = q * config.head_dim**-0.5
    groups = joined.shape[0] * config.kv_heads
    q, k, v = (x.reshape(groups, -1, config.head_dim) for x in (q, k, v))
    return q, k, v
