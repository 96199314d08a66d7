"""The loss: cross-entropy of the next token, and what is minimised beside it."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def token_losses(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Negative log-likelihood of each target in nats, [B, T] in the type of the logits.

    Args:
      logits: float32 or float64 [B, T, V].
      target: int32 [B, T].
    """
    return jax.nn.logsumexp(logits, axis=-1) - _chosen(logits, target)


def summed_losses(
    logits: jax.Array, target: jax.Array, weight: jax.Array, z_loss: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """What training minimises, and the negative log-likelihood in it, summed over a batch.

    The former adds to the latter `z_loss` times the squared logarithm of the softmax's normaliser,
    which keeps the logits from drifting (Chowdhery et al. 2022, PaLM).

    Args:
      logits: float32 or float64 [B, T, V].
      target: int32 [B, T].
      weight: float32 [B, T].
      z_loss: weight of the second term.

    Returns:
      Two scalars in the type of the logits.
    """
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    nll = ((normaliser - _chosen(logits, target)) * weight).sum()
    if not z_loss:
        return nll, nll
    return nll + z_loss * (normaliser**2 * weight).sum(), nll


def _chosen(logits: jax.Array, target: jax.Array) -> jax.Array:
    # The compiler fuses its difference from the normaliser; no second array of the logits' size is
    # made.
    return jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
