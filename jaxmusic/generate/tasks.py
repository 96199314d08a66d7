"""Tasks as people ask for them: what a piece is given for, read and checked before any sampling."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from jaxmusic import config
from jaxmusic.codecs.base import Codec
from jaxmusic.codecs.layout import TASKS
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.codecs.tasks import Given
from jaxmusic.core.errors import UserError
from jaxmusic.formats.instruments import Heard
from jaxmusic.generate import controls, infilling, instruments, splice
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.composition import Composition, Progress
from jaxmusic.generate.continuation import ContinuingPlanner
from jaxmusic.generate.controls import Request
from jaxmusic.generate.instruments import Band
from jaxmusic.generate.splice import SourcePiece
from jaxmusic.music.controls import of
from jaxmusic.music.notes import Notes
from jaxmusic.music.piece import DRUM_SLOT, Piece

ALWAYS = ("style", "key", "density", "guidance", "strict", "seed")
BAND = ("instruments", "strict_instruments")
TAKES = {
    "continue": (*ALWAYS, "duration", *BAND, "chords", "form", "energy"),
    "infill": ALWAYS,
    "accompany": (*ALWAYS, *BAND, "chords"),
    "harmonise": (*ALWAYS, *BAND),
    "vary": ALWAYS,
}
"""Controls that each task takes; all else is as it is in the given piece."""
HARMONY = "piano"
"""What plays the chords of a melody if nothing else is asked for."""
NAMES = {"key": "keys", "roles": "roles of instruments", "sections": "the sections of a form"}
_FLAGS = {"styles": "style", "sections": "form", "roles": "the role of the instrument"}


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a model was trained for.

    Attributes:
      codec: its codec.
      styles: names of the styles that it was trained on.
      controls: optional controls that it was trained with, see `jaxmusic.music.controls`.
      data: what it was trained on: with which tasks, whether in C major and A minor alone, and how
        often without controls.
      heard: how often it heard each instrument in training.
    """

    codec: Codec
    styles: tuple[str, ...]
    controls: tuple[str, ...]
    data: config.Data
    heard: Heard = Heard()  # noqa: RUF009

    def read(self, asked: config.Controls, task: str = "") -> Request:
        """Reads controls for a piece that is made of nothing else, or for a task.

        For a task, key and chords are those of the given piece, not moved.

        Raises:
          UserError: they are impossible, or the model supports neither them nor the task.
        """
        if task:
            self._check(asked, task)
        request = controls.read(asked, self.codec, self.data.normalise and not task, self.styles)
        for name in sorted(request.learned - set(self.controls)):
            raise UserError(
                f"this model was not trained with {NAMES.get(name, name)}: leave "
                f"{_FLAGS.get(name, name)} out, or train one on pieces that have such labels"
            )
        if asked.guidance != 1 and not self.data.drop_controls:
            raise UserError(
                "this model always saw its controls and cannot be guided: leave guidance out, or "
                "train one with --data.drop-controls 0.15, say"
            )
        band = request.band
        if not task:
            band = instruments.with_usual(band, self.heard)
        instruments.check(band, self.heard, asked.strict_instruments)
        # Slots have another order now, and roles are those of slots.
        roles = {"role": band.roles} if "role" in request.wanted else {}
        return dataclasses.replace(request, band=band, wanted={**request.wanted, **roles})

    def _check(self, asked: config.Controls, task: str) -> None:
        """Raises UserError for a task that the model lacks, or a control that it does not take."""
        if self.codec.UNIT != "bars":
            raise UserError(
                f"the {self.codec.config.kind} codec has no bars to {task}: take a model of the "
                "metrical or the fused codec"
            )
        if task != "continue" and not getattr(self.data.tasks, task):
            raise UserError(
                f"this model was not trained to {task}: train one with --data.tasks.{task} 0.2, say"
            )
        for name in controls.changed(asked, TAKES[task]):
            source = "the length of" if name == "duration" else "it from"
            raise UserError(f"leave {name} out: to {task} takes {source} the given piece")
        if asked.form.strip() and "duration" in controls.changed(asked, ()):
            raise UserError(
                "give a form or a duration, not both: the form says how many bars follow the prompt"
            )


