"""Notes and pieces: beats and bars, harmony, the grid, and the controls that describe them."""

from jaxmusic._src.music import beats, controls, grid, harmony, notes, piece

__all__ = ["beats", "controls", "grid", "harmony", "notes", "piece"]
