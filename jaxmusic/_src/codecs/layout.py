"""What vocabularies are laid out by, and the room they keep for later."""

from __future__ import annotations

import numpy as np

from jaxmusic._src.music.controls import CONTROLS

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
TASK_ROOM = 16
METER_ROOM, TEMPO_ROOM = 24, 104
MAX_HOLD = 16
CONTROL_ROOM = 381
"""Ids of all controls together. 64 of them were free when the first weights were trained; rows that
are added to the table of controls take theirs from these, and move no others."""
BARS_LEFT = np.array([*range(64), *range(64, 128, 4), *range(128, 257, 32)])
"""Lowest number of bars left that each bar token stands for."""


def bars_left_index(left: np.ndarray | int) -> np.ndarray:
    """Returns the value of the bar token for each number of bars left."""
    return np.searchsorted(BARS_LEFT, left, side="right") - 1


def control_ranges() -> list[tuple[str, int]]:
    """Returns the kinds of tokens of controls and how many ids each keeps; those free come last."""
    ranges = [(control.kind, control.room) for control in CONTROLS]
    free = CONTROL_ROOM - sum(room for _, room in ranges)
    assert free > 0, "there are no ids left for another control"
    return [*ranges, ("free", free)]
