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
from jaxmusic.planning import ahead, estimate, roofline
from jaxmusic.planning.collectives import Collective, collectives
from jaxmusic.planning.estimate import Memory, Shape
from jaxmusic.planning.roofline import Roofline, Work
from jaxmusic.train.optimizer import make_schedule

TRIES = 4
"""Most other settings that are tried where an experiment does not fit."""
SECONDS_PER_DAY = 86_400
Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What may be changed to make an experiment fit.

    Attributes:
      batch: rows of a batch.
      accumulate: parts in which it is computed.
      model: the model, which may keep less for the backward pass.
    """

    batch: int
    accumulate: int
    model: configs.Model


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
      instead: the nearest settings that fit, where these do not and any do.
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
    instead: Settings | None = None
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
        if self.roofline is None:
            return None
        peak = self.topology.count * self.topology.chip.flops
        return self.work.flops / (peak * self.roofline.step)

    @property
    def tokens_per_day(self) -> float | None:
        """Tokens in a day at most."""
        if self.roofline is None:
            return None
        return self.work.tokens / self.roofline.step * SECONDS_PER_DAY

    @property
    def days(self) -> float | None:
        """Days that all steps of the experiment take at least."""
        if self.roofline is None:
            return None
        return self.experiment.steps * self.roofline.step / SECONDS_PER_DAY


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

    def look(experiment: configs.Experiment) -> Plan:
        if topology.chip.kind == "gpu":
            return arithmetic(experiment, topology)
        return _compiled(experiment, topology, progress)

    found = tried = look(experiment)
    for _ in range(TRIES):
        other = None if tried.fits else smaller(tried)
        if other is None:
            break
        progress(f"it does not fit; trying {in_words(other, experiment)}")
        tried = look(changed(experiment, other))
        if tried.fits:
            return dataclasses.replace(found, instead=other)
    return found


def model_changes(settings: Settings, experiment: configs.Experiment) -> dict[str, Any]:
    """Returns the settings of the model that differ from those of an experiment, by name."""
    before, after = flat(experiment.model), flat(settings.model)
    return {name: value for name, value in after.items() if value != before[name]}


def in_words(settings: Settings, experiment: configs.Experiment) -> str:
    """Returns settings as flags of the command line."""
    flags = {"data.batch": settings.batch, "accumulate": settings.accumulate}
    flags |= {f"model.{n}": value for n, value in model_changes(settings, experiment).items()}
    return " ".join(f"--{name} {value}" for name, value in flags.items())


def changed(experiment: configs.Experiment, settings: Settings) -> configs.Experiment:
    """The experiment with other settings."""
    return dataclasses.replace(
        experiment,
        accumulate=settings.accumulate,
        data=dataclasses.replace(experiment.data, batch=settings.batch),
        model=settings.model,
    )


def smaller(tried: Plan) -> Settings | None:
    """The nearest settings that need less memory than those that were tried, if there are any.

    First less is kept for the backward pass; then the batch is computed in more parts, as many as
    should do. Neither changes what a run computes, up to rounding. Last comes a batch of one row
    for each device.
    """
    experiment = tried.experiment
    batch, parts, model = experiment.data.batch, experiment.accumulate, experiment.model
    if less := base.of(model).lighter(model):
        return Settings(batch, parts, less)
    ways = tried.mesh["replica"] * tried.mesh["fsdp"]
    vocab_size = make_codec(experiment.codec).vocab_size
    # All but the state shrinks with the rows of a part, or nearly all.
    state = estimate.state_bytes(experiment, vocab_size, tried.mesh)
    room = max(tried.memory.available - state, 1.0)
    wanted = parts * (tried.memory.total - state) / room
    possible = [n for n in range(parts + 1, batch // ways + 1) if batch % (ways * n) == 0]
    if possible:
        return Settings(batch, next((n for n in possible if n >= wanted), possible[-1]), model)
    return Settings(ways, 1, model) if batch > ways * parts else None


def arithmetic(experiment: configs.Experiment, topology: Topology) -> Plan:
    """A plan without compiling anything: memory and traffic are estimates."""
    model = experiment.model
    vocab_size = make_codec(experiment.codec).vocab_size
    shape = _checked(experiment, topology)
    split = Split(topology.chip.kind, shape["tensor"])
    costs = base.of(model).costs(model, vocab_size, experiment.data.context, split)
    parameters = base.num_parameters(model, vocab_size)
    work = roofline.work(experiment, vocab_size, shape, costs, parameters)
    width = 2 if model.dtype == "bfloat16" else 4
    sent = roofline.assumed_traffic(parameters, shape, experiment.accumulate, width)
    return Plan(
        experiment=experiment,
        topology=topology,
        mesh=shape,
        costs=costs,
        compiled=False,
        parameters=parameters,
        memory=estimate.memory(
            experiment, vocab_size, parameters, shape, topology.chip.memory, costs
        ),
        work=work,
        sent=sent,
        least=roofline.least_traffic(parameters, shape),
        roofline=roofline.roofline(work, sent, topology, shape),
    )


def _compiled(experiment: configs.Experiment, topology: Topology, progress: Progress) -> Plan:
    """A plan with memory and traffic as the compiler for TPUs has them."""
    devices = ahead.devices(topology)
    known = arithmetic(experiment, topology)
    mesh = make_mesh(experiment.mesh, devices)
    progress(f"compiling the step for {topology.count} chips, which takes a minute or two")
    made = ahead.compile_step(experiment, make_codec(experiment.codec), topology, mesh)
    found = dataclasses.replace(known, compiled=True, memory=made.memory, seconds=made.seconds)
    if not made.text:
        return dataclasses.replace(found, sent=[], roofline=None)
    sent = collectives(made.text, known.mesh, topology.slices)
    least = roofline.roofline(known.work, sent, topology, mesh)
    return dataclasses.replace(found, sent=sent, roofline=least)


def _checked(experiment: configs.Experiment, topology: Topology) -> Shape:
    """Devices along each axis; raises UserError where an experiment does not divide over them."""
    shape = mesh_shape(experiment.mesh, topology.count)
    base.of(experiment.model).check(experiment.model)
    make_schedule(experiment.optimizer, experiment.steps)
    mesh: Any = jax.sharding.AbstractMesh(shape, AXES)
    data, rules = experiment.data, sharding.ShardingRules()
    sharding.batch_sharding(mesh, rules, data.batch, experiment.accumulate, data.context)
    vocab_size = make_codec(experiment.codec).vocab_size
    model = experiment.model
    shapes = base.abstract_params(model, vocab_size)
    sharding.shardings(base.of(model).axes(model, vocab_size), shapes, mesh, rules)
    return dict(zip(AXES, shape))
