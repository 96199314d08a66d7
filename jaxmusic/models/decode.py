"""The Transformer with a cache of keys and values, for sampling a few tokens at a time.

Weights are taken apart once (`prepare`): a scan over stacked layers would copy every layer's
weights out of the stack for each token.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmusic import config as configs
from jaxmusic.core.events import Events
from jaxmusic.models import position, transformer
from jaxmusic.models.numerics import HIDDEN, wide


class Cache(NamedTuple):
    """Keys and values of what was read so far: for each layer [B Hkv, length, D].

    The shape is that of the products they go into: with anything between the update and the
    product, XLA:CPU would copy the whole cache for every token.
    """

    k: tuple[jax.Array, ...]
    v: tuple[jax.Array, ...]


class Sight(NamedTuple):
    """What each row sees of its own stream, where some places are skipped.

    Attributes:
      index: int32 [B, S], place of each new event among those that its row sees.
      hidden: bool [B, length], places of the cache that the row does not see.
    """

    index: Any
    hidden: jax.Array


MOST_PARTS = 4
"""A matrix is cut into at most this many blocks of columns."""
FEW_ROWS = 8
"""Up to this many rows are multiplied block by block."""


class Weights(NamedTuple):
    """The parameters as decoding wants them; matrices are [P, in, out / P], see `blocks`.

    Attributes:
      tables: embeddings of token, position, slot and pitch.
      layers: a dictionary of matrices and norms for each layer.
      norm: scale of the last norm.
      output: the token embedding turned round, from E to V.
    """

    tables: tuple[jax.Array, ...]
    layers: tuple[dict[str, jax.Array], ...]
    norm: jax.Array
    output: jax.Array


def prepare(config: configs.Model, params: nnx.State) -> Weights:
    """Unstacks the layers and joins the matrices that read the same input.

    Args:
      config: shape of the model.
      params: the parameters as `transformer.make` returns them.

    Returns:
      Weights in config.dtype (norms in float32). Call it once, not for every token.
    """
    names = ("token", "position", "slot", "pitch")
    dtype = jnp.dtype(config.dtype)
    values = {path: leaf[...] for path, leaf in params.flat_state()}
    tables = tuple(values[name,] for name in names)
    stacked = {str(path[-1]): value for path, value in values.items() if path[0] == "layers"}
    wide = config.width

    def layer(i: int) -> dict[str, jax.Array]:
        w = {name: value[i] for name, value in stacked.items()}
        projections = [w[name].reshape(wide, -1) for name in ("query", "key", "value")]
        matrices = {
            "joined": jnp.concatenate(projections, axis=1),
            "output": w["output"].reshape(-1, wide),
            "gate_up": jnp.concatenate([w["gate"], w["up"]], axis=1),
            "down": w["down"],
        }
        norms = {name: value for name, value in w.items() if name.endswith("norm")}
        return norms | {name: blocks(value.astype(dtype)) for name, value in matrices.items()}

    layers = tuple(layer(i) for i in range(config.layers))
    return Weights(tables, layers, values["norm",], blocks(tables[0].T.astype(dtype)))


def blocks(matrix: jax.Array) -> jax.Array:
    """Cuts [in, out] into P blocks of columns [P, in, out / P], one for each core of a CPU.

    XLA:CPU multiplies one row by one matrix on one core; a batch of them it spreads over all.
    P is 1 on other platforms.
    """
    cores = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    parts = next(p for p in range(min(cores, MOST_PARTS), 0, -1) if matrix.shape[1] % p == 0)
    return jnp.stack(jnp.split(matrix, parts, axis=1))


def product(x: jax.Array, matrix: jax.Array, dtype: Any = None) -> jax.Array:
    """x [..., in] times a matrix in `blocks`: [..., out] in dtype, that of x if None."""
    parts, wide, _ = matrix.shape
    rows = x.reshape(-1, wide)
    if len(rows) > FEW_ROWS:
        whole = matrix.swapaxes(0, 1).reshape(wide, -1)
        out = jnp.matmul(rows, whole, preferred_element_type=dtype)
    else:
        copies = jnp.broadcast_to(rows, (parts, *rows.shape))
        out = jnp.matmul(copies, matrix, preferred_element_type=dtype).swapaxes(0, 1)
    return out.reshape(*x.shape[:-1], -1)


def init_cache(config: configs.Model, batch: int, length: int, dtype: Any = None) -> Cache:
    """An empty cache for `batch` rows of up to `length` tokens; dtype is config.dtype if None."""
    shape = (batch * config.kv_heads, length, config.head_dim)

    def zeros() -> tuple[jax.Array, ...]:
        return tuple(jnp.zeros(shape, dtype or config.dtype) for _ in range(config.layers))

    return Cache(zeros(), zeros())


def grow(cache: Cache, length: int) -> Cache:
    """The same cache with room for `length` tokens.

    A step reads the whole cache: long pieces are sampled fastest in loops over caches of
    doubling length.
    """
    more = length - cache.k[0].shape[1]
    k, v = (tuple(jnp.pad(x, ((0, 0), (0, more), (0, 0))) for x in side) for side in cache)
    return Cache(k, v)


def extend(
    config: configs.Model,
    weights: Weights,
    events: Events,
    cache: Cache,
    start: jax.Array | int,
    last: jax.Array | int | None = None,
    sight: Sight | None = None,
) -> tuple[jax.Array, Cache]:
    """Reads S more events after the `start` that the cache holds.

    Events may be padded at the end: what padding writes into the cache is overwritten by the
    next call before anything sees it, if that starts where the real events end.

    Args:
      config: shape of the model.
      weights: from `prepare`.
      events: int32 [B, S] each.
      cache: holds `start` tokens; start + S must not exceed its length.
      start: int32 scalar, may be traced.
      last: place in the S events whose logits are wanted, may be traced; None for all.
      sight: what each row skips; None where all rows see everything.

    Returns:
      Float32 logits of the next token, [B, S, V] or with `last` [B, V], and the cache.
    """
    rows, count = events.token.shape
    x = transformer.embed(events, list(weights.tables)).astype(config.dtype)
    if sight is None:
        index, hidden = jnp.broadcast_to(start + jnp.arange(count), (rows, count)), None
    else:
        index, hidden = sight.index, jnp.repeat(sight.hidden, config.kv_heads, axis=0)
    turns = position.angles(config, index, events.time, events.pitch)
    ks, vs = [], []
    for w, k, v in zip(weights.layers, cache.k, cache.v, strict=True):
        h = product(transformer.rms_norm(x, w["attention_norm"]), w["joined"])
        q, new_k, new_v = _split(config, h, w, turns)
        k = jax.lax.dynamic_update_slice(k, new_k.astype(k.dtype), (0, start, 0))
        v = jax.lax.dynamic_update_slice(v, new_v.astype(v.dtype), (0, start, 0))
        mixed = _attend(q, k, v, start, count, hidden)
        mixed = mixed.reshape(rows, config.heads, count, -1).transpose(0, 2, 1, 3)
        x = x + product(mixed.reshape(rows, count, -1), w["output"])
        h = product(transformer.rms_norm(x, w["hidden_norm"]), w["gate_up"])
        gate, up = jnp.split(h, 2, axis=-1)
        x = x + product(jax.nn.silu(gate) * up, w["down"])
        ks.append(k)
        vs.append(v)
    if last is not None:
        x = jax.lax.dynamic_index_in_dim(x, last, axis=1, keepdims=False)
    x = transformer.rms_norm(x, weights.norm)
    logits = transformer.capped(product(x, weights.output, wide(x.dtype)), config.softcap)
    return logits, Cache(tuple(ks), tuple(vs))


def _attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    start: jax.Array | int,
    count: int,
    hidden: jax.Array | None,
) -> jax.Array:
    """Attention [G, Q, D] of queries [G, Q, D] to keys and values [G, length, D].

    Query i of a group stands at place start + i % count and sees the places up to its own, but for
    those that are hidden [G, length].
    """
    place = start + jnp.arange(q.shape[1]) % count
    scores = jnp.einsum("gqd,gkd->gqk", q, k.astype(q.dtype), preferred_element_type=wide(q.dtype))
    visible = place[:, None] >= jnp.arange(k.shape[1])
    if hidden is not None:
        visible = visible & ~hidden[:, None]
    scores = jnp.where(visible, scores, HIDDEN)
    shares = jnp.exp(scores - scores.max(-1, keepdims=True))
    mixed = jnp.einsum(
        "gqk,gkd->gqd",
        shares.astype(q.dtype),
        v.astype(q.dtype),
        preferred_element_type=wide(q.dtype),
    )
    return (mixed / shares.sum(-1, keepdims=True)).astype(q.dtype)


def step(
    config: configs.Model,
    weights: Weights,
    events: Events,
    cache: Cache,
    index: jax.Array | int,
    sight: Sight | None = None,
) -> tuple[jax.Array, Cache]:
    """Reads one event [B, 1] at place `index`: logits [B, V] and the cache; see `extend`."""
    return extend(config, weights, events, cache, index, last=0, sight=sight)


def _split(
    config: configs.Model,
    joined: jax.Array,
    w: dict[str, jax.Array],
    turns: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scaled queries [B Hkv, H / Hkv S, D], and keys and values [B Hkv, S, D]."""
    heads = joined.reshape(*joined.shape[:2], -1, config.head_dim).transpose(0, 2, 1, 3)
    q, k, v = jnp.split(heads, [config.heads, config.heads + config.kv_heads], axis=1)
    q = transformer.turned(transformer.rms_norm(q, w["query_norm"]), turns)
    k = transformer.turned(transformer.rms_norm(k, w["key_norm"]), turns)
    q = q * config.head_dim**-0.5
    groups = joined.shape[0] * config.kv_heads
    q, k, v = (x.reshape(groups, -1, config.head_dim) for x in (q, k, v))
    return q, k, v
