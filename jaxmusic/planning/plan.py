"""What an experiment costs on hardware that is not here: memory, traffic, time.

For TPUs the very step that would train is compiled, on any machine with the TPU compiler, and
memory and traffic are read from the result. For GPUs there is no such compiler: their figures are
arithmetic alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from jaxmusic import config as configs
from jaxmusic.cluster import topology as topologies
from jaxmusic.cluster.topology import Topology
from jaxmusic.codecs.registry import make_codec
from jaxmusic.core.settings import flat
from jaxmusic.models import base, sharding
from jaxmusic.models.costs import Costs, Split
from jaxmusic.models.mesh import AXES, make_mesh, mesh_shape
from jaxmusic.planning import ahead, arithmetic
from jaxmusic.planning.arithmetic import Memory, Roofline, Shape, Work
from jaxmusic.planning.collectives import Collective, collectives
from jaxmusic.train.optimizer import make_schedule

TRIES = 4
"""Most other settings that are tried where an experiment does not fit."""
SECONDS_PER_DAY = 86_400
Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an experiment costs on some hardware.

    Attributes:
      experiment: the experiment.
      topology: the hardware.
      mesh: devices along each axis.
      costs: of the model on the hardware.
      compiled: whether memory and traffic come from the compiled step; else from arithmetic.
      parameters: of the model.
      memory: on each chip.
      work: what a step does.
      sent: what it sends; empty where the compiler refused it.
      least: bytes that fully sharded data parallelism has to send, in bfloat16, from each chip.
      roofline: least times of a step; None where the compiler refused it.
      instead: the nearest experiment that fits, where this one does not and any does.
      seconds: time that compiling took.
    """

    experiment: configs.Experiment
    topology: Topology
    mesh: Shape
    costs: Costs
    compiled: bool
    parameters: int
    memory: Memory
    work: Work
    sent: list[Collective]
    least: float
    roofline: Roofline | None
    instead: configs.Experiment | None = None
    seconds: float = 0.0

    @property
    def fits(self) -> bool:
        """Whether a step fits into the memory of a chip."""
        return self.memory.fits

    @property
    def traffic(self) -> float:
        """Bytes that each chip sends in a step."""
        return sum(each.bytes * each.times for each in self.sent)

    @property
    def mfu(self) -> float | None:
        """Share of the peak that the model's own operations reach at most."""
        peak = self.topology.count * self.topology.chip.flops
        return self.work.flops / (peak * self.roofline.step) if self.roofline else None

    @property
    def tokens_per_day(self) -> float | None:
        """Tokens in a day at most."""
        tokens = self.work.tokens * SECONDS_PER_DAY
        return tokens / self.roofline.step if self.roofline else None

    @property
    def days(self) -> float | None:
        """Days that all steps of the experiment take at least."""
        steps = self.experiment.steps / SECONDS_PER_DAY
        return steps * self.roofline.step if self.roofline else None


def plan(
    experiment: configs.Experiment, name: str, slices: int = 1, progress: Progress = lambda _: None
) -> Plan:
    """Plans an experiment for named hardware.

    Args:
      experiment: the experiment.
      name: such as v5e:16x16 or h100:8; see `jaxmusic.cluster.topology.parse`.
      slices: slices of TPUs.
      progress: called with a description of each stage.

    Raises:
      UserError: there is no such hardware, the experiment does not divide over it, or TPUs are
        asked for and there is no compiler for them.
    """
    topology = topologies.parse(name, slices)
    look = _estimated if topology.chip.kind == "gpu" else _compiled
    found = tried = look(experiment, topology, progress)
    for _ in range(TRIES):
        other = None if tried.fits else smaller(tried)
        if other is None:
            break
        progress(f"it does not fit; trying {in_words(other, experiment)}")
        tried = look(other, topology, progress)
        if tried.fits:
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
    """The nearest experiment that needs less memory than the one that was tried, if there is any.

    First less is kept for the backward pass; then the batch is computed in more parts, as many as
    should do. Neither changes what a run computes, up to rounding. Last comes a batch of one row
    for each device.
    """
    experiment = tried.experiment
    batch, parts, model = experiment.data.batch, experiment.accumulate, experiment.model
    if less := base.of(model).lighter(model):
        return dataclasses.replace(experiment, model=less)
    ways = tried.mesh["replica"] * tried.mesh["fsdp"]
    vocab_size = make_codec(experiment.codec).vocab_size
    # All but the state shrinks with the rows of a part, or nearly all.
    state = arithmetic.state_bytes(experiment, vocab_size, tried.mesh)
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


def _estimated(
    experiment: configs.Experiment, topology: Topology, progress: Progress = lambda _: None
) -> Plan:
    """A plan without compiling anything: memory and traffic are estimates."""
    model = experiment.model
    vocab_size = make_codec(experiment.codec).vocab_size
    shape = _checked(experiment, topology, vocab_size)
    split = Split(topology.chip.kind, shape["tensor"])
    costs = base.of(model).costs(model, vocab_size, experiment.data.context, split)
    parameters = base.num_parameters(model, vocab_size)
    work = arithmetic.work(experiment, vocab_size, shape, costs, parameters)
    width = 2 if model.dtype == "bfloat16" else 4
    sent = arithmetic.assumed_traffic(parameters, shape, experiment.accumulate, width)
    return Plan(
        experiment=experiment,
        topology=topology,
        mesh=shape,
        costs=costs,
        compiled=False,
        parameters=parameters,
        memory=arithmetic.memory(
            experiment, vocab_size, parameters, shape, topology.chip.memory, costs
        ),
        work=work,
        sent=sent,
        least=arithmetic.least_traffic(parameters, shape),
        roofline=arithmetic.roofline(work, sent, topology, shape),
    )


def _compiled(experiment: configs.Experiment, topology: Topology, progress: Progress) -> Plan:
    """A plan with memory and traffic as the compiler for TPUs has them."""
    devices = ahead.devices(topology)
    known = _estimated(experiment, topology)
    mesh = make_mesh(experiment.mesh, devices)
    progress(f"compiling the step for {topology.count} chips, which takes a minute or two")
    made = ahead.compile_step(experiment, make_codec(experiment.codec), topology, mesh)
    found = dataclasses.replace(known, compiled=True, memory=made.memory, seconds=made.seconds)
    if not made.text:
        return dataclasses.replace(found, sent=[], roofline=None)
    sent = collectives(made.text, known.mesh, topology.slices)
    least = arithmetic.roofline(known.work, sent, topology, mesh)
    return dataclasses.replace(found, sent=sent, roofline=least)


def _checked(experiment: configs.Experiment, topology: Topology, vocab_size: int) -> Shape:
    """Devices along each axis; raises UserError where an experiment does not divide over them."""
    shape = mesh_shape(experiment.mesh, topology.count)
    model, data, rules = experiment.model, experiment.data, sharding.ShardingRules()
    base.of(model).check(model)
    make_schedule(experiment.optimizer, experiment.steps)
    mesh: Any = jax.sharding.AbstractMesh(shape, AXES)
    sharding.batch_sharding(mesh, rules, data.batch, experiment.accumulate, data.context)
    shapes = base.abstract_params(model, vocab_size)
    sharding.shardings(base.of(model).axes(model, vocab_size), shapes, mesh, rules)
    return dict(zip(AXES, shape))
