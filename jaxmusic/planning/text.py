"""A plan for people, as tables, and for programs, as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from jaxmusic import config as configs
from jaxmusic.cluster.topology import CHIPS
from jaxmusic.codecs.registry import make_codec
from jaxmusic.models import base
from jaxmusic.planning import estimate
from jaxmusic.planning.plan import Plan, in_words, model_changes
from jaxmusic.planning.roofline import Roofline

UNVERIFIED = "unverified: no figure of time has been checked on a device"
Rows = list[tuple[str, str]]


def as_json(plan: Plan) -> str:
    """A plan as indented JSON; sizes are bytes for each chip, times seconds."""
    line: Roofline | None = plan.roofline
    found: dict[str, Any] = {
        "topology": plan.topology.name,
        "slices": plan.topology.slices,
        "chips": plan.topology.count,
        "mesh": plan.mesh,
        "compiled": plan.compiled,
        "verified": False,
        "parameters": plan.parameters,
        "batch": plan.experiment.data.batch,
        "context": plan.experiment.data.context,
        "accumulate": plan.experiment.accumulate,
        **plan.costs.settings,
        "fits": plan.fits,
        "memory": dataclasses.asdict(plan.memory),
        "flops": plan.work.flops,
        "flops_again": plan.work.again,
        "memory_traffic": plan.work.moved,
        "collectives": [dataclasses.asdict(each) for each in summed(plan)],
        "traffic": plan.traffic if plan.sent else None,
        "least_traffic": plan.least,
        "roofline": line and {**dataclasses.asdict(line), "step": line.step, "alone": line.alone},
        "bound": line and line.bound,
        "mfu": plan.mfu,
        "tokens_per_step": plan.work.tokens,
        "tokens_per_day": plan.tokens_per_day,
        "steps": plan.experiment.steps,
        "days": plan.days,
        "instead": plan.instead
        and {
            "batch": plan.instead.batch,
            "accumulate": plan.instead.accumulate,
            **model_changes(plan.instead, plan.experiment),
        },
        "seconds": plan.seconds,
    }
    return json.dumps(found, indent=2)


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What all collectives of one kind send along the same axes.

    Attributes:
      kind: all-gather and so on.
      axes: axes of the mesh.
      network: whether it goes from slice to slice.
      dtype: type of what is sent.
      times: how many there are in a step.
      bytes: sent by each chip in a step.
    """

    kind: str
    axes: tuple[str, ...]
    network: bool
    dtype: str
    times: int
    bytes: float


def summed(plan: Plan) -> list[Traffic]:
    """Collectives by kind and axes, the most bytes first."""
    found: dict[Any, Traffic] = {}
    for each in plan.sent:
        key = (each.kind, each.axes, each.network, each.dtype)
        had = found.get(key) or Traffic(*key, times=0, bytes=0.0)
        found[key] = dataclasses.replace(
            had, times=had.times + each.times, bytes=had.bytes + each.times * each.bytes
        )
    return sorted(found.values(), key=lambda traffic: -traffic.bytes)


def as_text(plan: Plan) -> str:
    """A plan as tables."""
    data = plan.experiment.data
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items() if size > 1) or "1 chip"
    slices = f", {plan.topology.slices} slices" if plan.topology.slices > 1 else ""
    source = "compiled for them" if plan.compiled else "analytic: estimated, nothing was compiled"
    rows = [
        ("hardware", f"{plan.topology.name}{slices}: {_count(plan.topology.count)} chips"),
        ("figures", source),
        ("mesh", mesh),
        ("parameters", f"{_count(plan.parameters)}"),
        ("batch", f"{data.batch} x {data.context:,} = {_count(plan.work.tokens)} tokens"),
        (
            "computed in",
            f"{plan.experiment.accumulate} part{'s' * (plan.experiment.accumulate > 1)}",
        ),
        *((name, str(value)) for name, value in plan.costs.settings.items()),
    ]
    parts = [_table("plan", rows), _table("memory of each chip", _memory(plan))]
    parts.append(_table("a step", _work(plan)))
    if plan.sent:
        parts.append(_table("sent by each chip in a step", _sent(plan)))
    if plan.roofline:
        parts.append(_table(f"time ({UNVERIFIED})", _time(plan)))
    if not plan.fits:
        parts.append(_advice(plan))
    return "\n\n".join(parts)


