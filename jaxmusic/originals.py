"""Composing until pieces are original: copies of the training music are thrown away."""

from jaxmusic._src.originals import compose, judge, training_music

__all__ = ["compose", "judge", "training_music"]