def perform(
    composer: Composer,
    capabilities: Capabilities,
    task: str,
    notes: Notes,
    bars: str | int,
    asked: config.Controls,
    count: int = 1,
    sampling: config.Sampling = config.Sampling(),  # noqa: B008
    progress: Progress | None = None,
) -> list[Composition]:
    """Does a task with a given piece.

    Args:
      composer: samples.
      capabilities: those of the model.
      task: one of `codecs.layout.TASKS`.
      notes: the given piece, in the ticks of its file.
      bars: of continue, the number of bars that are the prompt, 0 for all; of infill, the bars to
        be written; of vary, those to be kept; else empty for all.
      asked: controls.
      count, sampling, progress: as in `Composer.compose`.

    Returns:
      Pieces in which what was given stands untouched.

    Raises:
      UserError: what is asked for cannot be done, which is found out before anything is sampled.
    """
    if task not in TASKS:
        raise UserError(f"there is no task {task!r}: choose from {', '.join(TASKS)}")
    if count < 1:
        raise UserError(f"the count must be at least 1, not {count}")
    request = capabilities.read(asked, task)
    if task == "harmonise" and request.band.slots is None:
        request = dataclasses.replace(request, band=instruments.read(HARMONY))
    assert isinstance(capabilities.codec, MetricalCodec)  # or `read` would have refused
    source = splice.read(notes, capabilities.codec, capabilities.data.normalise)
    moved = controls.transposed(request.wanted, source.semitones)
    request = dataclasses.replace(request, wanted=moved)
    source = _with_band(task, source, request.band, capabilities.heard)
    drop = _dropped(task, source, request, capabilities)
    source = dataclasses.replace(source, piece=_headed(task, source.piece, request, capabilities))
    if task == "continue":
        planner = ContinuingPlanner(
            composer.grammar, composer.context, request, source, int(bars or 0), drop
        )
        found = composer.compose(planner, asked.seed or 0, count, sampling, progress)
        return [
            dataclasses.replace(c, written=splice.added(c.notes, source, planner.kept))
            for c in found
        ]
    played = np.isin(np.arange(16), source.slot[np.unique(source.notes.track)])
    joining = tuple(np.flatnonzero((source.piece.programs >= 0) & ~played).tolist())
    if task in ("accompany", "harmonise"):
        given = given_of(task, np.ones(source.piece.bars, bool), played)
    else:
        chosen = read_bars(str(bars), source.piece.bars)
        given = given_of(task, chosen if task == "infill" else ~chosen, np.zeros(16, bool))
    bars_each = int(given.marked.sum())
    return [
        infilling.fill(
            composer,
            source,
            given,
            drop,
            request,
            joining,
            seed=int(np.random.SeedSequence((asked.seed or 0, number)).generate_state(1)[0]),
            sampling=sampling,
            progress=infilling.after(progress, number * bars_each, count * bars_each),
        )
        for number in range(count)
    ]


def _with_band(task: str, source: SourcePiece, band: Band, heard: Heard) -> SourcePiece:
    """Returns the piece with the instruments that are to be written."""
    if task not in ("continue", "accompany", "harmonise"):
        return source
    there = source.piece.programs
    if task != "continue":
        if band.slots is None or not (band.slots or band.drums):
            raise UserError(
                'say which instruments are to play along, as in --instruments "bass, drums"'
            )
        if band.drums and there[DRUM_SLOT] >= 0:
            raise UserError("leave the drums out: the piece has drums already, and they are kept")
        if task == "harmonise" and not band.slots:
            raise UserError("ask for an instrument that plays chords: drums alone have none")
        if task == "harmonise" and not source.piece.pitched.any():
            raise UserError("give a piece with a melody: nothing but drums plays in this one")
    joining, left = [], [int(p) for p in there[:DRUM_SLOT] if p >= 0]
    for programs in band.slots or ():
        mine = [p for p in left if p in programs] if task == "continue" else []
        if mine:
            left.remove(mine[0])
            continue
        joining.append(instruments.usual(programs, heard))
    return source.with_instruments(tuple(joining), bool(band.drums))


def _dropped(
    task: str, source: SourcePiece, request: Request, capabilities: Capabilities
) -> frozenset[str]:
    """Names of controls that are left out of the stream."""
    drop = set(capabilities.codec.CONTROLS) - set(capabilities.controls)
    if task != "harmonise" and not source.harmonised and not request.chords:
        drop.add("chords")
    return frozenset(drop)


def _headed(task: str, piece: Piece, request: Request, capabilities: Capabilities) -> Piece:
    """Returns the piece with the header that is asked for, or else with its own."""
    changed: dict[str, Any] = {}
    if request.key >= 0:
        changed["key"] = np.full(piece.bars, request.key, np.int16)
    if request.density >= 0 or task in ("accompany", "harmonise"):
        # That of all instruments together is not known.
        changed["density"] = np.array(request.density, np.int16)
    if request.chords and task != "continue":
        for kind in ("chord", "bass"):
            values = np.maximum(request.wanted[kind], of(kind).default)
            changed[kind] = np.resize(values.astype(np.int16), 2 * piece.bars)
    styles = request.styles or tuple(s for s in piece.styles if s in capabilities.styles)
    return dataclasses.replace(piece.with_controls(**changed), styles=styles)


def read_bars(text: str, bars: int) -> np.ndarray:
    """Bool [bars]: which bars of a piece are meant by ``9-16``, ``7`` or ``1-4,9-12``.

    Raises:
      UserError: that is no list of bars, or the piece does not have them.
    """
    chosen = np.zeros(bars, bool)
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise UserError(f"{text!r} does not name bars: write 9-16, 7 or 1-4,9-12")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= bars:
            raise UserError(
                f"bars {part.strip()} are not in the piece: it has bars 1 to {bars}, and the "
                "first one named must not come after the last"
            )
        chosen[first - 1 : last] = True
    return chosen


def given_of(task: str, marked: np.ndarray, slots: np.ndarray) -> Given:
    """What a task gives of a piece.

    Args:
      task: infill, accompany, harmonise or vary.
      marked: bool [B], bars of which something is to be written.
      slots: bool [16], slots of which nothing is to be written there.

    Raises:
      UserError: nothing or all of the piece would be written.
    """
    if not marked.any():
        raise UserError("Keep fewer bars: all of the piece is kept, and nothing is left to write.")
    if marked.all() and not slots.any():
        raise UserError("Keep some bars: there is nothing to go by where all of them are written.")
    return Given(TASKS.index(task), marked, slots, chords=task in ("accompany", "vary"))
