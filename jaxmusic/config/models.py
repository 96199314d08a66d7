"""Model families: one configuration for each, and their union."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, TypeAlias

from jaxmusic.config.fields import SIZE, Settings, number, resumable


@dataclasses.dataclass(frozen=True)
class Transformer(Settings, group="model"):
    """Configuration of a decoder-only Transformer."""

    KIND: ClassVar[str] = "transformer"

    layers: int = number(6, "[1, 10000]")
    """Number of layers."""
    width: int = number(256, SIZE)
    """Width of the residual stream."""
    heads: int = number(4, SIZE)
    """Query heads."""
    kv_heads: int = number(4, SIZE)
    """Key and value heads; divides heads."""
    head_dim: int = number(64, SIZE)
    """Width of one head."""
    hidden: int = number(768, SIZE)
    """Width of the SwiGLU layer."""
    dropout: float = number(0.0, "[0, 1)")
    """Share of activations dropped in training."""
    dtype: str = "float32"
    """Type of activations: float32 or bfloat16. Parameters are float32."""
    attention: str = resumable("auto")
    """Attention kernel: auto (by platform), splash (TPU), flash (GPU), chunked (any device) or
    plain (one dense mask)."""
    remat: str = resumable("products")
    """Activations that a layer keeps for the backward pass: products (outputs of matrix products
    and attention), attention (output of attention) or nothing (only its input). Keeping less saves
    memory and recomputes more."""
    rotary: str = "index time"
    """Coordinates that rotary positions encode: any of index, time (musical, in grid steps) and
    pitch; they share the width of a head."""
    softcap: float = number(0.0, "[0, inf)")
    """Smooth bound on the logits (tanh); 0 for none."""


@dataclasses.dataclass(frozen=True)
class LSTM(Settings, group="model"):
    """Configuration of a network of LSTM layers."""

    KIND: ClassVar[str] = "lstm"
    layers: int = number(2, "[1, 10000]")
    """Number of layers."""
    width: int = number(512, SIZE)
    """Width of the residual stream and of the state of each layer."""
    dropout: float = number(0.0, "[0, 1)")
    """Share of each layer's output dropped in training."""
    dtype: str = "float32"
    """Type of activations: float32 or bfloat16. Parameters are float32."""


Model: TypeAlias = Transformer | LSTM
"""Any model; `KIND` names the family in JSON and on the command line."""
