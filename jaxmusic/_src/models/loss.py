"""The loss: cross-entropy of the next token, with a z-loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def token_losses(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Computes the negative log-likelihood of each target in nats, [B, T].

    Args:
      logits: float32 or float64 [B, T, V].
      target: int32 [B, T].
    """
    return jax.nn.logsumexp(logits, axis=-1) - _chosen(logits, target)


def summed_losses(
    logits: jax.Array, target: jax.Array, weight: jax.Array, z_loss: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Computes the training loss and its negative log-likelihood, summed over a batch.

    The loss adds `z_loss` times the squared logarithm of the softmax's normaliser, which keeps the
    logits from drifting (Chowdhery et al. 2022, PaLM).

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
    # The compiler fuses its difference from the normaliser, without a second array as large as the
    # logits.
    return jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
