"""What a model was trained for, and which requests it therefore takes."""

from __future__ import annotations

import dataclasses

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.instruments import Heard
from jaxmusic._src.generate import controls, instruments
from jaxmusic._src.generate.controls import Request

NAMES = {"key": "keys", "roles": "roles of instruments", "sections": "the sections of a form"}
_FLAGS = {"styles": "style", "sections": "form", "roles": "the role of the instrument"}


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a model was trained for.

    Attributes:
      codec: its codec.
      styles: names of the styles that it was trained on.
      controls: optional controls that it was trained with, see `music.controls`.
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
        for name in controls.changed(asked, config.task_controls(task)):
            source = "the length of" if name == "duration" else "it from"
            raise UserError(f"leave {name} out: to {task} takes {source} the given piece")
        if asked.form.strip() and "duration" in controls.changed(asked, ()):
            raise UserError(
                "give a form or a duration, not both: the form says how many bars follow the prompt"
            )
