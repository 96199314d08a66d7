"""Cleaning: why files and pieces are left out. A rule gives a reason, or None to keep the piece.

The thresholds are in `config.Prepare`. They leave the real music that we know alone: its densest
piece has 61 notes a second, its longest note lasts 65 s.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator

import numpy as np

from jaxmusic.config import Prepare
from jaxmusic.core.errors import NoNotes, UserError
from jaxmusic.music.beats import Fit
from jaxmusic.music.notes import Notes


class Reason(enum.StrEnum):
    """Reasons to leave out a file; those of `RULES` have their thresholds in them."""

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
    TWIN = "twin of a validation or test piece"


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


def too_few_notes(notes: Notes, config: Prepare) -> str | None:
    """Fewer notes than ``config.min_notes``."""
    return f"fewer than {config.min_notes} notes" if len(notes) < config.min_notes else None


def too_short(notes: Notes, config: Prepare) -> str | None:
    """Sounds for less than ``config.min_seconds``, from the first onset on."""
    short = _seconds(notes) < config.min_seconds
    return f"shorter than {config.min_seconds:g} s" if short else None


def too_long(notes: Notes, config: Prepare) -> str | None:
    """Sounds for more than ``config.max_seconds``, from the first onset on."""
    long = _seconds(notes) > config.max_seconds
    return f"longer than {config.max_seconds:g} s" if long else None


def too_few_pitches(notes: Notes, config: Prepare) -> str | None:
    """Fewer different pitches than ``config.min_pitches``; each drum counts as one."""
    count = np.count_nonzero(np.bincount(notes.pitch + 128 * notes.is_drum.astype(np.int16)))
    return f"fewer than {config.min_pitches} pitches" if count < config.min_pitches else None


def too_dense(notes: Notes, config: Prepare) -> str | None:
    """More notes a second, on average, than ``config.max_density``: pictures drawn in notes."""
    dense = len(notes) > config.max_density * max(_seconds(notes), 1.0)
    return f"more than {config.max_density:g} notes a second" if dense else None


def stuck_notes(notes: Notes, config: Prepare) -> str | None:
    """A pitched note lasts longer than ``config.max_note_seconds``: its end got lost."""
    onset, pitched = notes.onset.astype(np.int64), ~notes.is_drum
    if not pitched.any():
        return None
    lasts = notes.seconds((onset + notes.duration)[pitched]) - notes.seconds(onset[pitched])
    stuck = float(lasts.max()) > config.max_note_seconds
    return f"a note longer than {config.max_note_seconds:g} s" if stuck else None


def no_drums(notes: Notes, config: Prepare) -> str | None:
    """No drums though ``config.need_drums`` wants some."""
    return "no drums" if config.need_drums and not notes.is_drum.any() else None


def no_grid(fit: Fit, config: Prepare) -> str | None:
    """No even subdivision of the beat was found that its notes lie on, see `Fit.error`."""
    return Reason.OFF_GRID if fit.error > config.max_onset_error else None


def without_empty_tracks(notes: Notes, config: Prepare) -> tuple[Notes, int]:
    """The piece without tracks of fewer notes than ``config.min_track_notes``, and how many."""
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


RULES = (
    too_few_notes,
    too_short,
    too_long,
    too_few_pitches,
    too_dense,
    stuck_notes,
    no_drums,
)
"""The rules for a piece as read from its file, in the order in which they are asked."""


def reject(notes: Notes, config: Prepare) -> str | None:
    """The first rule's reason to leave out a piece as read from its file, or None."""
    if not len(notes):
        return Reason.EMPTY
    return next((reason for rule in RULES if (reason := rule(notes, config))), None)


def _seconds(notes: Notes) -> float:
    """Time from the first onset to the end."""
    if not len(notes):
        return 0.0
    first, last = notes.seconds([int(notes.onset[0]), notes.end]).tolist()  # type: ignore[arg-type]
    return last - first
