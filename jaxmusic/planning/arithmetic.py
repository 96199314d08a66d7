"""What a step costs by arithmetic, and the least time that hardware can take for it.

A roofline (Williams et al. 2009): a step takes at least as long as the slowest of computing, moving
between memory and chip, and sending. Everything is taken to overlap with everything else and to run
at its peak, so that real steps are slower. No time of this module has been checked on a device.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxmusic import config as configs
from jaxmusic.cluster.topology import NODE, Topology
from jaxmusic.models import base
from jaxmusic.models.costs import Costs
from jaxmusic.planning.collectives import Collective
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


@dataclasses.dataclass(frozen=True)
class Work:
    """Work of one step: bytes are those of each chip, the rest of all chips together.

    Attributes:
      tokens: tokens of the batch.
      flops: floating-point operations of the model, forward and backward, which MFU counts.
      again: those that are made a second time to save memory.
      moved: bytes between memory and chip, on each chip.
    """

    tokens: int
    flops: float
    again: float
    moved: float


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Least times of a step, in seconds.

    Attributes:
      compute: for its floating-point operations.
      memory: for what moves between memory and chip.
      links: for what is sent within a slice or node.
      network: for what is sent between slices or nodes.
    """

    compute: float
    memory: float
    links: float
    network: float

    @property
    def step(self) -> float:
        """The step, if all of it overlaps."""
        return max(dataclasses.astuple(self))

    @property
    def alone(self) -> float:
        """The step, if nothing overlaps."""
        return sum(dataclasses.astuple(self))

    @property
    def bound(self) -> str:
        """What the step waits for: compute, memory, links or network."""
        return max(dataclasses.asdict(self).items(), key=lambda item: item[1])[0]


def state_bytes(experiment: configs.Experiment, vocab_size: int, shape: Shape) -> float:
    """Returns the bytes per chip of parameters, moments and average, small arrays aside."""
    settings, model = experiment.optimizer, experiment.model
    optimizer = make_optimizer(settings, experiment.steps, base.of(model).axes(model, vocab_size))
    params = base.abstract_params(model, vocab_size)
    copies = 2 if settings.ema else 1
    numbers = copies * optax.tree.size(params)
    numbers += optax.tree.size(jax.eval_shape(optimizer.init, params))
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
    data, width = experiment.data, jnp.dtype(experiment.model.dtype).itemsize
    here = data.batch * data.context / (shape["replica"] * shape["fsdp"] * shape["context"])
    parts = 2 if experiment.accumulate > 1 else 1
    temporaries = here / experiment.accumulate * (width * costs.activations + 2 * 4 * vocab_size)
    temporaries += costs.gathered * parameters / shape["tensor"] * width
    temporaries += 4 * parts * parameters / (shape["fsdp"] * shape["tensor"])
    state = state_bytes(experiment, vocab_size, shape)
    arguments = state + 4 * 8 * here
    return Memory(
        arguments=arguments,
        temporaries=temporaries,
        output=state,
        program=0.0,
        total=arguments + temporaries,
        available=available,
    )


def work(
    experiment: configs.Experiment, vocab_size: int, mesh: Shape, costs: Costs, parameters: int
) -> Work:
    """What a step of an experiment does on a mesh.

    Args:
      experiment: model, batch and rematerialisation.
      vocab_size: tokens of the codec.
      mesh: devices along each axis.
      costs: of the model, see `models.base.Family.costs`.
      parameters: of the model.
    """
    model, data = experiment.model, experiment.data
    tokens = data.batch * data.context
    per_token = base.of(model).flops(model, vocab_size, data.context)
    shards = mesh["fsdp"] * mesh["tensor"]
    here = tokens / (mesh["replica"] * mesh["fsdp"] * mesh["context"])
    # Adam reads and writes a parameter and two moments, and reads a gradient that each part of the
    # batch writes, or adds to: 4 bytes each.
    state = parameters / shards * 4 * (6 + 2 * experiment.accumulate)
    # Matrices are written when they are gathered and read by products, in both passes; gradients
    # are written by products and read when they are sent.
    width = jnp.dtype(model.dtype).itemsize
    gathered = parameters / mesh["tensor"] * width * 6 * experiment.accumulate
    moved = here * costs.moved * width + here * vocab_size * 4 * 4
    return Work(tokens, tokens * per_token, tokens * costs.repeated, state + gathered + moved)


