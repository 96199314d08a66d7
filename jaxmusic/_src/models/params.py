"""Parameters of a model by name, and the names of their axes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxmusic._src.models.layout import Axes

T = TypeVar("T")
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


def make(network: Callable[..., nnx.Module], config: Any, vocab_size: int, seed: int) -> Params:
    """Makes the parameters of a network and names them by their path, as in "layers.query"."""
    return {
        ".".join(map(str, path)): variable[...]
        for path, variable in nnx.state(
            network(config, vocab_size, rngs=nnx.Rngs(seed))
        ).flat_state()
    }


def axes_of(network: Callable[..., nnx.Module], config: Any, vocab_size: int) -> dict[str, Axes]:
    """Returns the names of the axes of each parameter; nothing is allocated."""
    made = jax.eval_shape(lambda: nnx.state(network(config, vocab_size, rngs=nnx.Rngs(0))))
    return {
        ".".join(map(str, path)): leaf.get_metadata()["axes"] for path, leaf in made.flat_state()
    }


def embeddings(params: Params) -> tuple[jax.Array, ...]:
    """Returns the tables of token, position, slot and pitch."""
    return tuple(params[name] for name in ("token", "position", "slot", "pitch"))


def stacked(values: Mapping[str, T]) -> dict[str, T]:
    """Returns what there is for the layers, by the rest of its name."""
    prefix = "layers."
    return {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}


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
