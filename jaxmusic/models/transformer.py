"""The decoder-only Transformer, as one NNX module with its layers stacked.

This module is a family, see `jaxmusic.models.base.Family`; decoding is in `decode.py`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxmusic import config as configs
from jaxmusic.core.errors import UserError
from jaxmusic.core.events import Events
from jaxmusic.models import costs as estimates
from jaxmusic.models import position
from jaxmusic.models.attention import kernels as attention
from jaxmusic.models.costs import Costs, Split
from jaxmusic.models.decode import begin, feed, grow, mark, prepare, rewind
from jaxmusic.models.gathering import gathered
from jaxmusic.models.layers import (
    check_dtype,
    dropout,
    embed,
    embedding_tables,
    parameter,
    project,
    rms_norm,
    softcapped,
    unembed,
)
from jaxmusic.models.layout import Axes, Layout, constrain
from jaxmusic.models.params import Output, Params, axes_of, named, unnamed
from jaxmusic.models.remat import POLICIES, SAVED

__all__ = [
    "apply",
    "axes",
    "begin",
    "check",
    "costs",
    "feed",
    "flops",
    "grow",
    "init",
    "lighter",
    "mark",
    "portable",
    "prepare",
    "rewind",
]


class Layers(nnx.Module):
    """All layers, stacked along the first axis of every parameter and scanned."""

    def __init__(self, config: configs.Transformer, *, rngs: nnx.Rngs):
        self.config = config
        embed, heads, kv, head, hidden = (
            config.width,
            config.heads,
            config.kv_heads,
            config.head_dim,
            config.hidden,
        )
        # Each layer adds twice to the residual stream: this keeps its variance at any depth.
        shrink = (2 * config.layers) ** -0.5

        def matrix(axes: tuple[str, ...], fan_in: int, *shape: int, gain: float = 1.0) -> nnx.Param:
            values = jax.random.normal(rngs.params(), (config.layers, *shape), jnp.float32)
            return parameter(config.dtype, values * (gain * fan_in**-0.5), ("layers", *axes))

        def ones(axis: str, size: int) -> nnx.Param:
            return parameter(config.dtype, jnp.ones((config.layers, size)), ("layers", axis))

        self.attention_norm = ones("embed", embed)
        self.query = matrix(("embed", "heads", "head_dim"), embed, embed, heads, head)
        self.key = matrix(("embed", "kv_heads", "head_dim"), embed, embed, kv, head)
        self.value = matrix(("embed", "kv_heads", "head_dim"), embed, embed, kv, head)
        self.query_norm = ones("head_dim", head)
        self.key_norm = ones("head_dim", head)
        self.output = matrix(
            ("heads", "head_dim", "embed"), heads * head, heads, head, embed, gain=shrink
        )
        self.hidden_norm = ones("embed", embed)
        self.gate = matrix(("embed", "hidden"), embed, embed, hidden)
        self.up = matrix(("embed", "hidden"), embed, embed, hidden)
        self.down = matrix(("hidden", "embed"), hidden, hidden, embed, gain=shrink)

    def __call__(
        self,
        x: jax.Array,
        rope: tuple[jax.Array, jax.Array],
        segment: jax.Array,
        key: jax.Array | None,
        layout: Layout | None,
        keep_hidden: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Returns the residual stream [B, T, E] after all layers, and after each [L, B, T, E]."""
        config = self.config
        _, stacked = nnx.split(self)
        weights = {path[0]: leaf[...] for path, leaf in stacked.flat_state()}
        axes = {path[0]: leaf.get_metadata()["axes"][1:] for path, leaf in stacked.flat_state()}
        keys = None
        if key is not None and config.dropout:
            keys = jax.random.split(key, (config.layers, 2))

        def layer(x: jax.Array, scanned: tuple[dict[str, jax.Array], Any]) -> Any:
            weights, keys = scanned
            weights = {
                # Scales of norms are not cast, because norms are computed in float32.
                name: gathered(w, axes[name], x.dtype if w.ndim > 1 else w.dtype, layout)
                for name, w in weights.items()
            }
            first, second = (None, None) if keys is None else keys
            x = x + dropout(attention_block(x, weights), config.dropout, first)
            x = constrain(layout, x, ("batch", "sequence", None))
            x = x + dropout(mlp(x, weights), config.dropout, second)
            x = constrain(layout, x, ("batch", "sequence", None))
            return x, x if keep_hidden else None

        def attention_block(x: jax.Array, w: dict[str, jax.Array]) -> jax.Array:
            h = rms_norm(x, w["attention_norm"])
            q, k, v = (
                checkpoint_name(project(h, w[name]), SAVED).swapaxes(1, 2)
                for name in ("query", "key", "value")
            )
            q = position.apply_rope(rms_norm(q, w["query_norm"]), rope)
            k = position.apply_rope(rms_norm(k, w["key_norm"]), rope)
            kernel = config.attention
            mixed = attention.attend(q, k, v, segment, kernel=kernel, layout=layout).swapaxes(1, 2)
            out = project(mixed.reshape((*h.shape[:2], -1)), flat(w["output"]))
            return checkpoint_name(out, SAVED)

        # Norms, rotations and activations are never kept for the backward pass: recomputing them
        # is cheaper than storing and reading.
        layer = jax.checkpoint(layer, policy=POLICIES[config.remat])
        return jax.lax.scan(layer, x, (weights, keys))


