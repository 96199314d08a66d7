"""Costs of a model beside its FLOPs, for planning runs on other hardware."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxmusic import config as configs
from jaxmusic.models.attention import kernels
from jaxmusic.models.remat import POLICIES

_REPEATED = {"splash": 1.5, "flash": 1.5, "chunked": 0.5, "plain": 0.0}
"""Attention products that the backward pass of a kernel repeats, as a share of the forward pass:
the scores once (Dao et al. 2022); splash and flash compute the gradients of queries and of keys in
two kernels, each with its own scores and their gradients."""


class Split(NamedTuple):
    """Hardware properties that affect the costs of a device.

    Attributes:
      platform: cpu, gpu or tpu.
      tensor: devices over which heads and hidden units are split.
    """

    platform: str
    tensor: int = 1


class Costs(NamedTuple):
    """Costs of training on one token, on one device.

    Attributes:
      activations: numbers kept for the backward pass, and those of one layer with its gradients.
      moved: numbers that the layers read and write in both passes.
      repeated: floating-point operations of recomputation.
      gathered: share of the parameters that a device holds unsharded at one time.
      settings: settings that affect the figures, by name, for display.
    """

    activations: float
    moved: float
    repeated: float
    gathered: float
    settings: dict[str, Any]


def transformer(
    config: configs.Transformer, flops: float, vocab_size: int, context: int, split: Split
) -> Costs:
    """Estimates the costs of a Transformer; see `jaxmusic.models.base.Family.costs`.

    Each product reads its input and writes its output once; so does attention; norms, activations
    and residual sums are fused pairwise.

    Args:
      config: shape of the model.
      flops: its floating-point operations for a token, forward and backward.
      vocab_size: tokens of the codec.
      context: tokens of a row.
      split: the hardware.
    """
    kernel = kernels.choose(config.attention, split.platform)
    mixed, keys = config.heads * config.head_dim, 2 * config.kv_heads * config.head_dim
    width, hidden, tensor = config.width, config.hidden, split.tensor
    scores = 4 * config.layers * mixed * (context + 1) / 2
    layers = flops / 3 - scores - 2 * vocab_size * width
    repeated = _REPEATED[kernel] * scores
    if config.remat != "products":
        repeated += layers
    if config.remat == "nothing":
        repeated += scores
    kept = {
        "nothing": 0.0,
        "attention": mixed / tensor,
        "products": width + (2 * mixed + keys + 2 * hidden) / tensor,
    }[config.remat]
    layer = 6 * width + (3 * mixed + 2 * keys + 4 * hidden) / tensor
    touched = config.layers * (8 * width + 4 * mixed + 2 * keys + 6 * hidden)
    return Costs(
        activations=config.layers * (width + kept) + 2 * layer,
        moved=(3 + (config.remat != "products")) * touched / tensor,
        repeated=repeated,
        gathered=2 / config.layers,
        settings={"attention": kernel, "remat": config.remat},
    )


def lighter(remat: str) -> str | None:
    """Returns the next rematerialisation policy, which keeps less; None after the last."""
    policies = list(POLICIES)
    return next(iter(policies[policies.index(remat) + 1 :]), None)
