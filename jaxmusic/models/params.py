"""Parameters of a model by name, and the names of their axes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxmusic.models.layout import Axes

Params = dict[str, jax.Array]
"""Arrays by name, such as ``{"layers.query": ...}``, float32 (float64 for a model of that type)."""


class Output(NamedTuple):
    """Outputs of a network.

    Attributes:
      logits: float32 [B, T, V] (float64 for float64), of the token after each position.
      hidden: [L, B, T, E], the activations after each layer, if "hidden" was wanted.
    """

    logits: jax.Array
    hidden: jax.Array | None = None


class Frozen(NamedTuple):
    """Parameters that a training step reads and never changes.

    They are sharded like trained ones, are not in checkpoints, and are identified by their
    fingerprint.

    Attributes:
      axes: names of the axes of each array.
      shapes: the arrays, abstract.
      load: makes the arrays, given abstract ones with their shardings.
    """

    axes: Mapping[str, Axes]
    shapes: Mapping[str, jax.ShapeDtypeStruct]
    load: Callable[[Mapping[str, jax.ShapeDtypeStruct]], Params]


NOTHING = Frozen({}, {}, lambda like: {})
"""No frozen parameters."""


def named(params: nnx.State) -> dict[str, Any]:
    """Returns parameters as a flat dictionary, such as ``{"layers.query": ...}``."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    return {
        ".".join(part.key for part in path if isinstance(part, jax.tree_util.DictKey)): leaf
        for path, leaf in flat
    }


def unnamed(like: nnx.State, values: dict[str, Any]) -> nnx.State:
    """Inverts `named`, for parameters of the same structure as `like`."""
    return jax.tree.unflatten(jax.tree.structure(like), [values[name] for name in named(like)])


def axes_of(params: nnx.State) -> dict[str, Axes]:
    """Returns the names of the axes of each parameter, by its name."""
    variables = jax.tree.leaves(params, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))
    return dict(zip(named(params), [v.get_metadata()["axes"] for v in variables]))


def fingerprint(params: Params) -> str:
    """Returns a hash of the values of parameters, of whatever sharding; empty for none.

    Each array is summed on its devices in integers, with a different factor for every number, so
    that no process needs the whole array.
    """
    if not params:
        return ""

    @jax.jit
    def sums(params: Params) -> dict[str, jax.Array]:
        return {name: _checksum(leaf) for name, leaf in params.items()}

    found = {name: int(np.asarray(value)) for name, value in sums(params).items()}
    text = json.dumps([[name, params[name].shape, found[name]] for name in sorted(found)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _checksum(leaf: jax.Array) -> jax.Array:
    bits = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
    factor = jnp.ones((), jnp.uint32)
    for axis in range(bits.ndim):
        index = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
        factor = factor * jnp.uint32(2654435761) + index
    return (bits * (2 * factor + 1)).sum(dtype=jnp.uint32)
