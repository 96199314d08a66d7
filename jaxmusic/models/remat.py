"""Rematerialisation policies by name."""

from __future__ import annotations

import jax

SAVED, MIXED = "saved", "mixed"
"""Names of activations for the backward pass, of products and of attention; others may be
recomputed."""

POLICIES = {
    "products": jax.checkpoint_policies.save_only_these_names(SAVED, MIXED),
    "attention": jax.checkpoint_policies.save_only_these_names(MIXED),
    "nothing": jax.checkpoint_policies.nothing_saveable,
}
"""Values of `config.Transformer.remat`. Every attention kernel except the reference names its
output and its normalisers MIXED, so that only "nothing" runs its forward pass twice."""
