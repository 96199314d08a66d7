"""Tokens per second of training and sampling, against Transformers on PyTorch.

Both models have the same shape and, but for the small embeddings of musical place, the same
number of parameters; both run in float32 on the CPU, in turns (A B A B ...) within one process,
so that the ratios hold on a machine whose speed varies. Needs the extra `bench`.

    python benchmarks/throughput.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.llama import VOCAB, llama
from jaxmusic import config as configs
from jaxmusic.core.events import MAX_PITCHES, MAX_POSITIONS, MAX_SLOTS, Events
from jaxmusic.models import base, decode, transformer

MODEL = configs.Transformer(layers=7)
"""About 6.4 million parameters with a vocabulary of 1,500."""


def run(
    rounds: int = 5, batch: int = 4, context: int = 1024, generated: int = 1024, peer: bool = True
) -> dict[str, Any]:
    """Measures training and generation.

    Args:
      rounds: measurements of each side, in turns, after one that is thrown away.
      batch: rows of a training step.
      context: tokens of a row.
      generated: tokens sampled at batch 1 from a prompt of one token.
      peer: measure PyTorch too.

    Returns:
      For "training" and "generation": tokens per second of each side (min, median, max), and
      the ratio ours / PyTorch of neighbouring measurements.
    """
    sides = {"training": {"jaxmusic": our_training(batch, context)}}
    sides["generation"] = {"jaxmusic": our_generation(generated)}
    if peer:
        model = llama(MODEL, max(context, generated) + 1, "sdpa")
        sides["training"]["pytorch"] = peer_training(model, batch, context)
        sides["generation"]["pytorch"] = peer_generation(model, generated)
    result: dict[str, Any] = {
        "parameters": base.num_parameters(MODEL, VOCAB),
        "shape": f"B{batch} x T{context}, float32",
        "training": measure(sides["training"], batch * context, rounds),
        "generation": measure(sides["generation"], generated, rounds),
    }
    if peer:
        result["peer_parameters"] = sum(p.numel() for p in model.parameters())
    return result


def measure(sides: dict[str, Callable[[], Any]], tokens: int, rounds: int) -> dict[str, Any]:
    """Runs the sides in turns and sums up their tokens per second and their ratio."""
    for work in sides.values():
        work()
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            start = time.perf_counter()
            work()
            speeds[name].append(tokens / (time.perf_counter() - start))
    result = {name: spread(values) for name, values in speeds.items()}
    if "pytorch" in speeds:
        result["ratio"] = spread([a / b for a, b in zip(*speeds.values(), strict=True)])
    return result


def spread(values: list[float]) -> dict[str, float]:
    """Least, median and greatest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def our_training(batch: int, context: int) -> Callable[[], Any]:
    """A call is one optimizer step of jaxmusic: forward, backward, AdamW."""
    rng = np.random.default_rng(0)
    sizes = (VOCAB, context, MAX_POSITIONS, 64, MAX_SLOTS, MAX_PITCHES)
    events = Events(*(rng.integers(0, n, (batch, context), np.int32) for n in sizes))
    target = rng.integers(0, VOCAB, (batch, context), np.int32)
    params = transformer.init(MODEL, VOCAB, 0)
    optimizer = optax.adamw(1e-3, b2=0.98, weight_decay=0.1)

    def loss(params: Any, events: Events, target: jax.Array) -> jax.Array:
        logits = transformer.apply(params, MODEL, events, jnp.ones_like(target)).logits
        return optax.softmax_cross_entropy_with_integer_labels(logits, target).mean()

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, events: Events, target: jax.Array) -> Any:
        params, moments = state
        gradient = jax.grad(loss)(params, events, target)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments

    state = (params, optimizer.init(params))

    def once() -> None:
        nonlocal state
        state = jax.block_until_ready(step(state, events, target))

    return once


def our_generation(count: int) -> Callable[[], Any]:
    """A call samples `count` tokens at batch 1 in one compiled loop over the cache."""
    params = transformer.init(MODEL, VOCAB, 0)
    weights = decode.prepare(MODEL, params)

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
            token = jnp.minimum(token, VOCAB - 1)
            return (
                index + 1,
                jax.lax.dynamic_update_slice(tokens, token, (0, index + 1)),
                cache,
                key,
            )

        tokens = jnp.zeros((1, count + 1), jnp.int32)
        start = (jnp.int32(0), tokens, decode.begin(MODEL, 1, count), key)
        return jax.lax.while_loop(lambda carry: carry[0] < count, body, start)[1]

    return lambda: sample(weights, jax.random.key(1)).block_until_ready()


def peer_training(model: Any, batch: int, context: int) -> Callable[[], Any]:
    """A call is one optimizer step of PyTorch: forward, backward, fused AdamW."""
    import torch

    tokens, target = (torch.randint(0, VOCAB, (batch, context)) for _ in range(2))
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


def peer_generation(model: Any, count: int) -> Callable[[], Any]:
    """A call samples `count` tokens with `generate`, its default cache and plain sampling."""
    import torch

    prompt = torch.zeros((1, 1), dtype=torch.long)

    def once() -> None:
        model.eval()
        with torch.inference_mode():
            out = model.generate(
                prompt, do_sample=True, top_k=0, max_new_tokens=count, use_cache=True
            )
        assert out.shape[1] == count + 1

    return once


def main() -> None:
    """Prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--alone", action="store_true", help="leave PyTorch out")
    arguments = parser.parse_args()
    result = run(arguments.rounds, peer=not arguments.alone)
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for work in ("training", "generation"):
        for name, values in result[work].items():
            print(f"{work:10} {name:9}", *(f"{k} {v:10,.2f}" for k, v in values.items()))


if __name__ == "__main__":
    main()
