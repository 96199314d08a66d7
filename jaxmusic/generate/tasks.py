"""Tasks as people ask for them: what a piece is given for, read and checked before any sampling."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxmusic import config
from jaxmusic.codecs.base import Codec
from jaxmusic.codecs.layout import TASKS
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.codecs.tasks import Given
from jaxmusic.core.errors import UserError
from jaxmusic.generate import controls, filling, merging
from jaxmusic.generate.composer import Composer
from jaxmusic.generate.composition import Composition
from jaxmusic.generate.continuing import ContinuingPlanner
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.instruments import Band
from jaxmusic.generate.merging import Original
from jaxmusic.music.controls import of
from jaxmusic.music.notes import Notes
from jaxmusic.music.piece import DRUM_SLOT, Piece

ALWAYS = ("guidance", "strict", "seed")
TAKES = {
    "continue": (
        *("style", "duration", "key", "density", "instruments", "chords", "form", "energy"),
        *ALWAYS,
    ),
    "infill": ("style", "key", "density", *ALWAYS),
    "accompany": ("style", "key", "density", "instruments", "chords", *ALWAYS),
    "harmonise": ("style", "key", "density", "instruments", *ALWAYS),
    "vary": ("style", "key", "density", *ALWAYS),
}
"""Controls that each task takes; all else is as it is in the given piece."""
HARMONY = "piano"
"""What plays the chords of a melody if nothing else is asked for."""
USUAL = (0, 33, 48, 25, 16, 61, 65, 73)
"""Programs taken for a name that stands for several of them, where they are among these: a grand
piano, a fingered bass, a string ensemble and so on."""
NAMES = {"key": "keys", "roles": "roles of instruments", "sections": "the sections of a form"}
_FLAGS = {"styles": "style", "sections": "form", "roles": "the role of the instrument"}


def check_trained(wishes: Wishes, known: Sequence[str]) -> None:
    """Raises UserError where a control is asked for that a model was not trained with."""
    for name in sorted(wishes.learned - set(known)):
        raise UserError(
            f"this model was not trained with {NAMES.get(name, name)}: leave "
            f"{_FLAGS.get(name, name)} out, or train one on pieces that have such labels"
        )


@dataclasses.dataclass(frozen=True)
class Knowledge:
    """What a model knows.

    Attributes:
      codec: its codec.
      styles: names of the styles that it was trained on.
      controls: optional controls that it was trained with, see `jaxmusic.music.controls`.
      tasks: the chances of the tasks that it was trained for.
      normalised: whether it knows C major and A minor alone.
      left_out: the chance with which controls were left out while it was trained.
    """

    codec: Codec
    styles: tuple[str, ...]
    controls: tuple[str, ...]
    tasks: config.Tasks
    normalised: bool
    left_out: float

    def read(self, asked: config.Controls) -> Wishes:
        """Reads controls for a piece that is made of nothing else.

        Raises:
          UserError: they cannot be, or the model does not know them.
        """
        return self._read(asked, self.normalised)

    def read_for(self, task: str, asked: config.Controls) -> Wishes:
        """Reads controls for a task; key and chords are those of the given piece, not moved.

        Raises:
          UserError: they cannot be, or the model knows neither them nor the task.
        """
        if self.codec.UNIT != "bars":
            raise UserError(
                f"the {self.codec.config.kind} codec has no bars to {task}: take a model of the "
                "metrical or the fused codec"
            )
        if task != "continue" and not getattr(self.tasks, task):
            raise UserError(
                f"this model was not trained to {task}: train one with --data.tasks.{task} 0.2, say"
            )
        default = config.Controls()
        for field in dataclasses.fields(asked):
            name = field.name
            if name not in TAKES[task] and getattr(asked, name) != getattr(default, name):
                raise UserError(
                    f"leave {name} out: to {task} takes "
                    f"{'it from' if name != 'duration' else 'the length of'} the given piece"
                )
        if asked.form.strip() and asked.duration != default.duration:
            raise UserError(
                "give a form or a duration, not both: the form says how many bars follow the prompt"
            )
        return self._read(asked, False)

    def _read(self, asked: config.Controls, normalised: bool) -> Wishes:
        wishes = controls.read(asked, self.codec, normalised, self.styles)
        check_trained(wishes, self.controls)
        if asked.guidance != 1 and not self.left_out:
            raise UserError(
                "this model always saw its controls and cannot be guided: leave guidance out, or "
                "train one with --data.drop-controls 0.15, say"
            )
        return wishes


def perform(
    composer: Composer,
    knows: Knowledge,
    task: str,
    notes: Notes,
    bars: str | int,
    asked: config.Controls,
    count: int = 1,
    sampling: config.Sampling = config.Sampling(),  # noqa: B008
    progress: Callable[[int, int], None] | None = None,
) -> list[Composition]:
    """Does a task with a given piece.

    Args:
      composer: samples.
      knows: what the model knows.
      task: one of `codecs.layout.TASKS`.
      notes: the given piece, in the ticks of its file.
      bars: of continue, the number of bars that are the prompt, 0 for all; of infill, the bars to
        be written; of vary, those to be kept; else empty for all.
      asked: controls.
      count: pieces to make.
      sampling: how tokens are drawn.
      progress: called with (bars finished, bars in all).

    Returns:
      Pieces in which what was given stands untouched.

    Raises:
      UserError: what is asked for cannot be done, which is found out before anything is sampled.
    """
    if task not in TASKS:
        raise UserError(f"there is no task {task!r}: choose from {', '.join(TASKS)}")
    if count < 1:
        raise UserError(f"the count must be at least 1, not {count}")
    wishes = knows.read_for(task, asked)
    if task == "harmonise" and wishes.band.slots is None:
        wishes = dataclasses.replace(wishes, band=controls.instruments.read(HARMONY))
    assert isinstance(knows.codec, MetricalCodec)  # or `read_for` would have refused
    original = merging.read(notes, knows.codec, knows.normalised)
    wishes = _moved(wishes, original.semitones)
    original = _with_band(task, original, wishes.band)
    drop = _dropped(task, original, wishes, knows)
    original = dataclasses.replace(original, piece=_headed(task, original.piece, wishes, knows))
    if task == "continue":
        planner = ContinuingPlanner(
            composer.grammar, composer.context, wishes, original, int(bars or 0), drop
        )
        found = composer.compose(planner, asked.seed, count, sampling, progress)
        return [
            dataclasses.replace(c, written=merging.added(c.notes, original, planner.kept))
            for c in found
        ]
    given = _given(task, original, str(bars))
    joining = tuple(np.flatnonzero(_new_slots(original)).tolist())
    made = []
    for number in range(count):

        def report(finished: int, total: int, before: int = number) -> None:
            if progress:
                progress(before * total + finished, count * total)

        seed = int(np.random.SeedSequence((asked.seed, number)).generate_state(1)[0])
        made.append(
            filling.fill(
                *(composer, original, given, drop, wishes, joining, seed, sampling, report)
            )
        )
    return made


def _moved(wishes: Wishes, semitones: int) -> Wishes:
    """Wishes for a piece that was moved by semitones."""
    return dataclasses.replace(wishes, wanted=controls.transposed(wishes.wanted, semitones))


def _new_slots(original: Original) -> np.ndarray:
    """Bool [16]: slots that no track of the piece has."""
    new = original.piece.programs >= 0
    new[original.slot[np.unique(original.notes.track)]] = False
    return new


def _with_band(task: str, original: Original, band: Band) -> Original:
    """The piece with the instruments that are to be written."""
    if task not in ("continue", "accompany", "harmonise"):
        return original
    there = original.piece.programs
    if task != "continue":
        if band.slots is None or not (band.slots or band.drums):
            raise UserError(
                'say which instruments are to play along, as in --instruments "bass, drums"'
            )
        if band.drums and there[DRUM_SLOT] >= 0:
            raise UserError("leave the drums out: the piece has drums already, and they are kept")
        if task == "harmonise" and not band.slots:
            raise UserError("ask for an instrument that plays chords: drums alone have none")
        if task == "harmonise" and not original.piece.pitched.any():
            raise UserError("give a piece with a melody: nothing but drums plays in this one")
    joining, left = [], [int(p) for p in there[:DRUM_SLOT] if p >= 0]
    for programs in band.slots or ():
        mine = [p for p in left if p in programs] if task == "continue" else []
        if mine:
            left.remove(mine[0])
            continue
        joining.append(next((p for p in USUAL if p in programs), min(programs)))
    return original.with_instruments(tuple(joining), bool(band.drums))


def _dropped(task: str, original: Original, wishes: Wishes, knows: Knowledge) -> frozenset[str]:
    """Names of controls that are left out of the stream."""
    drop = set(knows.codec.CONTROLS) - set(knows.controls)
    if task != "harmonise" and not original.harmonised and not wishes.chords:
        drop.add("chords")
    return frozenset(drop)


def _headed(task: str, piece: Piece, wishes: Wishes, knows: Knowledge) -> Piece:
    """The piece with the header that is asked for, or else with its own."""
    changed: dict[str, Any] = {}
    if wishes.key >= 0:
        changed["key"] = np.full(piece.bars, wishes.key, np.int16)
    if wishes.density >= 0 or task in ("accompany", "harmonise"):
        # That of all instruments together is not known.
        changed["density"] = np.array(wishes.density, np.int16)
    if wishes.chords and task != "continue":
        for kind in ("chord", "bass"):
            values = np.maximum(wishes.wanted[kind], of(kind).default)
            changed[kind] = np.resize(values.astype(np.int16), 2 * piece.bars)
    styles = wishes.styles or tuple(s for s in piece.styles if s in knows.styles)
    return dataclasses.replace(piece.with_controls(**changed), styles=styles)


def _given(task: str, original: Original, bars: str) -> Given:
    """What is given of the piece."""
    piece = original.piece
    slots = np.zeros(16, bool)
    marked = np.ones(piece.bars, bool)
    if task == "infill":
        marked = read_bars(bars, piece.bars)
    elif task == "vary":
        marked = ~read_bars(bars, piece.bars)
    else:
        slots[original.slot[np.unique(original.notes.track)]] = True
    return given_of(task, piece, marked, slots)


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


def given_of(task: str, piece: Piece, marked: np.ndarray, slots: np.ndarray) -> Given:
    """What a task gives of a piece.

    Args:
      task: infill, accompany, harmonise or vary.
      piece: the piece, with the instruments that are to be written.
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
