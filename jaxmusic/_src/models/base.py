"""Families of models: their protocol and their table.

Everything outside this room reaches a network through `of(config)`. A family is a module whose
functions implement `Family`; its configuration is a dataclass in `jaxmusic.config`, a member of the
union `config.Model`, with the name of the family as `KIND`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import jax

from jaxmusic import config as configs
from jaxmusic._src.core.events import Events
from jaxmusic._src.models import recurrent, transformer
from jaxmusic._src.models.costs import Costs, Split
from jaxmusic._src.models.layout import Axes, Layout
from jaxmusic._src.models.params import Output, Params


class Family(Protocol):
    """A family of token models, from events to logits of the next token.

    Parameters are a flat dictionary of arrays. Decoding works on a state, a pytree of the
    family: `feed` reads events, `mark` and `rewind` return some rows to an earlier position.
    """

    def check(self, config: Any, context: int | None = None, layout: Layout | None = None) -> None:
        """Checks a configuration, for rows of `context` tokens on a mesh if these are given.

        Raises:
          UserError: a setting is impossible, or cannot run there.
        """

    def init(self, config: Any, vocab_size: int, seed: int) -> Params:
        """Makes new parameters; call it under `jax.jit` with their `out_shardings`."""

    def axes(self, config: Any, vocab_size: int) -> dict[str, Axes]:
        """Returns the names of the axes of each parameter.

        They decide the sharding (keys of `models.layout.RULES`); the first axis of
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
          segment: int32 [B, T]; nothing flows between segments or backwards.
          key: switches dropout on.
          layout: the mesh that the program is for; None for one device.
          want: extra outputs; "hidden" for the activations after each layer.
        """

    def portable(self, config: Any) -> Any:
        """Returns the same model with kernels that take rows of any length on any platform."""

    def flops(self, config: Any, vocab_size: int, context: int) -> float:
        """Returns the floating-point operations of training on one token."""

    def costs(self, config: Any, vocab_size: int, context: int, split: Split) -> Costs:
        """Estimates other costs of training on a token on a device."""

    def lighter(self, config: Any) -> Any:
        """Returns the model with less kept for the backward pass; None if there is none."""

    def prepare(self, config: Any, params: Params) -> Any:
        """Returns the parameters in the layout of decoding."""

    def begin(self, config: Any, rows: int, length: int) -> Any:
        """Makes the state of `rows` empty streams.

        Args:
          config: shape of the model.
          rows: number of streams.
          length: capacity in events; `grow` extends it.
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
          count: int32 [], number of events to read; None for all. The rest is padding.
          keep: bool [B, S], False where a row skips an event; None keeps all.

        Returns:
          Float32 logits [B, V] of the token after the last event read, and the new state.
        """

    def grow(self, state: Any, length: int) -> Any:
        """Returns the state with capacity for `length` events."""

    def mark(self, state: Any) -> Any:
        """Returns a mark for `rewind`, with rows as the first axis."""

    def rewind(self, state: Any, mark: Any, rows: jax.Array) -> Any:
        """Undoes what some rows (bool [B]) have read since a mark."""


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