def least_traffic(parameters: int, mesh: Shape, width: int = 2) -> float:
    """Bytes that each chip has to send in a step of fully sharded data parallelism.

    Parameters are gathered twice and gradients scattered once, along `fsdp`, in numbers of `width`
    bytes. What copies along `replica` exchange, and what a sequence or heads split over devices
    need, comes on top of it.
    """
    n = mesh["fsdp"]
    return 3 * width * parameters / mesh["tensor"] * (n - 1) / n


def assumed_traffic(parameters: int, mesh: Shape, parts: int, width: int = 2) -> list[Collective]:
    """The traffic of a step where no program has been compiled: the least there is.

    Args:
      parameters: of the model.
      mesh: devices along each axis.
      parts: parts of a batch, each of which gathers and scatters.
      width: bytes of a number that is sent.
    """
    each = least_traffic(parameters, mesh, width) / 3
    copies = mesh["replica"] * mesh["context"]
    share = parameters / (mesh["tensor"] * mesh["fsdp"]) * width
    summed = 2 * share * (copies - 1) / copies
    dtype = "bf16" if width == 2 else "f32"
    found = [
        Collective("all-gather", each, 2 * parts, ("fsdp",), False, dtype),
        Collective("reduce-scatter", each, parts, ("fsdp",), False, dtype),
        Collective("all-reduce", summed, parts, ("replica",), False, dtype),
    ]
    return [c for c in found if c.bytes]


def roofline(
    work: Work, sent: Sequence[Collective], topology: Topology, mesh: jax.sharding.Mesh | Shape
) -> Roofline:
    """Least times of a step.

    Args:
      work: what it does.
      sent: what it sends.
      topology: the hardware.
      mesh: where its devices lie, or their numbers along each axis for GPUs.
    """
    chip = topology.chip
    links = network = 0.0
    for each in sent:
        size = each.bytes * each.times
        if isinstance(mesh, dict):
            far, speed = _between_nodes(mesh, each.axes), chip.link
        else:
            far, speed = each.network, _speed(topology, mesh, each.axes)
        network += size / chip.network if far else 0.0
        links += 0.0 if far else size / speed
    return Roofline(
        compute=(work.flops + work.again) / (topology.count * chip.flops),
        memory=work.moved / chip.bandwidth,
        links=links,
        network=network,
    )


def _between_nodes(mesh: Shape, axes: tuple[str, ...]) -> bool:
    """Whether GPUs along some axes of the mesh are in more than one node."""
    names = list(mesh)
    # Neighbours on an axis are as far apart as there are devices along the axes after it.
    return math.prod(mesh[name] for name in names[names.index(axes[0]) :]) > NODE


def _speed(topology: Topology, mesh: jax.sharding.Mesh, axes: tuple[str, ...]) -> float:
    """Bytes per second that a chip can send to others along some axes of the mesh.

    Every dimension of the torus along which they differ has two links to send by if it closes to a
    ring within them, and else one, as the ends of a line have.
    """
    first = tuple(slice(None) if name in axes else 0 for name in mesh.axis_names)
    devices: list[Any] = mesh.devices[first].flatten().tolist()
    slices = [getattr(device, "slice_index", 0) for device in devices]
    near = [device for device, slice_ in zip(devices, slices) if slice_ == slices[0]]
    speed = 0.0
    for dimension, size in enumerate(topology.shape):
        along = len({device.coords[dimension] for device in near})
        ring = along == size and topology.closes(dimension)
        speed += topology.chip.link * ((2 if ring else 1) if along > 1 else 0)
    return speed or topology.chip.link
