"""Speed: tokens per second of training and sampling on a CPU beside Transformers on PyTorch.

Both models have the same shape and, apart from the small embeddings of musical position, the same
number of parameters; both run in float32 on the CPU, in turns within one process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import runner
from benchmarks.gpu_sides import rows
from benchmarks.llama import VOCAB, generation, llama
from benchmarks.runner import Result, Table
from jaxmusic import config
from jaxmusic._src.core.events import MAX_PITCHES, MAX_POSITIONS, MAX_SLOTS, Batch, Events
from jaxmusic._src.models import base, decode, transformer

MODEL = config.Transformer(layers=7)
"""About 6.4 million parameters with a vocabulary of 1,500."""
BATCH, CONTEXT, GENERATED = 4, 1024, 1024
GOALS = {"training": 1.2, "generation": 3.0}
"""Smallest median ratio of each kind of work, jaxmusic over PyTorch."""


def run(repeats: int = 5) -> Result:
    """Trains and samples on both sides.

    Args:
      repeats: measurements of each side.
    """
    peer = llama(MODEL, max(CONTEXT, GENERATED) + 1, "sdpa")
    kinds = {
        "training": (BATCH * CONTEXT, training(), peer_training(peer)),
        "generation": (GENERATED, sampling(), generation(peer, GENERATED)),
    }
    table, goals = [], []
    for work, (tokens, ours, theirs) in kinds.items():
        seconds = runner.in_turns({"ours": ours, "peer": theirs}, repeats)
        speeds = [round(tokens / float(np.median(seconds[side]))) for side in ("ours", "peer")]
        ratios = runner.ratios(seconds["peer"], seconds["ours"])
        table.append((work, *speeds, *ratios))
        goals.append(runner.at_least(f"{work}, ratio to PyTorch on a CPU", GOALS[work], ratios[1]))
    columns = ("jaxmusic (tokens/s)", "PyTorch (tokens/s)")
    columns += ("ratio, least", "ratio, median", "ratio, most")
    return Result(
        [Table(("work", *columns), table)],
        goals,
        [
            f"{base.num_parameters(MODEL, VOCAB):,} parameters beside "
            f"{sum(p.numel() for p in peer.parameters()):,}; training B{BATCH} x T{CONTEXT}, "
            f"float32, sampling one piece; {repeats} repeats in turns.",
        ],
    )


def training() -> Callable[[], Any]:
    """Returns a call of one optimizer step of jaxmusic: forward, backward, AdamW."""
    batch = rows(BATCH, CONTEXT, 1)
    params = transformer.init(MODEL, VOCAB, 0)
    optimizer = optax.adamw(1e-3, b2=0.98, weight_decay=0.1)

    def loss(params: Any, batch: Batch) -> jax.Array:
        logits = transformer.apply(params, MODEL, batch.events, batch.segment).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch.target).mean()

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, batch: Batch) -> Any:
        params, moments = state
        gradient = jax.grad(loss)(params, batch)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    state = (params, optimizer.init(params))

    def once() -> None:
        nonlocal state
        state = jax.block_until_ready(step(state, batch))

    return once


def sampling() -> Callable[[], Any]:
    """Returns a call that samples one piece in one compiled loop over the cache."""
    weights = decode.prepare(MODEL, transformer.init(MODEL, VOCAB, 0))

    def event(token: jax.Array, index: jax.Array) -> Events:
        # Stands in for the codec's state machine, which costs a few scalars as well.
        sizes = (MAX_POSITIONS, 64, MAX_SLOTS, MAX_PITCHES)
        return Events(token, index[None, None], *(token % size for size in sizes))

    @jax.jit
    def sample(weights: decode.Weights, key: jax.Array) -> jax.Array:
        def body(carry: Any) -> Any:
            index, tokens, cache, key = carry
            key, draw = jax.random.split(key)
            token = jax.lax.dynamic_slice(tokens, (0, index), (1, 1))
            logits, cache = decode.feed(MODEL, weights, cache, event(token, index))
            # One uniform number against the summed shares: a draw from the softmax.
            sums = jnp.cumsum(jax.nn.softmax(logits), axis=-1)
            token = jnp.sum(sums < jax.random.uniform(draw), axis=-1, dtype=jnp.int32)[:, None]
            tokens = jax.lax.dynamic_update_slice(
                tokens, jnp.minimum(token, VOCAB - 1), (0, index + 1)
            )
            return index + 1, tokens, cache, key

        tokens = jnp.zeros((1, GENERATED + 1), jnp.int32)
        start = (jnp.int32(0), tokens, decode.begin(MODEL, 1, GENERATED), key)
        return jax.lax.while_loop(lambda carry: carry[0] < GENERATED, body, start)[1]

    return lambda: sample(weights, jax.random.key(1)).block_until_ready()


def peer_training(model: Any) -> Callable[[], Any]:
    """Returns a call of one optimizer step of PyTorch: forward, backward, fused AdamW."""
    import torch

    tokens, target = (torch.randint(0, VOCAB, (BATCH, CONTEXT)) for _ in range(2))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1, fused=True
    )

    def once() -> None:
        model.train()
        logits = model(input_ids=tokens, use_cache=False).logits
        torch.nn.functional.cross_entropy(logits.view(-1, VOCAB), target.view(-1)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return once