def mlp(x: jax.Array, w: dict[str, jax.Array]) -> jax.Array:
    """Applies the SwiGLU half of a layer (Shazeer 2020) to x [B, T, E]."""
    h = rms_norm(x, w["hidden_norm"])
    gate, up = (checkpoint_name(project(h, w[name]), SAVED) for name in ("gate", "up"))
    return project(jax.nn.silu(gate) * up, w["down"])


def flat(weights: jax.Array) -> jax.Array:
    """Joins the axes for head and width of a head: [H, D, E] to [H D, E]."""
    return weights.reshape(-1, weights.shape[-1])


class Network(nnx.Module):
    """The network, from events to logits of the next token.

    Pre-norm layers with grouped-query attention, normalised queries and keys, rotary positions
    (see `position`), and SwiGLU. The input is the sum of the embeddings of token, position in the
    bar, slot and pitch; the output matrix is the token embedding. Parameters are float32, or
    float64 where the activations are, and carry the names of their axes as metadata `axes`.
    """

    def __init__(self, config: configs.Transformer, vocab_size: int, *, rngs: nnx.Rngs):
        check(config)
        self.config = config

        tables = embedding_tables(config.dtype, config.width, vocab_size, rngs)
        self.token, self.position, self.slot, self.pitch = tables
        self.layers = Layers(config, rngs=rngs)
        self.norm = parameter(config.dtype, jnp.ones(config.width), ("embed",))

    def __call__(
        self,
        events: Events,
        segment: jax.Array,
        *,
        key: jax.Array | None = None,
        layout: Layout | None = None,
        want: Sequence[str] = (),
    ) -> Output:
        """Returns logits of the next token at every position.

        Args:
          events: int32 [B, T] each.
          segment: int32 [B, T]; a token sees only tokens of its own segment up to itself.
          dropout_key: switches dropout on.
          layout: the mesh and the sharding of activations; None for one device.

        Returns:
          float32 [B, T, V] (float64 for float64).
        """
        config = self.config
        tables = (self.token, self.position, self.slot, self.pitch)
        x = embed(events, [t[...] for t in tables]).astype(config.dtype)
        x = constrain(layout, x, ("batch", "sequence", None))
        index = jnp.broadcast_to(jnp.arange(segment.shape[1]), segment.shape)
        rope = position.angles(config, index, events.time, events.pitch)
        x, hidden = self.layers(x, rope, segment, key, layout, "hidden" in want)
        logits = softcapped(unembed(x, self.norm[...], self.token[...]), config.softcap)
        return Output(constrain(layout, logits, ("batch", "sequence", "vocab")), hidden)


