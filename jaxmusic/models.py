"""Model families, adapters and sizes, each a table to extend."""

from jaxmusic._src.models import adapters, base, presets, recurrent, transformer

__all__ = ["adapters", "base", "presets", "recurrent", "transformer"]
