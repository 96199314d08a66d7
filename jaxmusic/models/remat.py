"""What a layer keeps for the backward pass, by name."""

from __future__ import annotations

import jax

SAVED, MIXED = "saved", "mixed"
"""Names of activations that the backward pass wants, of products and of attention; others may be
computed again."""

POLICIES = {
    "products": jax.checkpoint_policies.save_only_these_names(SAVED, MIXED),
    "attention": jax.checkpoint_policies.save_only_these_names(MIXED),
    "nothing": jax.checkpoint_policies.nothing_saveable,
}
"""What `config.Model.remat` may be. Every attention kernel but the reference names its output and
its normalisers MIXED, so that only under "nothing" its forward pass is made twice."""
