"""The decoder-only Transformer, as one NNX module with its layers stacked."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxmusic import config as configs
from jaxmusic.core.errors import UserError
from jaxmusic.core.events import MAX_PITCHES, MAX_POSITIONS, MAX_SLOTS, Events
from jaxmusic.models import position
from jaxmusic.models.attention import kernels as attention
from jaxmusic.models.gathering import gathered
from jaxmusic.models.layout import Layout, constrain
from jaxmusic.models.numerics import wide
from jaxmusic.models.remat import POLICIES, SAVED

EMBEDDING_STD = 0.02
"""Spread of the embeddings at the start: small, as the output weights are the same matrix."""

DTYPES = ("float32", "bfloat16", "float64")
"""What `config.Model.dtype` may be; float64 is for tests, and needs jax_enable_x64."""


def rms_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """x / RMS(x) * scale over the last axis, computed in float32 (Zhang and Sennrich 2019)."""
    exact = x.astype(wide(x.dtype))
    inverse = jax.lax.rsqrt(jnp.mean(exact * exact, axis=-1, keepdims=True) + 1e-6)
    return (exact * inverse * scale).astype(x.dtype)


def drop(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes a share of x and scales up the rest; does nothing without a key."""
    if key is None or not rate:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


class Layers(nnx.Module):
    """All layers: every parameter has the layer as its first axis, and a scan walks over it."""

    def __init__(self, config: configs.Model, *, rngs: nnx.Rngs):
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
            return parameter(config, values * (gain * fan_in**-0.5), ("layers", *axes))

        def ones(axis: str, size: int) -> nnx.Param:
            return parameter(config, jnp.ones((config.layers, size)), ("layers", axis))

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
        turns: tuple[jax.Array, jax.Array],
        segment: jax.Array,
        dropout_key: jax.Array | None,
        layout: Layout | None,
    ) -> jax.Array:
        """The residual stream [B, T, E] after all layers."""
        config = self.config
        _, stacked = nnx.split(self)
        weights = {path[0]: leaf[...] for path, leaf in stacked.flat_state()}
        axes = {path[0]: leaf.get_metadata()["axes"][1:] for path, leaf in stacked.flat_state()}
        keys = None
        if dropout_key is not None and config.dropout:
            keys = jax.random.split(dropout_key, (config.layers, 2))

        def layer(x: jax.Array, scanned: tuple[dict[str, jax.Array], Any]) -> Any:
            weights, keys = scanned
            weights = {
                # Scales of norms stay as they are: norms are taken in float32.
                name: gathered(w, axes[name], x.dtype if w.ndim > 1 else w.dtype, layout)
                for name, w in weights.items()
            }
            first, second = (None, None) if keys is None else keys
            x = x + drop(attended(x, weights), config.dropout, first)
            x = constrain(layout, x, ("batch", "sequence", None))
            x = x + drop(transformed(x, weights), config.dropout, second)
            return constrain(layout, x, ("batch", "sequence", None)), None

        def attended(x: jax.Array, w: dict[str, jax.Array]) -> jax.Array:
            h = rms_norm(x, w["attention_norm"])
            q, k, v = (
                checkpoint_name(project(h, w[name]), SAVED).swapaxes(1, 2)
                for name in ("query", "key", "value")
            )
            q = turned(rms_norm(q, w["query_norm"]), turns)
            k = turned(rms_norm(k, w["key_norm"]), turns)
            kernel = config.attention
            mixed = attention.attend(q, k, v, segment, kernel=kernel, layout=layout).swapaxes(1, 2)
            out = project(mixed.reshape((*h.shape[:2], -1)), flat(w["output"]))
            return checkpoint_name(out, SAVED)

        # Norms, rotations and activations are never kept for the backward pass: they are cheaper
        # computed again than stored and read.
        layer = jax.checkpoint(layer, policy=POLICIES[config.remat])
        return jax.lax.scan(layer, x, (weights, keys))[0]


