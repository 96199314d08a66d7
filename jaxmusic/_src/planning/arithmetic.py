"""What a step costs by arithmetic, and the least time that hardware can take for it.

A roofline (Williams et al. 2009): a step takes at least as long as the slowest of computing, moving
between memory and chip, and sending. Everything is taken to overlap with everything else and to run
at its peak, so that real steps are slower. No time of this module has been checked on a device.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmusic import config as configs
from jaxmusic._src.cluster.topology import NODE, Topology
from jaxmusic._src.models import base
from jaxmusic._src.models.costs import Costs
from jaxmusic._src.planning.collectives import Collective
from jaxmusic._src.train.optimizer import make_optimizer

Shape = dict[str, int]
"""Devices along each axis of the mesh."""


class Memory(NamedTuple):
    """Bytes on each chip while a step runs; the first four are None where a compiler refused it.

    Attributes:
      arguments: the state and the batch.
      temporaries: all that a step makes and forgets, at its peak.
      output: the new state and the metrics, which take the place of the old.
      program: the compiled program itself.
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


class Roofline(NamedTuple):
    """Least times of a step, in seconds; the largest is that of the step if all of it overlaps.

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
    def bound(self) -> str:
        """What the step waits for: compute, memory, links or network."""
        return self._fields[self.index(max(self))]


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of a step of an experiment that is split over a mesh.

    Attributes:
      experiment: the experiment.
      vocab_size: tokens of the codec.
      mesh: devices along each axis.
      costs: of the model, see `models.base.Family.costs`.
    """

    experiment: configs.Experiment
    vocab_size: int
    mesh: Shape
    costs: Costs

    @functools.cached_property
    def parameters(self) -> int:
        """Parameters of the model."""
        return base.num_parameters(self.experiment.model, self.vocab_size)

    @property
    def tokens(self) -> int:
        """Tokens of the batch."""
        return self.experiment.data.batch * self.experiment.data.context

    @property
    def flops(self) -> float:
        """Floating-point operations of the model, forward and backward, which MFU counts."""
        model, context = self.experiment.model, self.experiment.data.context
        return self.tokens * base.of(model).flops(model, self.vocab_size, context)

    @property
    def again(self) -> float:
        """Floating-point operations that are made a second time to save memory."""
        return self.tokens * self.costs.repeated

    @property
    def here(self) -> float:
        """Tokens of the batch on each chip."""
        mesh = self.mesh
        return self.tokens / (mesh["replica"] * mesh["fsdp"] * mesh["context"])

    @property
    def width(self) -> int:
        """Bytes of an activation, and of a number that is sent."""
        return jnp.dtype(self.experiment.model.dtype).itemsize

    @property
    def moved(self) -> float:
        """Bytes between memory and chip, on each chip."""
        parameters, mesh, parts = self.parameters, self.mesh, self.experiment.accumulate
        # Adam reads and writes a parameter and two moments, and reads a gradient that each part of
        # the batch writes, or adds to: 4 bytes each.
        state = parameters / (mesh["fsdp"] * mesh["tensor"]) * 4 * (6 + 2 * parts)
        # Matrices are written when they are gathered and read by products, in both passes;
        # gradients are written by products and read when they are sent.
        gathered = parameters / mesh["tensor"] * self.width * 6 * parts
        moved = self.here * self.costs.moved * self.width + self.here * self.vocab_size * 4 * 4
        return state + gathered + moved

    def memory(self, available: float) -> Memory:
        """Estimates the memory of a step on a chip with `available` bytes for a program.

        Temporaries are gradients in float32, the matrices of two layers gathered, what the layers
        keep for the backward pass, the activations of one layer with their gradients, and logits
        with theirs in float32.
        """
        parameters, mesh, accumulate = self.parameters, self.mesh, self.experiment.accumulate
        each = self.width * self.costs.activations + 2 * 4 * self.vocab_size
        temporaries = self.here / accumulate * each
        temporaries += self.costs.gathered * parameters / mesh["tensor"] * self.width
        parts = 2 if accumulate > 1 else 1
        temporaries += 4 * parts * parameters / (mesh["fsdp"] * mesh["tensor"])
        state = state_bytes(self.experiment, self.vocab_size, mesh["fsdp"] * mesh["tensor"])
        arguments = state + 4 * 8 * self.here
        return Memory(arguments, temporaries, state, 0.0, arguments + temporaries, available)

    def least_traffic(self, width: int = 2) -> float:
        """Bytes that each chip has to send in a step of fully sharded data parallelism.

        Parameters are gathered twice and gradients scattered once, along `fsdp`, in numbers of
        `width` bytes. What copies along `replica` exchange, and what a sequence or heads split over
        devices need, comes on top of it.
        """
        n = self.mesh["fsdp"]
        return 3 * width * self.parameters / self.mesh["tensor"] * (n - 1) / n

    def assumed_traffic(self) -> list[Collective]:
        """Returns the least traffic, where no program has been compiled."""
        parts, mesh = self.experiment.accumulate, self.mesh
        width = min(self.width, 4)
        each = self.least_traffic(width) / 3
        copies = mesh["replica"] * mesh["context"]
        share = self.parameters / (mesh["tensor"] * mesh["fsdp"]) * width
        summed = 2 * share * (copies - 1) / copies
        dtype = "bf16" if width == 2 else "f32"
        found = [
            Collective("all-gather", each, 2 * parts, ("fsdp",), False, dtype),
            Collective("reduce-scatter", each, parts, ("fsdp",), False, dtype),
            Collective("all-reduce", summed, parts, ("replica",), False, dtype),
        ]
        return [c for c in found if c.bytes]


def state_bytes(experiment: configs.Experiment, vocab_size: int, shards: int = 1) -> float:
    """Returns the bytes per chip of parameters, moments and average, small arrays aside."""
    settings, model = experiment.optimizer, experiment.model
    optimizer = make_optimizer(settings, experiment.steps, base.of(model).axes(model, vocab_size))
    params = base.abstract_params(model, vocab_size)
    numbers = (2 if settings.ema else 1) * optax.tree.size(params)
    return (numbers + optax.tree.size(jax.eval_shape(optimizer.init, params))) * 4 / shards


def roofline(
    work: Work, sent: Sequence[Collective], topology: Topology, mesh: jax.sharding.Mesh | None
) -> Roofline:
    """Returns the least times of a step.

    Args:
      work: what it does.
      sent: what it sends.
      topology: the hardware.
      mesh: where its devices lie; None for GPUs.
    """
    chip = topology.chip
    links = network = 0.0
    for each in sent:
        size = each.bytes * each.times
        if mesh is None:
            far, speed = _between_nodes(work.mesh, each.axes), chip.link
        else:
            far, speed = each.network, _speed(topology, mesh, each.axes)
        network += size / chip.network if far else 0.0
        links += 0.0 if far else size / speed
    compute = (work.flops + work.again) / (topology.count * chip.flops)
    return Roofline(compute, work.moved / chip.bandwidth, links, network)


def _between_nodes(mesh: Shape, axes: tuple[str, ...]) -> bool:
    """Returns whether GPUs along some axes of the mesh are in more than one node."""
    names = list(mesh)
    # Neighbours on an axis are as far apart as there are devices along the axes after it.
    return math.prod(mesh[name] for name in names[names.index(axes[0]) :]) > NODE


def _speed(topology: Topology, mesh: jax.sharding.Mesh, axes: tuple[str, ...]) -> float:
    """Returns the bytes per second that a chip can send to others along some axes of the mesh.

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
