"""The decoder-only Transformer: pre-norm layers, stacked and scanned.

Layers have grouped-query attention, normalised queries and keys, rotary positions (see `position`),
and SwiGLU. The input is the sum of the embeddings of token, position in the bar, slot and pitch;
the output matrix is the token embedding. This module is a family, see
`models.base.Family`; decoding is in `decode.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Events
from jaxmusic._src.models import decode, position
from jaxmusic._src.models.attention import kernels as attention
from jaxmusic._src.models.costs import Costs, Split
from jaxmusic._src.models.layers import (
    POLICIES,
    SAVED,
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
from jaxmusic._src.models.layout import Axes, Layout, constrain, gathered_layer
from jaxmusic._src.models.params import Output, Params, axes_of, embeddings, make, stacked

prepare, begin, feed = decode.prepare, decode.begin, decode.feed
grow, mark, rewind = decode.grow, decode.mark, decode.rewind

REPEATED = {"splash": 1.5, "flash": 1.5, "chunked": 0.5, "plain": 0.0}
"""Attention products that the backward pass of a kernel repeats, as a share of the forward pass:
the scores once (Dao et al. 2022); splash and flash compute the gradients of queries and of keys in
two kernels, each with its own scores and their gradients."""


class Network(nnx.Module):
    """Parameters: embeddings, and those of the layers stacked along the first axis.

    They are float32, or float64 where the activations are, and carry the names of their axes.
    """

    def __init__(self, config: configs.Transformer, vocab_size: int, *, rngs: nnx.Rngs):
        check(config)
        sizes = {"embed": config.width, "heads": config.heads, "kv_heads": config.kv_heads}
        sizes |= {"head_dim": config.head_dim, "hidden": config.hidden}
        tables = embedding_tables(config.dtype, config.width, vocab_size, rngs)
        self.token, self.position, self.slot, self.pitch = tables

        def matrix(*axes: str, inputs: int = 1, gain: float = 1.0) -> nnx.Param:
            shape = [sizes[axis] for axis in axes]
            values = jax.random.normal(rngs.params(), (config.layers, *shape), jnp.float32)
            scale = gain * math.prod(shape[:inputs]) ** -0.5
            return parameter(config.dtype, values * scale, ("layers", *axes))

        def ones(axis: str) -> nnx.Param:
            values = jnp.ones((config.layers, sizes[axis]))
            return parameter(config.dtype, values, ("layers", axis))

        # Each layer adds twice to the residual stream: this keeps its variance at any depth.
        shrink = (2 * config.layers) ** -0.5
        self.layers = nnx.Dict(
            attention_norm=ones("embed"),
            query=matrix("embed", "heads", "head_dim"),
            key=matrix("embed", "kv_heads", "head_dim"),
            value=matrix("embed", "kv_heads", "head_dim"),
            query_norm=ones("head_dim"),
            key_norm=ones("head_dim"),
            output=matrix("heads", "head_dim", "embed", inputs=2, gain=shrink),
            hidden_norm=ones("embed"),
            gate=matrix("embed", "hidden"),
            up=matrix("embed", "hidden"),
            down=matrix("hidden", "embed", gain=shrink),
        )
        self.norm = parameter(config.dtype, jnp.ones(config.width), ("embed",))


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
    """Runs the network on packed rows; see `models.base.Family.apply`."""
    x = embed(events, embeddings(params)).astype(config.dtype)
    x = constrain(layout, x, ("batch", "sequence", None))
    index = jnp.broadcast_to(jnp.arange(segment.shape[1]), segment.shape)
    rope = position.angles(config, index, events.time, events.pitch)
    names = stacked(axes(config, len(params["token"])))
    keys = None
    if key is not None and config.dropout:
        keys = jax.random.split(key, (config.layers, 2))

    def layer(x: jax.Array, scanned: tuple[Params, Any]) -> tuple[jax.Array, jax.Array | None]:
        weights, keys = scanned
        w = gathered_layer(weights, names, x.dtype, layout)
        first, second = (None, None) if keys is None else keys
        x = x + dropout(attention_block(x, w), config.dropout, first)
        x = constrain(layout, x, ("batch", "sequence", None))
        x = x + dropout(mlp(x, w), config.dropout, second)
        x = constrain(layout, x, ("batch", "sequence", None))
        return x, x if "hidden" in want else None

    def attention_block(x: jax.Array, w: Params) -> jax.Array:
        h = rms_norm(x, w["attention_norm"])
        q, k, v = (
            checkpoint_name(project(h, w[name]), SAVED).swapaxes(1, 2)
            for name in ("query", "key", "value")
        )
        q = position.apply_rope(rms_norm(q, w["query_norm"]), rope)
        k = position.apply_rope(rms_norm(k, w["key_norm"]), rope)
        kernel = config.attention
        mixed = attention.attend(q, k, v, segment, kernel=kernel, layout=layout).swapaxes(1, 2)
        # Joins the axes for head and width of a head: [H, D, E] to [H D, E].
        output = w["output"].reshape(-1, config.width)
        out = project(mixed.reshape((*h.shape[:2], -1)), output)
        return checkpoint_name(out, SAVED)

    # Norms, rotations and activations are never kept for the backward pass: recomputing them is
    # cheaper than storing and reading.
    layer = jax.checkpoint(layer, policy=POLICIES[config.remat])
    x, hidden = jax.lax.scan(layer, x, (stacked(params), keys))
    logits = softcapped(unembed(x, params["norm"], params["token"]), config.softcap)
    return Output(constrain(layout, logits, ("batch", "sequence", "vocab")), hidden)


def mlp(x: jax.Array, w: Params) -> jax.Array:
    """Applies the SwiGLU half of a layer (Shazeer 2020) to x [B, T, E]."""
    h = rms_norm(x, w["hidden_norm"])
    gate, up = (checkpoint_name(project(h, w[name]), SAVED) for name in ("gate", "up"))
    return project(jax.nn.silu(gate) * up, w["down"])


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
    check_dtype(config.dtype)
    if context is not None:
        attention.check(config, context, layout)


def init(config: configs.Transformer, vocab_size: int, seed: int) -> Params:
    """Makes new parameters; call it under `jax.jit` with their `out_shardings`."""
    return make(Network, config, vocab_size, seed)


def axes(config: configs.Transformer, vocab_size: int) -> dict[str, Axes]:
    """Returns the names of the axes of each parameter."""
    return axes_of(Network, config, vocab_size)


def portable(config: configs.Transformer) -> configs.Transformer:
    """Returns the same model with the attention kernel for any length and platform."""
    return dataclasses.replace(config, attention="chunked")


def costs(config: configs.Transformer, vocab_size: int, context: int, split: Split) -> Costs:
    """Estimates other costs of training on a token on a device.

    Each product reads its input and writes its output once; so does attention; norms, activations
    and residual sums are fused pairwise.
    """
    kernel = attention.choose(config.attention, split.platform)
    mixed, keys = config.heads * config.head_dim, 2 * config.kv_heads * config.head_dim
    width, hidden, tensor = config.width, config.hidden, split.tensor
    scores = 4 * config.layers * mixed * (context + 1) / 2
    layers = flops(config, vocab_size, context) / 3 - scores - 2 * vocab_size * width
    repeated = REPEATED[kernel] * scores
    if config.remat != "products":
        repeated += layers
    if config.remat == "nothing":
        repeated += scores
    kept = {
        "nothing": 0.0,
        "attention": mixed / tensor,
        "products": width + (2 * mixed + keys + 2 * hidden) / tensor,
    }[config.remat]
    layer = 6 * width + (3 * mixed + 2 * keys + 4 * hidden) / tensor
    touched = config.layers * (8 * width + 4 * mixed + 2 * keys + 6 * hidden)
    return Costs(
        activations=config.layers * (width + kept) + 2 * layer,
        moved=(3 + (config.remat != "products")) * touched / tensor,
        repeated=repeated,
        gathered=2 / config.layers,
        settings={"attention": kernel, "remat": config.remat},
    )


def lighter(config: configs.Transformer) -> configs.Transformer | None:
    """Returns the model with less kept for the backward pass; None if nothing is kept."""
    less = [*POLICIES, ""][list(POLICIES).index(config.remat) + 1]
    return dataclasses.replace(config, remat=less) if less else None


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