def turned(x: jax.Array, turns: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Rotary positions on x [B, H, T, D] with cosine and sine [B, T, D / 2]."""
    cosine, sine = turns
    exact = x.astype(wide(x.dtype))
    return position.rotate(exact, cosine[:, None], sine[:, None]).astype(x.dtype)


def transformed(x: jax.Array, w: dict[str, jax.Array]) -> jax.Array:
    """The SwiGLU half of a layer (Shazeer 2020) on x [B, T, E]."""
    h = rms_norm(x, w["hidden_norm"])
    gate, up = (checkpoint_name(project(h, w[name]), SAVED) for name in ("gate", "up"))
    return project(jax.nn.silu(gate) * up, w["down"])


def project(x: jax.Array, weights: jax.Array) -> jax.Array:
    """x [B, T, E] times weights [E, ...] in the type of x: [B, T, ...].

    The product is taken of two matrices: on more axes XLA:CPU would copy transposed operands in
    the backward pass.
    """
    batch, length, width = x.shape
    product = x.reshape(-1, width) @ weights.reshape(width, -1).astype(x.dtype)
    return product.reshape(batch, length, *weights.shape[1:])


def flat(weights: jax.Array) -> jax.Array:
    """Joins the axes for head and width of a head: [H, D, E] to [H D, E]."""
    return weights.reshape(-1, weights.shape[-1])


class Transformer(nnx.Module):
    """Events in, logits of the next token out.

    Pre-norm layers with grouped-query attention, normalised queries and keys, rotary positions
    (see `position`), and SwiGLU. The input is the sum of the embeddings of token, position in the
    bar, slot and pitch; the output matrix is the token embedding. Parameters are float32, or
    float64 where the activations are, and carry the names of their axes as metadata `axes`.
    """

    def __init__(self, config: configs.Model, vocab_size: int, *, rngs: nnx.Rngs):
        check(config)
        self.config = config

        def table(rows: int, axis: str | None) -> nnx.Param:
            values = jax.random.normal(rngs.params(), (rows, config.width), jnp.float32)
            return parameter(config, values * EMBEDDING_STD, (axis, "embed"))

        self.token = table(vocab_size, "vocab")
        self.position = table(MAX_POSITIONS, None)
        self.slot = table(MAX_SLOTS, None)
        self.pitch = table(MAX_PITCHES, None)
        self.layers = Layers(config, rngs=rngs)
        self.norm = parameter(config, jnp.ones(config.width), ("embed",))

    def __call__(
        self,
        events: Events,
        segment: jax.Array,
        *,
        dropout_key: jax.Array | None = None,
        layout: Layout | None = None,
    ) -> jax.Array:
        """Logits of the next token at every place.

        Args:
          events: int32 [B, T] each.
          segment: int32 [B, T]; a token sees only tokens of its own segment up to itself.
          dropout_key: switches dropout on.
          layout: the mesh that the program is for, and how activations lie on it; None for one
            device.

        Returns:
          float32 [B, T, V] (float64 for float64).
        """
        config = self.config
        tables = (self.token, self.position, self.slot, self.pitch)
        x = embed(events, [t[...] for t in tables]).astype(config.dtype)
        x = constrain(layout, x, ("batch", "sequence", None))
        index = jnp.broadcast_to(jnp.arange(segment.shape[1]), segment.shape)
        turns = position.angles(config, index, events.time, events.pitch)
        x = self.layers(x, turns, segment, dropout_key, layout)
        logits = capped(unembed(x, self.norm[...], self.token[...]), config.softcap)
        return constrain(layout, logits, ("batch", "sequence", "vocab"))


def parameter(config: configs.Model, values: jax.Array, axes: tuple[str | None, ...]) -> nnx.Param:
    """A parameter with names of its axes; the same seed gives the same values in either type."""
    return nnx.Param(values.astype(wide(config.dtype)), axes=axes)


def embed(events: Events, tables: list[jax.Array]) -> jax.Array:
    """Sum of the embeddings of events, float32 [..., E], scaled by sqrt(E)."""
    token, pos, slot, pitch = tables
    total = token[events.token] + pos[events.position] + slot[events.slot] + pitch[events.pitch]
    return total * token.shape[1] ** 0.5


def unembed(x: jax.Array, scale: jax.Array, token: jax.Array) -> jax.Array:
    """Float32 logits [..., V] of the residual stream x [..., E]."""
    x = rms_norm(x, scale)
    return jnp.matmul(x, token.T.astype(x.dtype), preferred_element_type=wide(x.dtype))


def capped(logits: jax.Array, softcap: float) -> jax.Array:
    """softcap * tanh(logits / softcap), which stays within the cap (Gemma 2, 2024); 0 for none."""
    return softcap * jnp.tanh(logits / softcap) if softcap else logits


def check(config: configs.Model) -> None:
    """Raises UserError if the shape is not one of a Transformer."""
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
    if config.dtype not in DTYPES:
        raise UserError(f"Set model.dtype to float32 or bfloat16, not {config.dtype!r}.")
    if config.dtype == "float64" and jax.dtypes.canonicalize_dtype("float64") != "float64":
        raise UserError("Set JAX_ENABLE_X64=1 in the environment: model.dtype is float64.")


def make(config: configs.Model, vocab_size: int, seed: Any) -> tuple[nnx.GraphDef, nnx.State]:
    """A new model as (graph definition, parameters).

    Under `jax.eval_shape` the parameters come out abstract, with the names of their axes; under
    `jax.jit` with `out_shardings` they are made where they will live.
    """
    return nnx.split(Transformer(config, vocab_size, rngs=nnx.Rngs(seed)))


def apply(
    graphdef: nnx.GraphDef,
    params: nnx.State,
    events: Events,
    segment: jax.Array,
    dropout_key: jax.Array | None = None,
    layout: Layout | None = None,
) -> jax.Array:
    """Logits [B, T, V] as a pure function of the parameters; see `Transformer.__call__`."""
    model = nnx.merge(graphdef, params)
    return model(events, segment, dropout_key=dropout_key, layout=layout)


def num_parameters(config: configs.Model, vocab_size: int) -> int:
    """Number of parameters, counted on the abstract model."""
    _, params = jax.eval_shape(lambda: make(config, vocab_size, 0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def flops_per_token(config: configs.Model, vocab_size: int, context: int) -> float:
    """Floating-point operations of training on one token, forward and backward.

    Forward: two per weight of every matrix, L E D (2 H + 2 Hkv) + 3 L E F + V E weights in all,
    and 4 H D per layer and visible token for scores and sums, of which there are (T + 1) / 2 on
    average. Backward costs twice the forward pass. Norms, rotations and softmax are left out,
    and so is what `remat` computes again.
    """
    heads = config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    matrices = config.layers * config.width * (heads + 3 * config.hidden)
    matrices += vocab_size * config.width
    scores = 4 * config.layers * config.heads * config.head_dim * (context + 1) / 2
    return 3 * (2 * matrices + scores)
