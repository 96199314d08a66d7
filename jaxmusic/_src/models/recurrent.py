"""The LSTM (Hochreiter and Schmidhuber 1997): layers that read a row event by event.

This module is a family, see `models.base.Family`. The layers are pre-norm residual blocks;
embeddings, norms and the tied output matrix are those of the Transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Events
from jaxmusic._src.models.costs import Costs, Split
from jaxmusic._src.models.layers import (
    check_dtype,
    dropout,
    embed,
    embedding_tables,
    parameter,
    project,
    rms_norm,
    unembed,
    wide,
)
from jaxmusic._src.models.layout import Axes, Layout, constrain, gathered_layer
from jaxmusic._src.models.params import Output, Params, axes_of, embeddings, make, stacked

GATES = 4
"""Input, forget and output gate, and the candidate of the cell."""
FORGET_BIAS = 1.0
"""Bias of the forget gate at the start, so that cells remember (Jozefowicz et al. 2015)."""


class State(NamedTuple):
    """State of B streams in all layers: [B, L, E] each, the cell in the accumulation type."""

    hidden: jax.Array
    cell: jax.Array


class Network(nnx.Module):
    """Parameters: embeddings, and those of the layers stacked along the first axis."""

    def __init__(self, config: configs.LSTM, vocab_size: int, *, rngs: nnx.Rngs):
        check(config)
        layers, width = config.layers, config.width
        tables = embedding_tables(config.dtype, width, vocab_size, rngs)
        self.token, self.position, self.slot, self.pitch = tables

        def matrix() -> nnx.Param:
            values = jax.random.normal(rngs.params(), (layers, width, GATES * width), jnp.float32)
            return parameter(config.dtype, values * width**-0.5, ("layers", "embed", None))

        bias = jnp.zeros((layers, GATES, width)).at[:, 1].set(FORGET_BIAS).reshape(layers, -1)
        self.layers = nnx.Dict(
            input=matrix(),
            recurrent=matrix(),
            bias=parameter(config.dtype, bias, ("layers", None)),
            norm=parameter(config.dtype, jnp.ones((layers, width)), ("layers", "embed")),
        )
        self.norm = parameter(config.dtype, jnp.ones(width), ("embed",))


def check(config: configs.LSTM, context: int | None = None, layout: Layout | None = None) -> None:
    """Raises UserError if the shape is not that of an LSTM, or it cannot run on the mesh."""
    check_dtype(config.dtype)
    if layout is not None and layout.ways("sequence") > 1:
        raise UserError("Set mesh.context to 1: a recurrent network reads each row in order.")


def init(config: configs.LSTM, vocab_size: int, seed: int) -> Params:
    """Makes new parameters; call it under `jax.jit` with their `out_shardings`."""
    return make(Network, config, vocab_size, seed)


def axes(config: configs.LSTM, vocab_size: int) -> dict[str, Axes]:
    """Returns the names of the axes of each parameter."""
    return axes_of(Network, config, vocab_size)


def cell(
    gates: jax.Array, hidden: jax.Array, memory: jax.Array, recurrent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns hidden state and cell [B, E] after one event.

    Args:
      gates: [B, 4 E], the part of the gates that comes from the input, with the bias.
      hidden: [B, E], hidden state before it, in the type of the activations.
      memory: [B, E], cell before it, in the accumulation type.
      recurrent: [E, 4 E].
    """
    total = gates + jnp.matmul(hidden, recurrent, preferred_element_type=gates.dtype)
    i, f, o, g = jnp.split(total, GATES, axis=-1)
    memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
    return (jax.nn.sigmoid(o) * jnp.tanh(memory)).astype(hidden.dtype), memory


