"""Datasets: prepared from files or notes, read as pieces, or as rows for training."""

from jaxmusic._src.data import builder, catalog, loader, pieces, starter, tfds_builders

__all__ = ["builder", "catalog", "loader", "pieces", "starter", "tfds_builders"]
