"""Checkpoints: how long saving a model of 100 million parameters holds up its training.

The train step, its state and the checkpoints are those of a run; only the batch is small, one row,
so that a step is short and the goal hard. A save holds the loop up twice: in the call itself, and
in the first step after it, which may not use the buffers that are still being written and shares
the cores with the writer. The second is measured against the median of undisturbed steps.
"""

from __future__ import annotations

import pathlib
import statistics
import tempfile
import time
from typing import Any

import jax
import numpy as np
import tqdm

from benchmarks.runner import Options, Result, Row
from benchmarks.startup import size
from jaxmusic import config as configs
from jaxmusic.codecs.metrical import MetricalCodec
from jaxmusic.core import paths
from jaxmusic.core.events import Batch, Events
from jaxmusic.models.mesh import make_mesh
from jaxmusic.parallel.hosts import Hosts
from jaxmusic.runs import checkpoint, weights
from jaxmusic.runs import folder as runs
from jaxmusic.train.step import Program, make_program

MODEL = configs.Transformer(layers=14, width=768, heads=12, kv_heads=12, hidden=2048)
"""About 100 million parameters."""
CONTEXT = 4096
"""Tokens of a step: one row."""
SAVES = 2


def run(options: Options) -> Result:
    """Steps without and with saves between them; then restoring and exporting."""
    experiment = configs.Experiment(
        model=MODEL, data=configs.Data(dataset="none", context=CONTEXT, batch=1)
    )
    codec = MetricalCodec()
    program = make_program(
        experiment, codec.vocab_size, codec.onset_tokens, make_mesh(experiment.mesh)
    )
    stored = runs.Stored(experiment, codec, "none:1.0.0", "", (), ())
    with tempfile.TemporaryDirectory() as folder:
        path = paths.absolute(folder)
        runs.write(path, stored, Hosts(), 0)
        found = _saves(path, stored, program, options.count or SAVES)
        restore = _restore(path, stored, program)
        latest = runs.steps(path)[-1]
        on_disk = size(pathlib.Path(folder) / checkpoint.FOLDER / str(latest))
        export = _export(path)
    return Result(("what", "value", "unit"), tuple(_rows(found, restore, on_disk, export)))


def _saves(path: Any, stored: runs.Stored, program: Program, saves: int) -> dict[str, Any]:
    """Seconds of steps, of calls of `save`, of the steps after them, and of saves by themselves."""
    saved = checkpoint.Checkpoints(path, stored)
    state, batch = program.initial(), _batch(program)
    out: dict[str, Any] = {"step": [], "call": [], "after": [], "disk": []}
    with tqdm.tqdm(total=3 * saves + 1, desc="steps", leave=False) as bar:

        def step() -> float:
            nonlocal state
            start = time.perf_counter()
            state, _ = jax.block_until_ready(program.train(state, batch))
            bar.update()
            return time.perf_counter() - start

        step()  # compiles, and fills the moments, without which a state is half zeros
        out["bytes"] = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        out["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        for number in range(1, saves + 1):
            out["step"] += [step(), step()]
            start = time.perf_counter()
            saved.save(number, state, {})
            out["call"].append(time.perf_counter() - start)
            out["after"].append(step())
            saved.wait()
    for number in range(saves + 1, saves + 3):
        start = time.perf_counter()
        saved.save(number, state, {})
        saved.wait()
        out["disk"].append(time.perf_counter() - start)
    saved.close()
    return out


def _batch(program: Program) -> Batch:
    tokens = np.random.default_rng(0).integers(0, 500, (1, CONTEXT)).astype(np.int32)
    time_, ones = np.arange(CONTEXT, dtype=np.int32)[None], np.ones((1, CONTEXT), np.int32)
    events = Events(tokens, time_, time_ % 48, time_ // 48, 0 * ones, 60 * ones)
    batch = Batch(events, tokens, ones, ones.astype(np.float32))
    return jax.device_put(batch, program.batch)


def _restore(path: Any, stored: runs.Stored, program: Program) -> float:
    saved = checkpoint.Checkpoints(path, stored)
    start = time.perf_counter()
    jax.block_until_ready(saved.restore(runs.steps(path)[-1], program.state)[0])
    seconds = time.perf_counter() - start
    saved.close()
    return seconds


def _export(path: Any) -> dict[str, float]:
    """Bytes of the exported files, and seconds to load the whole one."""
    out = {}
    for dtype in weights.DTYPES:
        file = path / f"{dtype}.safetensors"
        weights.export(path, file, dtype=dtype)
        out[dtype] = file.stat().length
    start = time.perf_counter()
    jax.block_until_ready(jax.tree.leaves(weights.load(path / "float32.safetensors").params))
    return out | {"load": time.perf_counter() - start}


def _rows(
    found: dict[str, Any], restore: float, on_disk: int, export: dict[str, float]
) -> list[Row]:
    median = {name: statistics.median(found[name]) for name in ("step", "call", "after", "disk")}
    worst = max(
        call + max(after - median["step"], 0)
        for call, after in zip(found["call"], found["after"], strict=True)
    )
    gigabytes = found["bytes"] / 1e9
    return [
        Row(("parameters", round(found["parameters"] / 1e6, 1), "million")),
        Row(("state: parameters and moments", round(gigabytes, 2), "GB")),
        Row((f"a train step of {CONTEXT} tokens (median)", round(median["step"], 2), "s")),
        Row(("the call that saves (median)", round(median["call"], 3), "s")),
        Row(("the first step after it (median)", round(median["after"], 2), "s")),
        Row(
            ("a save holds the loop up, at worst", round(worst / median["step"], 2), "steps"),
            "less than 1 step",
            worst < median["step"],
        ),
        Row(("until it is on disk, without a step (median)", round(median["disk"], 2), "s")),
        Row(("written", round(gigabytes / median["disk"], 2), "GB/s")),
        Row(("a checkpoint on disk", round(on_disk / 1e9, 2), "GB")),
        Row(("restoring it", round(restore, 2), "s")),
        Row(("exported as float32", round(export["float32"] / 1e9, 2), "GB")),
        Row(("exported as bfloat16", round(export["bfloat16"] / 1e9, 2), "GB")),
        Row(("loading the exported model", round(export["load"], 2), "s")),
    ]
