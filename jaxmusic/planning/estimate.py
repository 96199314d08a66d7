"""How much memory a step takes: what is known of it, and by arithmetic where nothing is."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import optax

from jaxmusic import config as configs
from jaxmusic.models import base
from jaxmusic.models.costs import Costs
from jaxmusic.train.optimizer import make_optimizer

Shape = dict[str, int]
"""Devices along each axis of the mesh."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each chip while a step runs.

    Attributes:
      arguments: the state and the batch; None where a compiler refused the step.
      temporaries: all that a step makes and forgets, at its peak; likewise.
      output: the new state and the metrics, which take the place of the old; likewise.
      program: the compiled program itself; likewise.
      total: what is needed at once.
      available: what the chip has for a program.
    """

    arguments: float | None
    temporaries: float | None
    output: float | None
    program: float | None
    total: float
    available: float

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.total <= self.available


def state_bytes(experiment: configs.Experiment, vocab_size: int, shape: Shape) -> float:
    """Returns the bytes per chip of parameters, moments and average, small arrays aside."""
    settings = experiment.optimizer
    model = experiment.model
    axes = base.of(model).axes(model, vocab_size)
    optimizer = make_optimizer(settings, experiment.steps, axes)
    params = base.abstract_params(model, vocab_size)
    moments = jax.eval_shape(optimizer.init, params)
    size = optax.tree.size(params)
    numbers = size * (2 if settings.ema else 1) + sum(
        math.prod(leaf.shape) for leaf in jax.tree.leaves(moments)
    )
    return numbers * 4 / (shape["fsdp"] * shape["tensor"])


def memory(
    experiment: configs.Experiment,
    vocab_size: int,
    parameters: int,
    shape: Shape,
    available: float,
    costs: Costs,
) -> Memory:
    """An estimate of the memory of a step.

    Temporaries are gradients in float32, the matrices of two layers gathered, what the layers keep
    for the backward pass, the activations of one layer with their gradients, and logits with
    theirs in float32.

    Args:
      experiment: the experiment.
      vocab_size: tokens of the codec.
      parameters: of the model.
      shape: devices along each axis of the mesh.
      available: bytes that a chip has for a program.
      costs: of the model, see `models.base.Family.costs`.
    """
    model, data = experiment.model, experiment.data
    width = jnp.dtype(model.dtype).itemsize
    split = shape["replica"] * shape["fsdp"] * shape["context"]
    tokens = data.batch * data.context / split / experiment.accumulate
    tensor = shape["tensor"]
    parts = 2 if experiment.accumulate > 1 else 1
    gradients = 4 * parts * parameters / (shape["fsdp"] * tensor)
    temporaries = tokens * (width * costs.activations + 2 * 4 * vocab_size)
    temporaries += costs.gathered * parameters / tensor * width + gradients
    batch = 4 * 8 * data.batch * data.context / split
    state = state_bytes(experiment, vocab_size, shape)
    return Memory(
        arguments=state + batch,
        temporaries=temporaries,
        output=state,
        program=0.0,
        total=state + batch + temporaries,
        available=available,
    )