def _memory(plan: Plan) -> Rows:
    memory = plan.memory
    names = ("arguments", "temporaries", "output", "program")
    rows = [
        (name, _bytes(size))
        for name in names
        if (size := getattr(memory, name)) is not None and (size or plan.compiled)
    ]
    share = memory.total / memory.available
    over = "" if plan.fits else f": {_bytes(memory.total - memory.available)} too much"
    rows.append(("needed at once", f"{_bytes(memory.total)} of {_bytes(memory.available)}"))
    rows.append(("fits", f"{'yes' if plan.fits else 'NO'}, {share:.0%}{over}"))
    return rows


def _work(plan: Plan) -> Rows:
    work = plan.work
    return [
        ("FLOPs", f"{work.flops:.3e} (model, forward and backward)"),
        ("computed again", f"{work.again:.3e} ({work.again / work.flops:.0%} on top)"),
        ("memory traffic", f"{_bytes(work.moved)} each chip, estimated"),
    ]


def _sent(plan: Plan) -> Rows:
    rows = []
    for each in summed(plan):
        axes = "+".join(each.axes) or "-"
        far = " (network)" if each.network else ""
        name = f"{each.kind} {each.dtype}"
        rows.append((name, f"{_bytes(each.bytes):>10}  {axes}{far}, {each.times} times"))
    rows.append(("together", f"{_bytes(plan.traffic):>10}"))
    if plan.least:
        ratio = plan.traffic / plan.least
        rows.append(("least for FSDP", f"{_bytes(plan.least):>10}  {ratio:.2f} times that is sent"))
    return rows


def _time(plan: Plan) -> Rows:
    line = plan.roofline
    assert line and plan.mfu and plan.tokens_per_day and plan.days is not None
    return [
        ("computing", _seconds(line.compute)),
        ("memory", _seconds(line.memory)),
        ("links", _seconds(line.links)),
        ("network", _seconds(line.network)),
        ("step", f"{_seconds(line.step)} at least, bound by {line.bound}; all of it overlaps"),
        ("", f"{_seconds(line.alone)} if nothing does"),
        ("MFU", f"{plan.mfu:.0%} at most"),
        ("tokens per day", f"{_count(plan.tokens_per_day)} at most"),
        (
            "run",
            f"{_days(plan.days)} at least for {plan.experiment.steps:,} steps, "
            f"{_count(plan.experiment.steps * plan.work.tokens)} tokens",
        ),
    ]


def _advice(plan: Plan) -> str:
    if plan.instead:
        return f"It does not fit. This does: {in_words(plan.instead, plan.experiment)}"
    return (
        "It does not fit, nor does anything that was tried: take more chips, a smaller model, or "
        "a mesh that splits each row (--mesh.context 2)."
    )


def costs(experiment: configs.Experiment) -> str:
    """What an experiment costs on any hardware, and the hardware that has a name."""
    vocab_size = make_codec(experiment.codec).vocab_size
    model, data = experiment.model, experiment.data
    parameters = base.num_parameters(model, vocab_size)
    flops = base.of(model).flops(model, vocab_size, data.context)
    tokens = data.batch * data.context
    one = dict.fromkeys(("replica", "fsdp", "context", "tensor"), 1)
    state = estimate.state_bytes(experiment, vocab_size, one)
    rows = [
        ("parameters", _count(parameters)),
        ("state", f"{_bytes(state)} (parameters, moments, average), split over fsdp and tensor"),
        ("batch", f"{data.batch} x {data.context:,} = {_count(tokens)} tokens"),
        ("FLOPs", f"{flops:.3e} for a token, {flops * tokens:.3e} for a step"),
        (
            "run",
            f"{experiment.steps:,} steps, {_count(experiment.steps * tokens)} tokens, "
            f"{flops * tokens * experiment.steps:.2e} FLOPs",
        ),
    ]
    names = [
        (
            name,
            f"{chip.kind.upper()}, {chip.memory / 2**30:.1f} GiB, {chip.flops / 1e12:.0f} "
            f"TFLOP/s, {chip.bandwidth / 1e9:,.0f} GB/s",
        )
        for name, chip in CHIPS.items()
    ]
    return "\n\n".join(
        [
            _table("costs", rows),
            _table("hardware for --topology", names),
            "Name it as in --topology v5e:16x16, v5p:4x4x8 or h100:8.",
        ]
    )


def _table(title: str, rows: Rows) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in rows)])


def _bytes(size: float) -> str:
    return f"{size / 2**30:,.2f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def _count(number: float) -> str:
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:,.2f}{unit}"
    return f"{number:,.0f}"


def _seconds(time: float) -> str:
    return f"{time:.2f} s" if time >= 1 else f"{time * 1e3:.1f} ms"


def _days(days: float) -> str:
    return f"{days:.1f} days" if days >= 1 else f"{days * 24:.1f} hours"
