"""Drawing a token from logits."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmusic._src.generate.draws import Kinds, Settings

LEVELS, ROUNDS = 8, 8
"""The search that stands in for a sort tells LEVELS ** ROUNDS probabilities apart."""


def draw(key: jax.Array, logits: jax.Array, mask: jax.Array, s: Settings) -> jax.Array:
    """Draws one token (int32) from logits (float32 [V]) under a mask (bool [V], at least one true).

    The mask comes first, then temperature, then top-k, top-p (Holtzman et al. 2020) and min-p
    (Nguyen et al. 2024) on the probabilities that this leaves.
    """
    logits = jnp.where(mask, logits, -jnp.inf)
    tempered = logits / jnp.maximum(s.temperature, 1e-6)
    if s.kinds is not None:
        tempered = _within_kinds(logits, tempered, s.kinds)
    probability = jax.nn.softmax(tempered)
    keep = mask & (probability >= s.min_p * probability.max())
    if s.top_k is not None:
        keep &= probability >= _threshold(probability, mask.astype(jnp.float32), s.top_k)
    if s.top_p is not None:
        keep &= probability >= _threshold(probability, probability, s.top_p)
    # One uniform number against the summed shares: a random number for every token, as the
    # Gumbel trick needs, costs a fifth of a step of a small model.
    sums = jnp.cumsum(jnp.where(keep, probability, 0.0))
    chosen = (sums <= jax.random.uniform(key) * sums[-1]).sum()
    last = keep.size - 1 - jnp.argmax(keep[::-1])
    chosen = jnp.minimum(chosen, last)
    return jnp.where(s.temperature > 0, chosen, jnp.argmax(logits)).astype(jnp.int32)


def surprise(logits: jax.Array, mask: jax.Array, token: jax.Array) -> jax.Array:
    """Returns the nats (float32 [B]) of tokens [B] under logits and mask [B, V]."""
    logits = jnp.where(mask, logits, -jnp.inf)
    chosen = jnp.take_along_axis(logits, token[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(logits, axis=1) - chosen


def _within_kinds(logits: jax.Array, tempered: jax.Array, kinds: Kinds) -> jax.Array:
    """Logits of p(kind) p(token | kind): the kind as tempered, the token at its kind's own."""
    nothing = -jnp.inf
    own = jnp.where(kinds.members, logits * kinds.inverse, nothing)
    whole = jnp.where(kinds.members, tempered, nothing)
    moved = jax.nn.logsumexp(whole, axis=1) - jax.nn.logsumexp(own, axis=1)
    moved = jnp.where(jnp.isfinite(moved), moved, 0.0)  # nothing of this kind may follow
    own = jnp.where(kinds.members, own + moved[:, None], nothing).max(0)
    return jnp.where(kinds.members.any(0), own, tempered)


def _threshold(probability: jax.Array, weight: jax.Array, target: jax.Array | float) -> jax.Array:
    """Returns the highest level at which entries of at least that probability weigh the target.

    Found by trying `LEVELS` levels at once and then those between the best two: a sort of the
    vocabulary takes longer than a small model on a CPU.
    """
    low, width = jnp.zeros((), probability.dtype), probability.max()
    steps = jnp.arange(LEVELS, dtype=probability.dtype) / LEVELS
    for _ in range(ROUNDS):
        levels = low + width * steps
        mass = jnp.where(probability >= levels[:, None], weight, 0.0).sum(axis=1)
        # The mass falls with the level, so the levels that hold enough come first.
        low = levels[jnp.maximum((mass >= target).sum() - 1, 0)]
        width = width / LEVELS
    # XLA may recompute the probabilities, and round them differently, where this is compared.
    return low * (1 - 1e-6)