def check(
    config: configs.Transformer, context: int | None = None, layout: Layout | None = None
) -> None:
    """Raises UserError if the shape is not that of a Transformer, or its kernel cannot run."""
    attention.check_name(config.attention)
    position.parts(config.rotary)
    if config.heads % config.kv_heads:
        raise UserError(
            f"Set model.kv_heads to a divisor of model.heads: {config.kv_heads} key and value "
            f"heads cannot serve {config.heads} query heads."
        )
    if config.remat not in POLICIES:
        raise UserError(f"Set model.remat to {' or '.join(POLICIES)}, not {config.remat!r}.")
    if config.head_dim % 4:
        raise UserError(f"Set model.head_dim to a multiple of 4, not {config.head_dim}.")
    if config.softcap < 0:
        raise UserError(f"Set model.softcap to 0 for none or more, not {config.softcap:g}.")
    check_dtype(config.dtype)
    if context is not None:
        attention.check(config, context, layout)


@functools.lru_cache(maxsize=16)
def _abstract(config: configs.Transformer, vocab_size: int) -> tuple[nnx.GraphDef, nnx.State]:
    """Returns the graph and the abstract parameters, which carry the names of their axes."""

    def make() -> tuple[nnx.GraphDef, nnx.State]:
        return nnx.split(Network(config, vocab_size, rngs=nnx.Rngs(0)))

    return jax.eval_shape(make)


def init(config: configs.Transformer, vocab_size: int, seed: int) -> Params:
    """Makes new parameters; call it under `jax.jit` with their `out_shardings`."""
    return named(nnx.state(Network(config, vocab_size, rngs=nnx.Rngs(seed))))


def axes(config: configs.Transformer, vocab_size: int) -> dict[str, Axes]:
    """Returns the names of the axes of each parameter."""
    return axes_of(_abstract(config, vocab_size)[1])


def apply(
    params: Params,
    config: configs.Transformer,
    events: Events,
    segment: jax.Array,
    *,
    key: jax.Array | None = None,
    layout: Layout | None = None,
    want: Sequence[str] = (),
) -> Output:
    """Runs the network on packed rows; see `jaxmusic.models.base.Family.apply`."""
    graph, abstract = _abstract(config, params["token"].shape[0])
    network = nnx.merge(graph, unnamed(abstract, params))
    return network(events, segment, key=key, layout=layout, want=want)


def portable(config: configs.Transformer) -> configs.Transformer:
    """Returns the same model with the attention kernel for any length and platform."""
    return dataclasses.replace(config, attention="chunked")


def costs(config: configs.Transformer, vocab_size: int, context: int, split: Split) -> Costs:
    """Estimates other costs of training on a token on a device."""
    operations = flops(config, vocab_size, context)
    return estimates.transformer(config, operations, vocab_size, context, split)


def lighter(config: configs.Transformer) -> configs.Transformer | None:
    """Returns the model with less kept for the backward pass; None if nothing is kept."""
    remat = estimates.lighter(config.remat)
    return dataclasses.replace(config, remat=remat) if remat else None


def flops(config: configs.Transformer, vocab_size: int, context: int) -> float:
    """Returns the floating-point operations of training on one token, forward and backward.

    Forward: two per weight of every matrix, L E D (2 H + 2 Hkv) + 3 L E F + V E weights in all,
    and 4 H D per layer and visible token for scores and sums, of which there are (T + 1) / 2 on
    average. Backward costs twice the forward pass. Norms, rotations, softmax and recomputation
    are not counted.
    """
    heads = config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    matrices = config.layers * config.width * (heads + 3 * config.hidden)
    matrices += vocab_size * config.width
    scores = 4 * config.layers * config.heads * config.head_dim * (context + 1) / 2
    return 3 * (2 * matrices + scores)
