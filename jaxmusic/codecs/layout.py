"""What vocabularies are laid out by, and the room they keep for later."""

from __future__ import annotations

import numpy as np

MAX_STYLES = 64
# fmt: off
DEFAULT_STYLES = (
    "pop", "rock", "ballad", "jazz", "classical", "folk", "country", "blues", "soul", "funk",
    "disco", "electronic", "house", "techno", "trance", "ambient", "metal", "punk", "indie",
    "reggae", "latin", "bossa-nova", "samba", "salsa", "tango", "gospel", "hip-hop", "rnb",
    "swing", "ragtime", "march", "waltz", "hymn", "baroque", "romantic", "film", "game",
    "new-age", "world", "christmas", "children", "afrobeat",
)
# fmt: on
TASKS = ("continue", "infill", "accompany", "harmonise", "vary")
"""What the task tokens are kept for, in order; there is room for `TASK_ROOM`."""
TASK_ROOM = 8
SECTION_ROOM = 6
MAX_HOLD = 16
CONTROLS = ("styles", "key", "density", "chords", "sections")
"""Controls that may be left out of a stream."""
BARS_LEFT = np.array([*range(64), *range(64, 128, 4), *range(128, 257, 32)])
"""Lowest number of bars left that each bar token stands for."""


def bars_left_index(left: np.ndarray | int) -> np.ndarray:
    """Value of the bar token for each number of bars left."""
    return np.searchsorted(BARS_LEFT, left, side="right") - 1
