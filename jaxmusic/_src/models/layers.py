"""Layers and numeric conventions that families of models and their attention kernels share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import MAX_PITCHES, MAX_POSITIONS, MAX_SLOTS, Events

EMBEDDING_STD = 0.02
"""Initial deviation of the embeddings: small, because the output weights are the same matrix."""

DTYPES = ("float32", "bfloat16", "float64")
"""Values of `dtype`; float64 is for tests, and needs jax_enable_x64."""

HIDDEN = -1e30
"""Score of masked positions; finite, so that no row of a softmax is NaN."""

SAVED, MIXED = "saved", "mixed"
"""Names of activations for the backward pass, of products and of attention; others may be
recomputed."""

POLICIES = {
    "products": jax.checkpoint_policies.save_only_these_names(SAVED, MIXED),
    "attention": jax.checkpoint_policies.save_only_these_names(MIXED),
    "nothing": jax.checkpoint_policies.nothing_saveable,
}
"""Values of `config.Transformer.remat`. Every attention kernel except the reference names its
output and its normalisers MIXED, so that only "nothing" runs its forward pass twice."""


def wide(dtype: Any) -> Any:
    """Returns the accumulation type of `dtype`: float32, or float64 for float64.

    Norms, rotations, softmax, sums of products and logits are computed in it.
    """
    return jnp.promote_types(dtype, jnp.float32)


def rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """Computes x / RMS(x) * scale over the last axis in float32 (Zhang and Sennrich 2019)."""
    exact = x.astype(wide(x.dtype))
    inverse = jax.lax.rsqrt(jnp.mean(exact * exact, axis=-1, keepdims=True) + 1e-6)
    return (exact * inverse * scale).astype(x.dtype)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes a share of x and scales up the rest; returns x unchanged without a key."""
    if key is None or not rate:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def project(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Multiplies x [B, T, E] by weights [E, ...] in the type of x: [B, T, ...].

    The product has two matrices: with more axes XLA:CPU copies transposed operands in the backward
    pass.
    """
    batch, length, width = x.shape
    product = x.reshape(-1, width) @ weights.reshape(width, -1).astype(x.dtype)
    return product.reshape(batch, length, *weights.shape[1:])


def parameter(dtype: str, values: jax.Array, axes: tuple[str | None, ...]) -> nnx.Param:
    """Makes a parameter that carries the names of its axes, in the accumulation type of `dtype`."""
    return nnx.Param(values.astype(wide(dtype)), axes=axes)


def embedding_tables(
    dtype: str, width: int, vocab_size: int, rngs: nnx.Rngs
) -> tuple[nnx.Param, nnx.Param, nnx.Param, nnx.Param]:
    """Makes the embeddings of token, position, slot and pitch, in that order."""

    def table(rows: int, axis: str | None) -> nnx.Param:
        values = jax.random.normal(rngs.params(), (rows, width), jnp.float32)
        return parameter(dtype, values * EMBEDDING_STD, (axis, "embed"))

    return (
        table(vocab_size, "vocab"),
        table(MAX_POSITIONS, None),
        table(MAX_SLOTS, None),
        table(MAX_PITCHES, None),
    )


def embed(events: Events, tables: Sequence[jax.Array]) -> jax.Array:
    """Sums the embeddings of events: float32 [..., E], scaled by sqrt(E)."""
    token, pos, slot, pitch = tables
    total = token[events.token] + pos[events.position] + slot[events.slot] + pitch[events.pitch]
    return total * token.shape[1] ** 0.5


def unembed(x: jax.Array, scale: jax.Array, token: jax.Array) -> jax.Array:
    """Returns the float32 logits [..., V] of the residual stream x [..., E]."""
    x = rms_norm(x, scale)
    return jnp.matmul(x, token.T.astype(x.dtype), preferred_element_type=wide(x.dtype))


def softcapped(logits: jax.Array, softcap: float) -> jax.Array:
    """Returns softcap * tanh(logits / softcap), bounded logits (Gemma 2, 2024); 0 for none."""
    return softcap * jnp.tanh(logits / softcap) if softcap else logits


def check_dtype(dtype: str) -> None:
    """Raises UserError if activations cannot have this type."""
    if dtype not in DTYPES:
        raise UserError(f"Set model.dtype to float32 or bfloat16, not {dtype!r}.")
    if dtype == "float64" and jax.dtypes.canonicalize_dtype("float64") != "float64":
        raise UserError("Set JAX_ENABLE_X64=1 in the environment: model.dtype is float64.")
