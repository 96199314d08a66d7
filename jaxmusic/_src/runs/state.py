"""The state of a run: everything that a train step changes and a checkpoint saves."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmusic._src.models.params import Params


class State(NamedTuple):
    """Everything that a run carries from one step to the next.

    Attributes:
      params: arrays by name, float32 (float64 for a model of that type).
      opt_state: state of the optimiser.
      step: int32 [], steps made; also the position in the data, as each step reads one batch.
      skipped: int32 [], steps whose update was left out because it was not finite or stood out.
      average: running average of `params`, of the same names; empty without `optimizer.ema`.
      usual: running statistics of losses and gradients, see `train.spikes`; None without
        `optimizer.spike`.
      frozen: parameters that are read and never changed, "base" under an adapter and those of the
        "objective"; no part of a checkpoint.
    """

    params: Params
    opt_state: Any
    step: jax.Array
    skipped: jax.Array
    average: Params
    usual: Any
    frozen: dict[str, Params]

    @property
    def weights(self) -> Params:
        """The parameters that are validated and that compose: the average, where there is one."""
        return self.average or self.params

    def starting_from(self, params: Params) -> State:
        """Returns a first state with other parameters, which become part of it."""
        # A copy, as the step uses up the buffers of either.
        average = {name: jnp.copy(params[name]) for name in self.average}
        return self._replace(params=params, average=average)
