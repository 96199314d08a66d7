"""Shapes of Transformers from 5 million to 10 billion parameters, by name.

Heads are 64 or 128 wide and together as wide as the residual stream; the hidden width is about 8/3
of it, which gives the three matrices of SwiGLU the size of the two that they replace (Shazeer
2020); `7b` has that of Mistral 7B (Jiang et al. 2023). All sizes are multiples of
128 from `100m` on, as tiles of matrix units are. From `1b` on several query heads share a key head
(Ainslie et al. 2023), and 8 key heads can be split over 2, 4 or 8 devices.
"""

from __future__ import annotations

from jaxmusic._src.core.errors import UserError
from jaxmusic.config.models import Model, Transformer


def _model(
    layers: int, width: int, heads: int, hidden: int, kv_heads: int = 0, dtype: str = "bfloat16"
) -> Model:
    return Transformer(
        layers=layers,
        width=width,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=width // heads,
        hidden=hidden,
        dtype=dtype,
    )


MODELS: dict[str, Model] = {
    "5m": _model(6, 256, 4, 704, dtype="float32"),
    "20m": _model(6, 512, 8, 1408, dtype="float32"),
    "50m": _model(10, 640, 10, 1664, dtype="float32"),
    "100m": _model(14, 768, 6, 2048),
    "200m": _model(15, 1024, 8, 2816),
    "350m": _model(18, 1280, 10, 3328),
    "1b": _model(21, 2048, 16, 5632, kv_heads=8),
    "3b": _model(30, 3072, 24, 8192, kv_heads=8),
    "7b": _model(32, 4096, 32, 14336, kv_heads=8),
    "10b": _model(36, 5120, 40, 13824, kv_heads=8),
}
"""Models by their rounded number of parameters; bfloat16 from 100m on."""


def model(name: str) -> Model:
    """Returns the preset of a name; raises UserError if there is none."""
    if name not in MODELS:
        raise UserError(f"Choose one of the models {', '.join(MODELS)}, not {name!r}.")
    return MODELS[name]
