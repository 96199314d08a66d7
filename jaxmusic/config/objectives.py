"""Objectives and adapters: one configuration for each, and their unions."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, TypeAlias


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of the next token."""

    KIND: ClassVar[str] = "cross_entropy"
    z_loss: float = 0.0
    """Weight of the squared logarithm of the softmax's normaliser in the loss, e.g. 1e-4."""


Objective: TypeAlias = CrossEntropy
"""Any objective; `KIND` names it in JSON and on the command line."""


@dataclasses.dataclass(frozen=True)
class Full:
    """Full training: all parameters, without an adapter."""

    KIND: ClassVar[str] = "full"


Adapter: TypeAlias = Full
"""Any adapter; `KIND` names it in JSON and on the command line."""
