"""Composing a whole piece of 3:00: tokens per second at batch 1 and 8, beside Transformers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import throughput
from benchmarks.llama import llama
from benchmarks.runner import Options, Result, Row, peer
from jaxmusic import config
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.generate import decoding
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.controls import Wishes
from jaxmusic.models import transformer

CONTEXT = 4096
TOKENS = 3072
"""About as many as a piece of 3:00 has: a model that was not trained draws as fast, but ends where
it likes."""
BARS = 1 << 16
"""Bars asked for, so that no piece ends before it has that many tokens."""
BATCHES = (1, 8)
ON_GPU = (1, 64)


def composer() -> Composer:
    """Of an untrained model."""
    codec, shape = MetricalCodec(), throughput.MODEL
    params = transformer.init(shape, codec.vocab_size, 0)
    return Composer(shape, params, codec, CONTEXT)


def ours(composer: Composer, batch: int, tokens: int) -> Callable[[], int]:
    """A call samples pieces of so many tokens and returns the number of notes in them all."""
    planner = composer.planner(Wishes())
    settings = decoding.settings(config.Sampling(), composer.codec.vocabulary)

    def once() -> int:
        prompts, plan = planner.begin(batch)
        plan = plan._replace(bars=np.full_like(plan.bars, BARS))
        keys = jax.vmap(jax.random.key)(jnp.arange(batch))
        for p in composer.sampler.fill(prompts, prompts, planner, plan, keys, settings):
            if int(p.index) + 1 >= tokens:
                break
        return int(composer.codec.onset_tokens[np.asarray(p.tokens)[:, :tokens]].sum())

    return once


def run(options: Options) -> Result:
    """All sides in turns; the peer is left out on a GPU, where it has no part in the goals."""
    gpu = jax.default_backend() == "gpu"
    made = composer()
    sides: dict[str, Callable[[], Any]] = {
        f"jaxmusic, batch {b}": ours(made, b, TOKENS) for b in (ON_GPU if gpu else BATCHES)
    }
    if not gpu:
        for module in ("torch", "transformers"):
            peer(module)
        model = llama(throughput.MODEL, TOKENS + 1, "sdpa")
        sides["Transformers, batch 1"] = throughput.peer_generation(model, TOKENS)
    notes = {name: work() for name, work in sides.items()}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, work in sides.items():
            start = time.perf_counter()
            work()
            spent[name].append(time.perf_counter() - start)
    return Result(
        columns=("side", "tokens/s", "notes/s", "ratio to", "least", "median", "most"),
        rows=tuple(_row(name, spent, notes[name]) for name in sides),
        notes=(
            f"{TOKENS:,} tokens of each piece, {options.repeats} repeats in turns, in float32; the "
            "whole road of `Composer`: model, grammar, repeated bars, draw.",
            "Pieces of an untrained model: notes per second follow from how many of its tokens are "
            "notes.",
        ),
    )


def _row(name: str, spent: dict[str, list[float]], notes: int | None) -> Row:
    batch = int(name.split()[-1])
    median = float(np.median(spent[name]))
    speed = (round(batch * TOKENS / median), round(notes / median) if notes else "")
    other, goal = {
        "jaxmusic, batch 1": ("Transformers, batch 1", 5.0),
        "jaxmusic, batch 8": ("jaxmusic, batch 1", 3.0),
    }.get(name, ("", 0.0))
    if other not in spent:
        return Row((name, *speed, "", "", "", ""))
    ratios = [batch * b / a for a, b in zip(spent[name], spent[other])]
    least, middle, most = (round(float(np.quantile(ratios, q)), 2) for q in (0, 0.5, 1))
    cells = (name, *speed, other, least, middle, most)
    return Row(cells, f"median ratio at least {goal:g}", middle >= goal)
