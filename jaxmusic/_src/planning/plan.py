"""What an experiment costs on hardware that is not here: memory, traffic, time.

For TPUs the very step that would train is compiled, on any machine with the TPU compiler, and
memory and traffic are read from the result. For GPUs there is no such compiler: their figures are
arithmetic alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax

from jaxmusic import config as configs
from jaxmusic._src.cluster import topology as topologies
from jaxmusic._src.cluster.topology import Topology
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.core.settings import flat
from jaxmusic._src.models import base, sharding
from jaxmusic._src.models.costs import Split
from jaxmusic._src.models.mesh import AXES, make_mesh, mesh_shape
from jaxmusic._src.planning import ahead, arithmetic
from jaxmusic._src.planning.arithmetic import Memory, Roofline, Shape, Work
from jaxmusic._src.planning.collectives import Collective, collectives
from jaxmusic._src.train.optimizer import make_schedule

TRIES = 4
"""Most other settings that are tried where an experiment does not fit."""
SECONDS_PER_DAY = 86_400
Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an experiment costs on some hardware.

    Attributes:
      work: what a step does.
      topology: the hardware.
      memory: on each chip.
      sent: what a step sends; empty where the compiler refused it.
      roofline: least times of a step; None where the compiler refused it.
      compiled: whether memory and traffic come from the compiled step; else from arithmetic.
      seconds: time that compiling took.
      instead: the nearest experiment that fits, where this one does not and any does.
    """

    work: Work
    topology: Topology
    memory: Memory
    sent: list[Collective]
    roofline: Roofline | None
    compiled: bool = False
    seconds: float = 0.0
    instead: configs.Experiment | None = None

    @property
    def experiment(self) -> configs.Experiment:
        """The experiment."""
        return self.work.experiment

    @property
    def traffic(self) -> float:
        """Bytes that each chip sends in a step."""
        return sum(each.bytes * each.times for each in self.sent)

    @property
    def mfu(self) -> float | None:
        """Share of the peak that the model's own operations reach at most."""
        peak = self.topology.count * self.topology.chip.flops
        return self.work.flops / (peak * max(self.roofline)) if self.roofline else None

    @property
    def tokens_per_day(self) -> float | None:
        """Tokens in a day at most."""
        tokens = self.work.tokens * SECONDS_PER_DAY
        return tokens / max(self.roofline) if self.roofline else None

    @property
    def days(self) -> float | None:
        """Days that all steps of the experiment take at least."""
        steps = self.experiment.steps / SECONDS_PER_DAY
        return steps * max(self.roofline) if self.roofline else None


def plan(
    experiment: configs.Experiment, name: str, slices: int = 1, progress: Progress = lambda _: None
) -> Plan:
    """Plans an experiment for named hardware.

    Args:
      experiment: the experiment.
      name: such as v5e:16x16 or h100:8; see `cluster.topology.parse`.
      slices: slices of TPUs.
      progress: called with a description of each stage.

    Raises:
      UserError: there is no such hardware, the experiment does not divide over it, or TPUs are
        asked for and there is no compiler for them.
    """
    topology = topologies.parse(name, slices)
    found = tried = _planned(experiment, topology, progress)
    for _ in range(TRIES):
        other = None if tried.memory.fits else smaller(tried)
        if other is None:
            break
        progress(f"it does not fit; trying {in_words(other, experiment)}")
        tried = _planned(other, topology, progress)
        if tried.memory.fits:
            return dataclasses.replace(found, instead=other)
    return found


def changes(other: configs.Experiment, experiment: configs.Experiment) -> dict[str, Any]:
    """Returns batch, parts and those settings of the model that differ from an experiment's."""
    before, after = flat(experiment.model), flat(other.model)
    model = {name: value for name, value in after.items() if value != before[name]}
    return {"batch": other.data.batch, "accumulate": other.accumulate, **model}


def in_words(other: configs.Experiment, experiment: configs.Experiment) -> str:
    """Returns `changes` as flags of the command line."""
    names = {"batch": "data.batch", "accumulate": "accumulate"}
    found = changes(other, experiment).items()
    return " ".join(f"--{names.get(name, f'model.{name}')} {value}" for name, value in found)


def smaller(tried: Plan) -> configs.Experiment | None:
    """Suggests the nearest experiment that needs less memory, if there is one.

    First less is kept for the backward pass; then the batch is computed in more parts, as many as
    should do. Neither changes what a run computes, up to rounding. Last comes a batch of one row
    for each device.
    """
    experiment = tried.experiment
    batch, parts, model = experiment.data.batch, experiment.accumulate, experiment.model
    if less := base.of(model).lighter(model):
        return dataclasses.replace(experiment, model=less)
    mesh = tried.work.mesh
    ways = mesh["replica"] * mesh["fsdp"]
    # All but the state shrinks with the rows of a part, or nearly all.
    shards = mesh["fsdp"] * mesh["tensor"]
    state = arithmetic.state_bytes(experiment, tried.work.vocab_size, shards)
    room = max(tried.memory.available - state, 1.0)
    wanted = parts * (tried.memory.total - state) / room
    possible = [n for n in range(parts + 1, batch // ways + 1) if batch % (ways * n) == 0]
    if possible:
        more = next((n for n in possible if n >= wanted), possible[-1])
        return dataclasses.replace(experiment, accumulate=more)
    if batch <= ways * parts:
        return None
    data = dataclasses.replace(experiment.data, batch=ways)
    return dataclasses.replace(experiment, accumulate=1, data=data)


def _planned(experiment: configs.Experiment, topology: Topology, progress: Progress) -> Plan:
    """Plans by arithmetic for GPUs; for TPUs with memory and traffic as their compiler has them."""
    on_tpu = topology.chip.kind == "tpu"
    devices = ahead.devices(topology) if on_tpu else ()
    codec = make_codec(experiment.codec)
    model, vocab_size = experiment.model, codec.vocab_size
    shape = _checked(experiment, topology, vocab_size)
    split = Split(topology.chip.kind, shape["tensor"])
    costs = base.of(model).costs(model, vocab_size, experiment.data.context, split)
    work = Work(experiment, vocab_size, shape, costs)
    if not on_tpu:
        memory, sent = work.memory(topology.chip.memory), work.assumed_traffic()
        return Plan(work, topology, memory, sent, arithmetic.roofline(work, sent, topology, None))
    mesh = make_mesh(experiment.mesh, devices)
    progress(f"compiling the step for {topology.count} chips, which takes a minute or two")
    start = time.perf_counter()
    text, memory = ahead.compile_step(experiment, codec, topology, mesh)
    seconds = time.perf_counter() - start
    sent = collectives(text, shape, topology.slices) if text else []
    least = arithmetic.roofline(work, sent, topology, mesh) if text else None
    return Plan(work, topology, memory, sent, least, compiled=True, seconds=seconds)


def _checked(experiment: configs.Experiment, topology: Topology, vocab_size: int) -> Shape:
    """Devices along each axis; raises UserError where an experiment does not divide over them."""
    shape = mesh_shape(experiment.mesh, topology.count)
    model, data = experiment.model, experiment.data
    base.of(model).check(model)
    make_schedule(experiment.optimizer, experiment.steps)
    mesh: Any = jax.sharding.AbstractMesh(shape, AXES)
    sharding.batch_sharding(mesh, data.batch, experiment.accumulate, data.context)
    shapes = base.abstract_params(model, vocab_size)
    sharding.shardings(base.of(model).axes(model, vocab_size), shapes, mesh)
    return dict(zip(AXES, shape))
