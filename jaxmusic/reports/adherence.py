"""Whether a model does what it is asked: pieces with the wishes of held-out songs, and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic.core.errors import UserError
from jaxmusic.evaluate import wishes
from jaxmusic.evaluate.wishes import FIGURES, LEARNED, Wish
from jaxmusic.generate.length import parse_bars, parse_duration
from jaxmusic.model import MusicModel
from jaxmusic.music.notes import Notes
from jaxmusic.reports.runs import Named
from jaxmusic.reports.sets import drawn

INFERRED = ("key", "chords")
"""Controls whose figures are inferred from the notes; the others are read off the piece."""


class Asked(NamedTuple):
    """A piece with what it was asked for.

    Attributes:
      name: of the song whose wishes they were.
      wishes: by control.
      notes: the piece.
    """

    name: str
    wishes: dict[str, Wish]
    notes: Notes


def compose(
    model: MusicModel,
    songs: Sequence[Named],
    options: config.Evaluation,
    sampling: config.Sampling,
    progress: bool,
) -> tuple[list[Asked], list[tuple[str, str]]]:
    """Composes pieces with what songs would ask for: all of it at once, as headers say it.

    Args:
      model: the model; it is asked for what it was trained with.
      songs: held-out songs, of which `options.wishes` are drawn.
      options: how many pieces, how long, and the seed.
      sampling: how tokens are drawn.
      progress: show a progress bar.

    Returns:
      The pieces, and songs whose wishes cannot be asked for, each with the reason.
    """
    chosen = drawn([song for song in songs if len(song[1])], options.wishes, options.seed)
    asked, refused = [], []
    for number, (name, notes) in enumerate(
        tqdm(chosen, "composing what was asked for", unit=" pieces", disable=not progress)
    ):
        wanted = {c: wish for c, wish in wishes.of_song(notes).items() if knows(model, c)}
        fields: dict[str, Any] = {"duration": options.wish_duration}
        for wish in wanted.values():
            fields |= wish.fields
        known = [s for s in notes.labels.styles if s in model.styles]
        if known and "styles" in model.controls:
            fields["style"] = known[0]
        controls = config.Controls(**fields, seed=1000 * options.seed + 500 + number)
        try:
            (piece,) = model.compose(controls=controls, sampling=sampling)
        except UserError as error:
            refused.append((name, str(error)))
            continue
        asked.append(Asked(name, wanted | timed(options.wish_duration), piece.notes))
    return asked, refused


def knows(model: MusicModel, control: str) -> bool:
    """Whether a model can be asked for a control."""
    if model.codec.UNIT != "bars":
        return False
    return control not in LEARNED or control in model.controls


def timed(duration: str | float) -> dict[str, Wish]:
    """The wish for a length in seconds; none for one in bars."""
    if isinstance(duration, str):
        if parse_bars(duration):
            return {}
        duration = parse_duration(duration)
    return {"duration": wishes.duration(duration)}


def figures(
    asked: Sequence[Asked], free: Sequence[Asked], real: Sequence[Notes]
) -> dict[str, dict[str, Any]]:
    """Figures of each control that was asked for.

    Args:
      asked: pieces with wishes.
      free: pieces of which nothing was asked but their length.
      real: held-out songs, by whose labels it is seen how well keys and chords are found at all.

    Returns:
      For each control the number of pieces, whether the figures are exact, and for each figure its
      value for pieces that were asked, for those that were not (each compared with every wish) and
      for real songs of which it is known.
    """
    out: dict[str, dict[str, Any]] = {}
    for control, kinds in FIGURES.items():
        pieces = [*asked, *free] if control == "duration" else asked
        pairs = [(p.notes, p.wishes[control].truth) for p in pieces if control in p.wishes]
        if not pairs:
            continue
        others = [] if control == "duration" else [(p.notes, t) for p in free for _, t in pairs]
        known = wishes.annotated(control, real) if control in INFERRED else []
        found = wishes.finder(control, known) if known else [None] * len(kinds)
        values = [
            {
                "name": figure.name,
                "asked": figure.over(pairs)[0],
                "not_asked": figure.over(others)[0],
            }
            for figure in kinds
        ]
        out[control] = {
            "pieces": len(pairs),
            "exact": control not in INFERRED,
            "figures": [value | {"finder": one} for value, one in zip(values, found)],
        }
    return out