def apply(
    params: Params,
    config: configs.LSTM,
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
    before = jnp.pad(segment, ((0, 0), (1, 0)))[:, :-1]
    fresh = (segment != before).swapaxes(0, 1)[..., None]
    names = stacked(axes(config, len(params["token"])))
    keys = None if key is None else jax.random.split(key, config.layers)

    def layer(x: jax.Array, scanned: tuple[Params, Any]) -> tuple[jax.Array, jax.Array | None]:
        weights, key = scanned
        w = gathered_layer(weights, names, x.dtype, layout)
        h = rms_norm(x, w["norm"])
        gates = project(h, w["input"]).astype(wide(x.dtype)) + w["bias"]

        def step(state: Any, now: Any) -> Any:
            gates, fresh = now
            hidden, memory = (jnp.where(fresh, 0, part) for part in state)
            state = cell(gates, hidden, memory, w["recurrent"])
            return state, state[0]

        nothing = jnp.zeros_like(x[:, 0])
        start = nothing, nothing.astype(gates.dtype)
        _, out = jax.lax.scan(step, start, (gates.swapaxes(0, 1), fresh))
        x = x + dropout(out.swapaxes(0, 1), config.dropout, key)
        x = constrain(layout, x, ("batch", "sequence", None))
        return x, x if "hidden" in want else None

    x, hidden = jax.lax.scan(layer, x, (stacked(params), keys))
    logits = unembed(x, params["norm"], params["token"])
    return Output(constrain(layout, logits, ("batch", "sequence", "vocab")), hidden)


def portable(config: configs.LSTM) -> configs.LSTM:
    """Returns the same model; it runs on rows of any length on any platform."""
    return config


def flops(config: configs.LSTM, vocab_size: int, context: int) -> float:
    """Returns the floating-point operations of training on one token, forward and backward.

    Forward: two per weight of every matrix, 8 L E^2 + V E in all; backward costs twice that.
    """
    return 6 * (2 * GATES * config.layers * config.width**2 + vocab_size * config.width)


def costs(config: configs.LSTM, vocab_size: int, context: int, split: Split) -> Costs:
    """Estimates other costs of training on a token on a device.

    A layer keeps its input, the gates and both parts of its state.
    """
    layer = (2 * GATES + 4) * config.width
    return Costs(
        activations=config.layers * layer + layer,
        moved=3 * config.layers * 2 * layer,
        repeated=0.0,
        gathered=2 / config.layers,
        settings={},
    )


def lighter(config: configs.LSTM) -> None:
    """Returns None, because the layers have no rematerialisation."""


def prepare(config: configs.LSTM, params: Params) -> Params:
    """Returns the parameters with matrices of layers in the type of the activations."""
    dtype = jnp.dtype(config.dtype)
    matrices = ("layers.input", "layers.recurrent")
    return {name: v.astype(dtype) if name in matrices else v for name, v in params.items()}


def begin(config: configs.LSTM, rows: int, length: int) -> State:
    """Makes the state of `rows` empty streams; its capacity is unlimited."""
    shape = (rows, config.layers, config.width)
    return State(jnp.zeros(shape, config.dtype), jnp.zeros(shape, wide(config.dtype)))


def feed(
    config: configs.LSTM,
    weights: Params,
    state: State,
    events: Events,
    count: jax.Array | int | None = None,
    keep: jax.Array | None = None,
) -> tuple[jax.Array, State]:
    """Reads S more events; see `models.base.Family.feed`."""
    rows, size = events.token.shape
    keep = jnp.ones((rows, size), bool) if keep is None else keep
    keep &= jnp.arange(size) < (size if count is None else count)
    layers = stacked(weights)

    def layer(x: jax.Array, scanned: Any) -> Any:
        w, hidden, memory = scanned
        h = rms_norm(x, w["norm"])
        gates = jnp.matmul(h, w["input"]).astype(memory.dtype) + w["bias"]
        hidden, memory = cell(gates, hidden, memory, w["recurrent"])
        return x + hidden, (hidden, memory)

    def step(carry: tuple[State, jax.Array], now: tuple[jax.Array, jax.Array]) -> Any:
        (state, out), (x, keep) = carry, now
        by_layer = (part.swapaxes(0, 1) for part in state)
        x, parts = jax.lax.scan(layer, x, (layers, *by_layer))
        new = State(*(part.swapaxes(0, 1) for part in parts))
        state = jax.tree.map(lambda a, b: jnp.where(keep[:, None, None], a, b), new, state)
        return (state, jnp.where(keep[:, None], x, out)), None

    x = embed(events, embeddings(weights)).astype(config.dtype)
    (state, out), _ = jax.lax.scan(
        step, (state, jnp.zeros_like(x[:, 0])), (x.swapaxes(0, 1), keep.swapaxes(0, 1))
    )
    return unembed(out, weights["norm"], weights["token"]), state


def grow(state: State, length: int) -> State:
    """Returns the state itself, whose size is constant."""
    return state


def mark(state: State) -> State:
    """Returns the state itself as the mark for `rewind`."""
    return state


def rewind(state: State, mark: State, rows: jax.Array) -> State:
    """Undoes what some rows (bool [B]) have read since a mark."""
    return jax.tree.map(lambda now, then: jnp.where(rows[:, None, None], then, now), state, mark)
