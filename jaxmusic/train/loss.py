"""The loss: cross-entropy of the next token."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def token_losses(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Negative log-likelihood of each target in nats, float32 [B, T].

    Args:
      logits: float32 [B, T, V].
      target: int32 [B, T].
    """
    # The compiler fuses this difference; no second array of the logits' size is made.
    chosen = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen
