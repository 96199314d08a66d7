"""The library's face: a trained model that composes and scores music."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from tqdm import tqdm

from jaxmusic import beats, config
from jaxmusic.codecs.base import Codec
from jaxmusic.data import packing
from jaxmusic.data.facts import main_key
from jaxmusic.errors import UserError
from jaxmusic.events import Events
from jaxmusic.formats import sequence as sequences
from jaxmusic.generate.composer import Composer, Composition
from jaxmusic.generate.controls import Wishes
from jaxmusic.generate.length import check_duration
from jaxmusic.models import decode, transformer
from jaxmusic.notes import semitones_to_c
from jaxmusic.train import weights
from jaxmusic.train.loss import token_losses

if TYPE_CHECKING:
    from note_seq import NoteSequence


@dataclasses.dataclass(frozen=True)
class Score:
    """How surprising a piece is to a model.

    Attributes:
      bits: negative log-likelihood of all its tokens, in bits.
      notes: notes after quantising.
      seconds: length of the piece.
      semitones: how far it was moved, to C major or A minor, for a model that knows these alone.
      bits_per_note, bits_per_second: bits divided by these.
    """

    bits: float
    notes: int
    seconds: float
    semitones: int = 0

    @property
    def bits_per_note(self) -> float:
        """Bits for each note."""
        return self.bits / max(self.notes, 1)

    @property
    def bits_per_second(self) -> float:
        """Bits for each second of music."""
        return self.bits / max(self.seconds, 1e-9)


class MusicModel:
    """A model with its codec, loaded by `load`.

    Attributes:
      experiment: how it was trained.
      codec: how it writes music as tokens.
      styles: names of the styles it was trained on.
      step: training step of the checkpoint.
    """

    def __init__(
        self,
        experiment: config.Experiment,
        codec: Codec,
        params: Any,
        styles: tuple[str, ...] = (),
        step: int = 0,
    ):
        """Takes parameters as `models.transformer.make` returns them."""
        self.experiment, self.codec, self.styles, self.step = experiment, codec, styles, step
        self.params = params
        shape = experiment.model
        # Scored rows have any length and any platform, which chunked attention alone can take.
        anywhere = dataclasses.replace(shape, attention="chunked")
        self._graph, _ = jax.eval_shape(lambda: transformer.make(anywhere, codec.vocab_size, 0))
        self._composer = Composer(
            shape, decode.prepare(shape, params), codec, experiment.data.context
        )
        self._likelihood = jax.jit(self._row_likelihood)

    def generate(
        self,
        style: str | None = None,
        duration: float = 180.0,
        seed: int = 0,
        sampling: config.Sampling = config.Sampling(),  # noqa: B008
    ) -> NoteSequence:
        """Composes a piece of exactly `duration` seconds.

        Args:
          style: one of `styles`, or None to leave it to the model.
          duration: seconds.
          seed: the same seed gives the same piece on the same device.
          sampling: temperature, top_k, top_p and min_p.

        Raises:
          UserError: where the style or the duration is not possible.
        """
        return sequences.to_sequence(self.compose(style, duration, seed, 1, sampling)[0].notes)

    def compose(
        self,
        style: str | None = None,
        duration: float = 180.0,
        seed: int = 0,
        count: int = 1,
        sampling: config.Sampling = config.Sampling(),  # noqa: B008
        progress: bool = False,
    ) -> list[Composition]:
        """Composes several pieces side by side, as notes; see `generate`.

        Args:
          style: one of `styles`, or None.
          duration: seconds.
          seed: piece i is the same whatever the count, up to rounding.
          count: number of pieces.
          sampling: how tokens are drawn.
          progress: show a progress bar in bars of music on stderr.
        """
        if style and style not in self.styles:
            known = ", ".join(self.styles) or "none: leave the style out"
            raise UserError(f"this model was not trained on style {style!r}; its styles: {known}")
        styles = (style,) if style else ()
        planner = self._composer.planner(Wishes(check_duration(duration), styles))
        with tqdm(desc="composing", unit=f" {planner.UNIT}", disable=not progress) as shown:

            def show(finished: int, total: int) -> None:
                shown.total = total
                shown.update(finished - shown.n)

            return self._composer.compose(planner, seed, count, sampling, show)

    def score(self, sequence: NoteSequence) -> Score:
        """How surprising a piece is: its negative log-likelihood under the model.

        The piece is put on its beat grid and quantised first. What is longer than the model's
        context is read in parts that open with header and running state. A model that was trained
        with `data.normalise` reads it in C major or A minor, where its key is known.
        """
        notes, _ = beats.align(sequences.from_sequence(sequence))
        piece, _ = self.codec.quantise(notes)
        key = main_key(notes)
        semitones = semitones_to_c(key) if self.experiment.data.normalise and key >= 0 else 0
        piece = piece.transpose(semitones)
        known = tuple(s for s in piece.styles if s in self.styles)
        piece = dataclasses.replace(piece, styles=known)
        nats = 0.0
        for start, stop in _cuts(self.codec.sizes(piece), self.experiment.data.context):
            tokens = self.codec.encode(piece.part(start, stop))[: self.experiment.data.context + 1]
            width = -(-(len(tokens) - 1) // 256) * 256
            events = self.codec.events(tokens[:-1])
            padding = (0, width - len(tokens) + 1)
            rows = Events(*(np.pad(e, padding)[None] for e in events))
            target = np.pad(tokens[1:], padding)[None]
            weight = np.pad(np.ones(len(tokens) - 1, np.int32), padding)[None]
            nats += float(self._likelihood(self.params, rows, target, weight))
        seconds = float(notes.seconds(notes.end))
        return Score(nats / math.log(2), len(piece), seconds, semitones)

    def _row_likelihood(self, params: Any, events: Events, target: Any, weight: Any) -> Any:
        logits = transformer.apply(self._graph, params, events, weight)
        return (token_losses(logits, target) * weight).sum()


def load(path: str | os.PathLike[str], step: int | None = None) -> MusicModel:
    """Loads a trained model.

    Args:
      path: folder of the run, or a file that `jaxmusic export` wrote (``.safetensors``), on local
        disk or in a bucket.
      step: a training step that has a checkpoint; None for the one with the best validation.

    Raises:
      UserError: there is no such run or file, or the run has no finished checkpoint.
    """
    saved = weights.load(path, step)
    return MusicModel(saved.experiment, saved.codec, saved.params, saved.styles, saved.step)


def _cuts(sizes: np.ndarray, context: int) -> list[tuple[int, int]]:
    """Bars of parts that each fit into the context, as (start, stop) pairs."""
    rows = packing.plan([sizes], context)
    return sorted(zip(rows.start.tolist(), rows.stop.tolist()))
