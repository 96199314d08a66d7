"""Adherence of a model to the controls of held-out songs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.evaluate import control as controls
from jaxmusic._src.evaluate.control import FIGURES, LEARNED, ControlRequest
from jaxmusic._src.generate.length import parse_bars, parse_duration
from jaxmusic._src.model import MusicModel
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.reports.runs import Named
from jaxmusic._src.reports.sets import drawn

INFERRED = ("key", "chords")
"""Controls whose figures are inferred from the notes; the others are read off the piece."""


class Asked(NamedTuple):
    """A piece and its requests.

    Attributes:
      name: of the song that the requests describe.
      requests: by control.
      notes: the piece.
    """

    name: str
    requests: dict[str, ControlRequest]
    notes: Notes


def compose(
    model: MusicModel,
    songs: Sequence[Named],
    options: config.Evaluation,
    sampling: config.Sampling,
    progress: bool,
) -> tuple[list[Asked], list[tuple[str, str]]]:
    """Composes a piece for each song, with all controls of the song at once.

    Args:
      model: the model; only controls that it was trained with are requested.
      songs: held-out songs, of which `options.requests` are drawn.
      options: how many pieces, how long, and the seed.
      sampling: how tokens are drawn.
      progress: show a progress bar.

    Returns:
      The pieces, and the songs whose controls cannot be requested, with reasons.
    """
    chosen = drawn([song for song in songs if len(song[1])], options.requests, options.seed)
    asked, refused = [], []
    known = {c for c in FIGURES if c not in LEARNED or c in model.controls}
    known = known if model.codec.UNIT == "bars" else set()
    for number, (name, notes) in enumerate(
        tqdm(chosen, "composing what was asked for", unit=" pieces", disable=not progress)
    ):
        wanted = {c: request for c, request in controls.of_song(notes).items() if c in known}
        fields: dict[str, Any] = {"duration": options.request_duration}
        for request in wanted.values():
            fields |= request.fields
        styles = [s for s in notes.labels.styles if s in model.styles]
        if styles and "styles" in model.controls:
            fields["style"] = styles[0]
        fields["seed"] = 1000 * options.seed + 500 + number
        try:
            (piece,) = model.compose(controls=config.Controls(**fields), sampling=sampling)
        except UserError as error:
            refused.append((name, str(error)))
            continue
        asked.append(Asked(name, wanted | timed(options.request_duration), piece.notes))
    return asked, refused


def timed(duration: str | float) -> dict[str, ControlRequest]:
    """Returns the request for a length in seconds, none for one in bars."""
    if isinstance(duration, str) and parse_bars(duration):
        return {}
    seconds = parse_duration(duration) if isinstance(duration, str) else duration
    return {"duration": controls.number("duration", seconds)}


def figures(
    asked: Sequence[Asked], free: Sequence[Asked], real: Sequence[Notes]
) -> dict[str, dict[str, Any]]:
    """Measures adherence to each requested control.

    Args:
      asked: pieces with requests.
      free: pieces with a requested length only.
      real: held-out songs, whose labels show how well keys and chords are inferred.

    Returns:
      For each control the number of pieces, whether the figures are exact, and for each figure its
      value for requested pieces, for those composed without controls (each compared with every
      request) and for real songs of which it is known.
    """
    out: dict[str, dict[str, Any]] = {}
    for control, kinds in FIGURES.items():
        pieces = [*asked, *free] if control == "duration" else asked
        pairs = [(p.notes, p.requests[control].truth) for p in pieces if control in p.requests]
        if not pairs:
            continue
        others = [] if control == "duration" else [(p.notes, t) for p in free for _, t in pairs]
        inferred = control in INFERRED
        found = controls.finder(control, real) if inferred else [None] * len(kinds)
        out[control] = {
            "pieces": len(pairs),
            "exact": not inferred,
            "figures": [
                {
                    "name": figure.name,
                    "asked": figure.over(pairs)[0],
                    "not_asked": figure.over(others)[0],
                    "finder": one,
                }
                for figure, one in zip(kinds, found)
            ],
        }
    return out
