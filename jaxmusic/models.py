"""Model families and adapters, two tables to extend."""

from jaxmusic._src.models import adapters, base, recurrent, transformer

__all__ = ["adapters", "base", "recurrent", "transformer"]
