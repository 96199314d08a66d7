"""The optimiser: AdamW with warm-up, cosine decay and clipping."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from jaxmusic import config as configs
from jaxmusic.errors import UserError


def make_schedule(config: configs.Optimizer, steps: int) -> optax.Schedule:
    """The learning rate of each update, counted from 0.

    It rises linearly so that update `warmup - 1` has the peak, then falls along half a cosine
    to `final` times the peak at the last update (Loshchilov and Hutter 2017).

    Args:
      config: peak, warm-up and final share.
      steps: updates in all.

    Returns:
      A function from the number of updates made so far to the rate of the next one.

    Raises:
      UserError: if the warm-up is not shorter than the run.
    """
    if not 0 <= config.warmup < steps:
        raise UserError(
            f"Set optimizer.warmup to fewer than the {steps} steps of the run, not {config.warmup}."
        )

    def rate(count: jax.Array) -> jax.Array:
        update = jnp.asarray(count, jnp.float32) + 1
        rising = update / max(config.warmup, 1)
        share = jnp.clip((update - config.warmup) / (steps - config.warmup), 0, 1)
        falling = config.final + (1 - config.final) * 0.5 * (1 + jnp.cos(jnp.pi * share))
        return config.learning_rate * jnp.where(update <= config.warmup, rising, falling)

    return rate


def make_optimizer(
    config: configs.Optimizer, steps: int, decayed: Mapping[str, bool]
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) after clipping to a global norm.

    Args:
      config: its settings.
      steps: updates in all, for the schedule.
      decayed: whether weight decay applies to each parameter, by name.
    """
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.scale_by_adam(b1=config.b1, b2=config.b2),
        optax.add_decayed_weights(config.weight_decay, mask=dict(decayed)),
        optax.scale_by_learning_rate(make_schedule(config, steps)),
    )
