"""Measures of pieces and models: statistics, structure, originality, likelihood, adherence."""

from jaxmusic._src.evaluate import (
    adherence,
    bars,
    copy_index,
    distance,
    endings,
    likelihood,
    originality,
    statistics,
)

__all__ = [
    "adherence",
    "bars",
    "copy_index",
    "distance",
    "endings",
    "likelihood",
    "originality",
    "statistics",
]
