"""Reports: figures gathered from models or songs, written as JSON and as a page."""

from jaxmusic._src.reports import gather, likelihoods, writing

__all__ = ["gather", "likelihoods", "writing"]
