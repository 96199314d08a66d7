"""Drawing a token from logits."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmusic import config
from jaxmusic.errors import UserError

LEVELS, ROUNDS = 32, 5
"""The search that stands in for a sort tells LEVELS ** ROUNDS probabilities apart."""


class Settings(NamedTuple):
    """`config.Sampling` as numbers that may be traced, so that a change compiles nothing anew."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float


def settings(sampling: config.Sampling) -> Settings:
    """Checks the sampling options; raises UserError on one out of range."""
    for name, value, ok, range_ in (
        ("temperature", sampling.temperature, 0 <= sampling.temperature <= 10, "0 to 10"),
        ("top_k", sampling.top_k, sampling.top_k >= 0, "0 (off) or more"),
        ("top_p", sampling.top_p, 0 < sampling.top_p <= 1, "above 0 and at most 1 (off)"),
        ("min_p", sampling.min_p, 0 <= sampling.min_p < 1, "0 (off) to below 1"),
    ):
        if not ok:
            raise UserError(f"{name} must be {range_}, not {value}")
    return Settings(sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p)


def draw(key: jax.Array, logits: jax.Array, mask: jax.Array, s: Settings) -> jax.Array:
    """Draws one token.

    The mask comes first, then temperature, then top-k, top-p (Holtzman et al. 2020) and min-p
    (Nguyen et al. 2024) on the probabilities that this leaves.

    Args:
      key: random key.
      logits: float32 [V].
      mask: bool [V], tokens that may be drawn; at least one.
      s: the settings.

    Returns:
      int32 scalar.
    """
    logits = jnp.where(mask, logits, -jnp.inf)
    probability = jax.nn.softmax(logits / jnp.maximum(s.temperature, 1e-6))
    best = probability.max()
    keep = mask & (probability >= s.min_p * best)
    keep &= probability >= _threshold(probability, mask.astype(jnp.float32), s.top_k)
    # A sum of rounded probabilities may stay below 1: without top_p there is no threshold.
    share = jnp.where(s.top_p < 1, s.top_p, 0.0)
    keep &= probability >= _threshold(probability, probability, share)
    # One uniform number against the summed shares: a random number for every token, as the
    # Gumbel trick needs, costs a fifth of a step of a small model.
    sums = jnp.cumsum(jnp.where(keep, probability, 0.0))
    chosen = (sums <= jax.random.uniform(key) * sums[-1]).sum()
    last = keep.size - 1 - jnp.argmax(keep[::-1])
    chosen = jnp.minimum(chosen, last)
    return jnp.where(s.temperature > 0, chosen, jnp.argmax(logits)).astype(jnp.int32)


def _threshold(probability: jax.Array, weight: jax.Array, target: jax.Array | float) -> jax.Array:
    """The highest level at which the entries of at least that probability weigh at least target.

    Found by trying `LEVELS` levels at once and then those between the best two: a sort of the
    vocabulary takes longer than a small model on a CPU. A target of 0 gives 0.
    """
    low, width = jnp.zeros((), probability.dtype), probability.max()
    steps = jnp.arange(LEVELS, dtype=probability.dtype) / LEVELS
    for _ in range(ROUNDS):
        levels = low + width * steps
        mass = jnp.where(probability >= levels[:, None], weight, 0.0).sum(axis=1)
        # The mass falls with the level, so the levels that hold enough come first.
        low = levels[jnp.maximum((mass >= target).sum() - 1, 0)]
        width = width / LEVELS
    # XLA may work the probabilities out anew, and round them otherwise, where this is compared.
    return jnp.where(target > 0, low * (1 - 1e-6), 0.0)
