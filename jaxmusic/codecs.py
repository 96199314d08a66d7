"""Codecs between pieces and tokens: their base class, their table, and parts that are given."""

from jaxmusic._src.codecs import base, registry, tasks

__all__ = ["base", "registry", "tasks"]
