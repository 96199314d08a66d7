"""A plan for people, as tables, and for programs, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from jaxmusic import config as configs
from jaxmusic._src.cluster.topology import CHIPS
from jaxmusic._src.codecs.registry import make_codec
from jaxmusic._src.models import base
from jaxmusic._src.planning import arithmetic
from jaxmusic._src.planning.plan import Plan, changes, in_words

UNVERIFIED = "unverified: no figure of time has been checked on a device"
ADVICE = (
    "It does not fit, nor does anything that was tried: take more chips, a smaller model, or "
    "a mesh that splits each row (--mesh.context 2)."
)
Rows = Iterable[tuple[str, str]]


def as_json(plan: Plan) -> str:
    """Returns a plan as indented JSON; sizes are bytes per chip, times seconds."""
    line, work, experiment = plan.roofline, plan.work, plan.experiment
    found: dict[str, Any] = {
        "topology": plan.topology.name,
        "slices": plan.topology.slices,
        "chips": plan.topology.count,
        "mesh": work.mesh,
        "compiled": plan.compiled,
        "verified": False,
        "parameters": work.parameters,
        "batch": experiment.data.batch,
        "context": experiment.data.context,
        "accumulate": experiment.accumulate,
        **work.costs.settings,
        "fits": plan.memory.fits,
        "memory": plan.memory._asdict(),
        "flops": work.flops,
        "flops_again": work.again,
        "memory_traffic": work.moved,
        "collectives": summed(plan),
        "traffic": plan.traffic if plan.sent else None,
        "least_traffic": work.least_traffic(),
        "roofline": line and {**line._asdict(), "step": max(line), "alone": sum(line)},
        "bound": line and line.bound,
        "mfu": plan.mfu,
        "tokens_per_step": work.tokens,
        "tokens_per_day": plan.tokens_per_day,
        "steps": experiment.steps,
        "days": plan.days,
        "instead": plan.instead and changes(plan.instead, experiment),
        "seconds": plan.seconds,
    }
    return json.dumps(found, indent=2)


def summed(plan: Plan) -> list[dict[str, Any]]:
    """Sums the bytes per step of collectives by kind and axes, largest first."""
    found: dict[Any, dict[str, Any]] = {}
    for each in plan.sent:
        about = {f: getattr(each, f) for f in ("kind", "axes", "network", "dtype")}
        row = found.setdefault(tuple(about.values()), {**about, "times": 0, "bytes": 0.0})
        row["times"] += each.times
        row["bytes"] += each.times * each.bytes
    return sorted(found.values(), key=lambda row: -row["bytes"])


def as_text(plan: Plan) -> str:
    """Returns a plan as tables."""
    work, topology, experiment = plan.work, plan.topology, plan.experiment
    data, parts = experiment.data, experiment.accumulate
    mesh = " x ".join(f"{axis} {size}" for axis, size in work.mesh.items() if size > 1)
    slices = f", {topology.slices} slices" if topology.slices > 1 else ""
    how = "compiled for them" if plan.compiled else "analytic: estimated, nothing was compiled"
    tables: dict[str, Rows] = {
        "plan": [
            ("hardware", f"{topology.name}{slices}: {_count(topology.count)} chips"),
            ("figures", how),
            ("mesh", mesh or "1 chip"),
            ("parameters", _count(work.parameters)),
            ("batch", f"{data.batch} x {data.context:,} = {_count(work.tokens)} tokens"),
            ("computed in", f"{parts} part{'s' * (parts > 1)}"),
            *((name, str(value)) for name, value in work.costs.settings.items()),
        ],
        "memory of each chip": _memory(plan),
        "a step": [
            ("FLOPs", f"{work.flops:.3e} (model, forward and backward)"),
            ("computed again", f"{work.again:.3e} ({work.again / work.flops:.0%} on top)"),
            ("memory traffic", f"{_bytes(work.moved)} each chip, estimated"),
        ],
    }
    if plan.sent:
        tables["sent by each chip in a step"] = _sent(plan)
    if plan.roofline:
        tables[f"time ({UNVERIFIED})"] = _time(plan)
    out = [_table(title, rows) for title, rows in tables.items()]
    if plan.instead:
        out.append(f"It does not fit. This does: {in_words(plan.instead, experiment)}")
    elif not plan.memory.fits:
        out.append(ADVICE)
    return "\n\n".join(out)


def _memory(plan: Plan) -> Rows:
    memory = plan.memory
    for name, size in list(memory._asdict().items())[:4]:
        if size is not None and (size or plan.compiled):
            yield name, _bytes(size)
    over = "" if memory.fits else f": {_bytes(memory.total - memory.available)} too much"
    share = f"{memory.total / memory.available:.0%}"
    yield "needed at once", f"{_bytes(memory.total)} of {_bytes(memory.available)}"
    yield "fits", f"{'yes' if memory.fits else 'NO'}, {share}{over}"


def _sent(plan: Plan) -> Rows:
    for row in summed(plan):
        where = ("+".join(row["axes"]) or "-") + " (network)" * row["network"]
        sent = f"{_bytes(row['bytes']):>10}  {where}, {row['times']} times"
        yield f"{row['kind']} {row['dtype']}", sent
    yield "together", f"{_bytes(plan.traffic):>10}"
    if least := plan.work.least_traffic():
        ratio = f"{plan.traffic / least:.2f} times that is sent"
        yield "least for FSDP", f"{_bytes(least):>10}  {ratio}"


def _time(plan: Plan) -> Rows:
    line, steps = plan.roofline, plan.experiment.steps
    assert line and plan.mfu and plan.tokens_per_day and plan.days is not None
    tokens = _count(steps * plan.work.tokens)
    for name, seconds in zip(("computing", "memory", "links", "network"), line):
        yield name, _seconds(seconds)
    yield "step", f"{_seconds(max(line))} at least, bound by {line.bound}; all of it overlaps"
    yield "", f"{_seconds(sum(line))} if nothing does"
    yield "MFU", f"{plan.mfu:.0%} at most"
    yield "tokens per day", f"{_count(plan.tokens_per_day)} at most"
    yield "run", f"{_days(plan.days)} at least for {steps:,} steps, {tokens} tokens"


def costs(experiment: configs.Experiment) -> str:
    """Describes the costs of an experiment on any hardware, and lists known hardware."""
    vocab_size = make_codec(experiment.codec).vocab_size
    model, data, steps = experiment.model, experiment.data, experiment.steps
    flops = base.of(model).flops(model, vocab_size, data.context)
    tokens = data.batch * data.context
    state = _bytes(arithmetic.state_bytes(experiment, vocab_size))
    total = f"{_count(steps * tokens)} tokens, {flops * tokens * steps:.2e} FLOPs"
    rows = [
        ("parameters", _count(base.num_parameters(model, vocab_size))),
        ("state", f"{state} (parameters, moments, average), split over fsdp and tensor"),
        ("batch", f"{data.batch} x {data.context:,} = {_count(tokens)} tokens"),
        ("FLOPs", f"{flops:.3e} for a token, {flops * tokens:.3e} for a step"),
        ("run", f"{steps:,} steps, {total}"),
    ]
    chips = [
        (
            name,
            f"{chip.kind.upper()}, {chip.memory / 2**30:.1f} GiB, {chip.flops / 1e12:.0f} "
            f"TFLOP/s, {chip.bandwidth / 1e9:,.0f} GB/s",
        )
        for name, chip in CHIPS.items()
    ]
    hint = "Name it as in --topology v5e:16x16, v5p:4x4x8 or h100:8."
    return "\n\n".join([_table("costs", rows), _table("hardware for --topology", chips), hint])


def _table(title: str, rows: Rows) -> str:
    rows = list(rows)
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
