"""Objectives: what training minimises, and what it reports of a batch.

An objective calls the network itself, so that it may run a second one beside it, ask for hidden
states, or read batches of another kind. It is one class and one line in `OBJECTIVES`; its
configuration is a dataclass in `jaxmusic.config`, a member of the union `config.Objective`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax

from jaxmusic import config as configs
from jaxmusic._src.core.events import Batch
from jaxmusic._src.models.loss import summed_losses, token_losses
from jaxmusic._src.models.params import NOTHING, Frozen, Output, Params

Metrics = dict[str, jax.Array]
"""Sums over a batch by name, a float [] each."""
Network = Callable[[Batch, jax.Array | None], Output]
"""The model that is trained, at the present parameters: (batch, dropout key) -> output."""
C = TypeVar("C")


class Objective(Generic[C]):
    """The default of every part but the loss; `loss` is what a new objective writes.

    Attributes:
      config: its settings.
    """

    def __init__(self, config: C):
        """Checks the settings; raises UserError."""
        self.config = config

    def frozen(self, vocab_size: int) -> Frozen:
        """Returns the parameters that it reads and never changes, such as those of a teacher."""
        return NOTHING

    def weight(self, batch: Batch) -> jax.Array:
        """Returns the number of terms in the loss of a batch, by which its sum is divided."""
        return batch.weight.sum()

    def loss(
        self, network: Network, frozen: Params, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, Metrics]:
        """Returns the loss summed over a batch, and what is reported of it.

        Args:
          network: the model that is trained.
          frozen: parameters as `frozen` named them.
          batch: packed rows.
          key: key of the dropout; None for none.

        Returns:
          The sum, a float [], and metrics: sums that are divided by `weight` where they are shown.
          One is "nll", the negative log-likelihood of the targets in nats, shown as the loss.
        """
        raise NotImplementedError

    def evaluate(
        self, network: Network, frozen: Params, batch: Batch, onsets: jax.Array
    ) -> Metrics:
        """Returns the sums of a validation batch: "nll", "weight", "notes", and any others.

        Args:
          network: the model that is trained.
          frozen: parameters as `frozen` named them.
          batch: packed rows.
          onsets: bool [V], True for tokens that each stand for one note.
        """
        nll = token_losses(network(batch, None).logits, batch.target) * batch.weight
        notes = (onsets[batch.target] * batch.weight).sum()
        return {"nll": nll.sum(), "weight": batch.weight.sum(), "notes": notes}


class CrossEntropy(Objective[configs.CrossEntropy]):
    """Cross-entropy of the next token, with a z-loss (Chowdhery et al. 2022, PaLM)."""

    def loss(
        self, network: Network, frozen: Params, batch: Batch, key: jax.Array | None
    ) -> tuple[jax.Array, Metrics]:
        """Returns the summed loss and the negative log-likelihood in it."""
        logits = network(batch, key).logits
        loss, nll = summed_losses(logits, batch.target, batch.weight, self.config.z_loss)
        return loss, {"nll": nll}


OBJECTIVES: dict[str, Callable[[Any], Objective[Any]]] = {
    configs.CrossEntropy.KIND: CrossEntropy,
}
"""Objectives by the kind of their configuration."""


def of(config: configs.Objective) -> Objective[Any]:
    """Makes the objective of a configuration; raises UserError where a setting is impossible."""
    return OBJECTIVES[config.KIND](config)
