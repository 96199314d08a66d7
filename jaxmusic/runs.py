"""Runs of training: their experiments, folders and weights."""

from jaxmusic._src.runs import experiments, folder, weights

__all__ = ["experiments", "folder", "weights"]
