"""Families of models: what each has to offer, and the table of them.

Everything outside this room reaches a network through `of(config)`. A family is a module whose
functions fulfil `Family`; its configuration is a dataclass in `jaxmusic.config`, one member of the
union `config.Model`, with the name of the family as `KIND`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import jax

from jaxmusic import config as configs
from jaxmusic.core.events import Events
from jaxmusic.models import recurrent, transformer
from jaxmusic.models.costs import Costs, Split
from jaxmusic.models.layout import Axes, Layout
from jaxmusic.models.params import Output, Params


class Family(Protocol):
    """A family of token models: events in, logits of the next token out.

    Parameters are a flat dictionary of arrays. Decoding works on a state, a pytree of the family's
    own: `feed` reads events into it, `mark` and `rewind` take some rows back to an earlier moment.
    """

    def check(self, config: Any, context: int | None = None, layout: Layout | None = None) -> None:
        """Checks a configuration, for rows of `context` tokens on a mesh if these are given.

        Raises:
          UserError: a setting is impossible, or cannot run there.
        """

    def init(self, config: Any, vocab_size: int, seed: int) -> Params:
        """Makes new parameters; under `jax.jit` with `out_shardings` where they will live."""

    def axes(self, config: Any, vocab_size: int) -> dict[str, Axes]:
        """Returns the names of the axes of each parameter.

        They decide the sharding (fields of `models.sharding.ShardingRules`); the first axis of
        parameters stacked over layers is "layers".
        """

    def apply(
        self,
        params: Params,
        config: Any,
        events: Events,
        segment: jax.Array,
        *,
        key: jax.Array | None = None,
        layout: Layout | None = None,
        want: Sequence[str] = (),
    ) -> Output:
        """Runs the network on packed rows.

        Args:
          params: the parameters by name.
          config: shape of the model.
          events: int32 [B, T] each.
          segment: int32 [B, T]; nothing passes from one segment to another, nor backwards.
          key: switches dropout on.
          layout: the mesh that the program is for; None for one device.
          want: what is returned besides the logits; "hidden" for the activations after each layer.
        """

    def portable(self, config: Any) -> Any:
        """Returns the same model with kernels that take rows of any length on any platform."""

    def flops(self, config: Any, vocab_size: int, context: int) -> float:
        """Returns the floating-point operations of training on one token."""

    def costs(self, config: Any, vocab_size: int, context: int, split: Split) -> Costs:
        """Estimates what training on a token costs a device beside its operations."""

    def lighter(self, config: Any) -> Any:
        """Returns the same model keeping less for the backward pass; None if there is none."""

    def prepare(self, config: Any, params: Params) -> Any:
        """Returns the parameters as decoding wants them."""

    def begin(self, config: Any, rows: int, length: int) -> Any:
        """Makes the state of `rows` empty streams.

        Args:
          config: shape of the model.
          rows: number of streams.
          length: events for which there is room; `grow` makes more.
        """

    def feed(
        self,
        config: Any,
        weights: Any,
        state: Any,
        events: Events,
        count: jax.Array | int | None = None,
        keep: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Reads S more events of each stream.

        Args:
          config: shape of the model.
          weights: from `prepare`.
          state: from `begin` or the last `feed`.
          events: int32 [B, S] each.
          count: int32 [], how many of them are read, the first ones; None for all. What follows is
            padding.
          keep: bool [B, S], False where a row skips an event as if it were not there; None keeps
            all.

        Returns:
          Float32 logits [B, V] of the token after the last event read, and the new state.
        """

    def grow(self, state: Any, length: int) -> Any:
        """Returns the state with room for `length` events."""

    def mark(self, state: Any) -> Any:
        """Returns what `rewind` needs to return to this moment; rows are the first axis."""

    def rewind(self, state: Any, mark: Any, rows: jax.Array) -> Any:
        """Takes back what some rows (bool [B]) have read since a mark."""


FAMILIES: dict[str, Family] = {
    configs.Transformer.KIND: transformer,
    configs.LSTM.KIND: recurrent,
}
"""Families by the kind of their configuration."""


def of(config: configs.Model) -> Family:
    """Returns the family of a configuration."""
    return FAMILIES[config.KIND]


def abstract_params(config: configs.Model, vocab_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and types of the parameters; nothing is allocated."""
    return jax.eval_shape(lambda: of(config).init(config, vocab_size, 0))


def num_parameters(config: configs.Model, vocab_size: int) -> int:
    """Counts the parameters of a model; nothing is allocated."""
    return sum(leaf.size for leaf in abstract_params(config, vocab_size).values())
