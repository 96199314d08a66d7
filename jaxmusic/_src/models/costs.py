"""Costs of a model beside its FLOPs, for planning runs on other hardware."""

from __future__ import annotations

from typing import Any, NamedTuple


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
