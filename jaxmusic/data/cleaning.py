"""Cleaning: the rules by which a piece is left out. Each gives a reason, or None to keep it."""

from __future__ import annotations

from jaxmusic.beats import Fit
from jaxmusic.config import Prepare
from jaxmusic.notes import Notes


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


def no_grid(fit: Fit, config: Prepare) -> str | None:
    """No even subdivision of the beat was found that its notes lie on, see `Fit.error`."""
    return "no beat grid fits its notes" if fit.error > config.max_onset_error else None


def reject(notes: Notes, config: Prepare) -> str | None:
    """The first rule's reason to leave out a piece as read from its file, or None."""
    if not len(notes):
        return "holds no notes"
    return too_few_notes(notes, config) or too_short(notes, config) or too_long(notes, config)


def _seconds(notes: Notes) -> float:
    """Time from the first onset to the end."""
    if not len(notes):
        return 0.0
    first, last = notes.seconds([int(notes.onset[0]), notes.end]).tolist()  # type: ignore[arg-type]
    return last - first
