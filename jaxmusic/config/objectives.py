"""Objectives and adapters: one configuration for each, and their unions."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, TypeAlias

from jaxmusic.config.fields import Settings, number


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Settings, group="objective"):
    """Cross-entropy of the next token."""

    KIND: ClassVar[str] = "cross_entropy"
    z_loss: float = number(0.0, "[0, inf)")
    """Weight of the squared logarithm of the softmax's normaliser in the loss, e.g. 1e-4."""


Objective: TypeAlias = CrossEntropy
"""Any objective; `KIND` names it in JSON and on the command line."""


@dataclasses.dataclass(frozen=True)
class Full(Settings, group="adapter"):
    """Full training: all parameters, without an adapter."""

    KIND: ClassVar[str] = "full"


Adapter: TypeAlias = Full
"""Any adapter; `KIND` names it in JSON and on the command line."""
