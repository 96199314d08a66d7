"""Cleaning: why files and pieces are left out.

The thresholds are in `config.Prepare`. They leave the real music that we know alone: its densest
piece has 61 notes a second, its longest note lasts 65 s.
"""

from __future__ import annotations

import contextlib
import enum
import re
from collections.abc import Iterator

import numpy as np

from jaxmusic._src.core.errors import NoNotes, UserError
from jaxmusic._src.music.beats import Fit
from jaxmusic._src.music.notes import Notes
from jaxmusic.config import Prepare


class Reason(enum.StrEnum):
    """Reasons to leave out a file; those of `reject` have their thresholds in them."""

    UNREADABLE = "cannot be read"
    EMPTY = "holds no notes"
    LABELS = "its labels cannot be read"
    UNPROCESSED = "cannot be processed"
    UNMEASURED = "cannot be measured"
    CRASHED = "the parser crashed"
    SLOW = "took too long"
    NOT_SELECTED = "not selected"
    OFF_GRID = "no beat grid fits its notes"
    COPY = "copy of another file"
    TWIN = "near-duplicate of a validation or test piece"


_REMEDIES = (
    (r"fewer than .* notes", "--min-notes keeps shorter pieces"),
    (r"shorter than", "--min-seconds keeps shorter pieces"),
    (r"longer than", "--max-seconds keeps longer pieces"),
    (r"fewer than .* pitches", "--min-pitches 1 keeps them"),
    (r"more than .* notes a second", "--max-density keeps denser pieces"),
    (r"a note longer", "--max-note-seconds keeps them"),
    (r"no drums", "leave out --need-drums to keep them"),
    (Reason.OFF_GRID, "--off-grid keep keeps performances, for the performance codec"),
    (Reason.NOT_SELECTED, "--where keeps others only"),
    (Reason.SLOW, "--file-timeout gives them more time"),
    (Reason.COPY, "the first one is kept"),
    (Reason.TWIN, "held-out music is not trained on"),
)
"""What keeps the pieces that are left out, or why they are: patterns of reasons, and words."""


def with_remedy(reason: str) -> str:
    """Returns the reason to leave out files, with what keeps them where an option does."""
    words = next((words for pattern, words in _REMEDIES if re.match(pattern, reason)), "")
    return f"{reason} ({words})" if words else reason


class Skipped(Exception):
    """Leaves out a file.

    Attributes:
      reason: a `Reason`, or what a rule gives; files are counted by it.
      detail: further words on this file.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@contextlib.contextmanager
def skipping(reason: Reason) -> Iterator[None]:
    """Raises `Skipped` in place of any other exception."""
    try:
        yield
    except Skipped:
        raise
    except NoNotes as error:
        raise Skipped(Reason.EMPTY, str(error)) from error
    except UserError as error:
        raise Skipped(reason, str(error)) from error
    except Exception as error:
        raise Skipped(reason, f"{type(error).__name__}: {error}") from error


def is_off_grid(fit: Fit, config: Prepare) -> bool:
    """Tells whether the notes fit no even subdivision of the beat, see `Fit.error`."""
    return fit.error > config.max_onset_error


def without_empty_tracks(notes: Notes, config: Prepare) -> tuple[Notes, int]:
    """Removes tracks of fewer than ``config.min_track_notes`` notes; returns their number too."""
    count = np.bincount(notes.track, minlength=len(notes.program))
    kept = count >= config.min_track_notes
    if kept.all():
        return notes, 0
    rows = kept[notes.track]
    columns = ("onset", "duration", "pitch", "velocity")
    return notes.replace(
        **{name: getattr(notes, name)[rows] for name in columns},
        track=(np.cumsum(kept) - 1)[notes.track[rows]].astype(np.int16),
        program=notes.program[kept],
        drum=notes.drum[kept],
    ), int((~kept).sum())


def reject(notes: Notes, config: Prepare) -> str | None:
    """Returns the first reason to leave out a piece as read from its file, or None.

    Pieces sound from the first onset on. Too many notes a second are pictures drawn in notes, and a
    note that lasts too long has lost its end.
    """
    if not len(notes):
        return Reason.EMPTY
    onset, drum = notes.onset.astype(np.int64), notes.is_drum
    start, last = notes.seconds(onset), notes.seconds(onset + notes.duration)
    longest = float((last - start)[~drum].max(initial=0))
    seconds = float(notes.seconds(notes.end)) - float(start[0])
    # Each drum counts as a pitch.
    pitches = np.count_nonzero(np.bincount(notes.pitch + 128 * drum.astype(np.int16)))
    rules = (
        (len(notes) < config.min_notes, f"fewer than {config.min_notes} notes"),
        (seconds < config.min_seconds, f"shorter than {config.min_seconds:g} s"),
        (seconds > config.max_seconds, f"longer than {config.max_seconds:g} s"),
        (pitches < config.min_pitches, f"fewer than {config.min_pitches} pitches"),
        (
            len(notes) > config.max_density * max(seconds, 1.0),
            f"more than {config.max_density:g} notes a second",
        ),
        (longest > config.max_note_seconds, f"a note longer than {config.max_note_seconds:g} s"),
        (config.need_drums and not drum.any(), "no drums"),
    )
    return next((reason for fails, reason in rules if fails), None)
