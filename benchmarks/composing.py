"""Composing a whole piece of 3:00: tokens per second at batch 1 and 8, beside Transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import runner
from benchmarks.llama import generation, llama
from benchmarks.runner import Result, Table
from benchmarks.speed import MODEL
from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.generate import decoding
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.models import transformer

CONTEXT = 4096
TOKENS = 3072
"""Tokens of a piece of about 3:00. An untrained model samples as fast as a trained one, but ends
anywhere."""
BARS = 1 << 16
"""Bars asked for, so that no piece ends before it has that many tokens."""
BATCHES, ON_GPU = (1, 8), (1, 64)
GOALS = {
    "jaxmusic, batch 1": ("Transformers, batch 1", 5),
    "jaxmusic, batch 8": ("jaxmusic, batch 1", 3),
}
"""What each side is compared with, and the least median ratio."""


def ours(composer: Composer, batch: int) -> Callable[[], int]:
    """Returns a call that samples pieces and returns the number of notes in them all."""
    planner = composer.planner(Request())
    settings = decoding.settings(config.Sampling(), composer.codec.vocabulary)

    def once() -> int:
        prompts, plan = planner.begin(batch)
        plan = plan._replace(bars=np.full_like(plan.bars, BARS))
        keys = jax.vmap(jax.random.key)(jnp.arange(batch))
        for p in composer.sampler.fill(prompts, prompts, planner, plan, keys, settings):
            if int(p.index) + 1 >= TOKENS:
                break
        return int(composer.codec.onset_tokens[np.asarray(p.tokens)[:, :TOKENS]].sum())

    return once


def run(repeats: int = 5) -> Result:
    """Samples on all sides; on a GPU without the peer, which has no part in the goals there.

    Args:
      repeats: measurements of each side.
    """
    gpu, codec = jax.default_backend() == "gpu", MetricalCodec()
    composer = Composer(MODEL, transformer.init(MODEL, codec.vocab_size, 0), codec, CONTEXT)
    sides: dict[str, Callable[[], Any]] = {
        f"jaxmusic, batch {b}": ours(composer, b) for b in (ON_GPU if gpu else BATCHES)
    }
    if not gpu:
        sides["Transformers, batch 1"] = generation(llama(MODEL, TOKENS + 1, "sdpa"), TOKENS)
    notes = {name: work() for name, work in sides.items()}
    seconds = runner.in_turns(sides, repeats)
    rows, goals = [], []
    for name in sides:
        batch, median = int(name.split()[-1]), float(np.median(seconds[name]))
        speed = (round(batch * TOKENS / median), round(notes[name] / median) if notes[name] else "")
        other, goal = GOALS.get(name, ("", 0))
        if other not in sides:
            rows.append((name, *speed, "", "", "", ""))
            continue
        ratios = runner.ratios([batch * s for s in seconds[other]], seconds[name])
        rows.append((name, *speed, other, *ratios))
        what = f"tokens/s on a CPU, {name}, ratio to {other}"
        goals.append(runner.at_least(what, goal, ratios[1]))
    return Result(
        [Table(("side", "tokens/s", "notes/s", "ratio to", "least", "median", "most"), rows)],
        goals,
        [
            f"{TOKENS:,} tokens of each piece, {repeats} repeats in turns, in float32; all steps "
            "of `Composer`: model, grammar, repeated bars, draw.",
            "Pieces of an untrained model: notes per second follow from how many of its tokens are "
            "notes.",
        ],
    )
