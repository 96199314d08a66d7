"""The library's face: a trained model that composes and scores music."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from tqdm.auto import tqdm

from jaxmusic import config
from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.data.metadata import main_key
from jaxmusic._src.evaluate.scoring import Score, Scorer
from jaxmusic._src.formats import files
from jaxmusic._src.formats import sequence as sequences
from jaxmusic._src.formats.instruments import Heard
from jaxmusic._src.generate import keywords, tasks
from jaxmusic._src.generate.capabilities import Capabilities
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.composition import Composition, Progress
from jaxmusic._src.generate.streaming import Bar
from jaxmusic._src.models.params import Params
from jaxmusic._src.music import beats
from jaxmusic._src.music.notes import Notes, semitones_to_c
from jaxmusic._src.runs import weights

if TYPE_CHECKING:
    from note_seq import NoteSequence

    from jaxmusic._src.formats.files import Music


class MusicModel:
    """A model with its codec, loaded by `load`.

    Attributes:
      experiment: how it was trained.
      codec: how it writes music as tokens.
      styles: names of the styles it was trained on.
      controls: optional controls that it was trained with, see `music.controls`.
      step: training step of the checkpoint.
      heard: how often it heard each instrument in training.
    """

    def __init__(
        self,
        experiment: config.Experiment,
        codec: Codec,
        params: Params,
        styles: tuple[str, ...] = (),
        step: int = 0,
        controls: tuple[str, ...] | None = None,
        heard: Heard = Heard(),  # noqa: B008
    ):
        """Takes parameters by name; `controls` None stands for all of them."""
        self.experiment, self.codec, self.styles, self.step = experiment, codec, styles, step
        self.controls = codec.CONTROLS if controls is None else controls
        self.params, self.heard = params, heard
        shape, data = experiment.model, experiment.data
        self._composer = Composer(shape, params, codec, data.context)
        self._capabilities = Capabilities(codec, styles, self.controls, data, heard)

    def __repr__(self) -> str:
        """Says what it is in a few lines."""
        data, model = self.experiment.data, self.experiment.model
        tasks_ = [name for name, chance in vars(data.tasks).items() if chance]
        return (
            f"MusicModel: {model.KIND} of {sum(map(np.size, self.params.values())):,} parameters, "
            f"step {self.step}, context {data.context}\n"
            f"  codec     {self.codec.config.kind}, {self.codec.vocab_size:,} tokens\n"
            f"  styles    {', '.join(self.styles) or 'none'}\n"
            f"  controls  {', '.join(self.controls) or 'none'}\n"
            f"  tasks     {', '.join(['generate', 'continue', *tasks_])}"
        )

    @keywords.shown(config.Options)
    def generate(
        self,
        style: str | None = None,
        duration: float | str | None = None,
        seed: int | None = None,
        **options: Unpack[config.Options],
    ) -> NoteSequence:
        """Composes a piece.

        >>> model.generate(style="pop", duration="3:00", key="A minor", tempo=96, seed=1)

        Args:
          style: one of `styles` or a mix with weights, None to leave it to the model.
          duration: exact length: seconds, 3:00 or 90 bars; None for 3:00.
          seed: the same seed gives the same piece on the same device.
          **options: fields of `config.Controls` and `config.Sampling`, and `controls` and
            `sampling` themselves, over which the fields take precedence. Instruments, chords and
            form may be lists.

        Raises:
          UserError: a request is impossible or of the wrong type, or the model does not support it.
        """
        return sequences.to_sequence(self.compose(style, duration, seed, **options)[0].notes)

    @keywords.shown(config.Options)
    def compose(
        self,
        style: str | None = None,
        duration: float | str | None = None,
        seed: int | None = None,
        count: int = 1,
        progress: bool | Progress = False,
        rank: Callable[[Composition], float] | None = None,
        **options: Unpack[config.Options],
    ) -> list[Composition]:
        """Composes several pieces side by side, as notes; see `generate`.

        Args:
          style, duration, **options: as in `generate`.
          seed: piece i is the same whatever the count, up to rounding.
          count: number of pieces.
          progress: True shows a progress bar; a function is called with (bars finished, bars in
            all) and may raise `jaxmusic.Cancelled`, or anything else, to stop.
          rank: of `sampling.best_of` candidates for each piece the one is kept for which this is
            greatest; None keeps the one that the model finds likeliest.
        """
        asked, sampling = keywords.read(options, style=style, duration=duration, seed=seed)
        planner = self._composer.planner(self._capabilities.read(asked))
        with _progress(self.codec.UNIT, progress) as show:
            made = self._composer.compose(planner, asked.seed or 0, count, sampling, show, rank)
        return [dataclasses.replace(piece, seed=asked.seed) for piece in made]

    @keywords.shown(config.Options)
    def stream(
        self,
        style: str | None = None,
        duration: float | str | None = None,
        seed: int | None = None,
        **options: Unpack[config.Options],
    ) -> Iterator[Bar]:
        """Composes a piece and yields its bars while those to come are still being sampled.

        Arguments are those of `generate`; all bars together are the piece that it returns, see
        `generate.streaming.join`.
        """
        asked, sampling = keywords.read(options, style=style, duration=duration, seed=seed)
        planner = self._composer.planner(self._capabilities.read(asked))
        return self._composer.stream(planner, asked.seed or 0, sampling)

    @keywords.shown(config.ContinueOptions)
    def continue_piece(
        self, music: Music, bars: int = 0, **options: Unpack[config.ContinueOptions]
    ) -> NoteSequence:
        """Continues a piece.

        What is given comes back untouched, note for note, here and in all that follows.

        >>> model.continue_piece("song.mid", bars=8, duration="3:00", seed=1)

        Args:
          music: a piece, see `formats.files.notes_of`.
          bars: how many of its bars are the prompt; 0 for all.
          **options: as in `generate`; the duration is that of the whole, and chords and form are
            those of the new bars.

        Raises:
          UserError: a request is impossible or of the wrong type, or the model was not trained for
            it.
        """
        return self._do("continue", music, bars, options)

    @keywords.shown(config.EditOptions)
    def infill(
        self, music: Music, bars: str, **options: Unpack[config.EditOptions]
    ) -> NoteSequence:
        """Rewrites some bars of a piece so that they fit between the others.

        >>> model.infill("song.mid", "9-16", seed=1)

        `bars` are those of the file: 9-16, 7 or 1-4,9-12; or times: 0:10-0:16. The rest is as in
        `continue_piece`, but no control is taken that the piece decides. A `Remark` (a warning)
        says where the bars of the file are not those of its music.
        """
        return self._do("infill", music, bars, options)

    @keywords.shown(config.AccompanyOptions)
    def accompany(
        self,
        music: Music,
        instruments: str | Sequence[str],
        **options: Unpack[config.AccompanyOptions],
    ) -> NoteSequence:
        """Adds instruments to a piece.

        >>> model.accompany("melody.mid", ["bass", "drums"], chords="C G Am F", seed=1)

        `instruments` are names of General MIDI instruments, families or drums. The rest is as in
        `infill`.
        """
        return self._do("accompany", music, "", options | {"instruments": instruments})

    @keywords.shown(config.HarmoniseOptions)
    def harmonise(self, music: Music, **options: Unpack[config.HarmoniseOptions]) -> NoteSequence:
        """Finds chords for a melody, and writes parts that play them.

        >>> model.harmonise("melody.mid", instruments="piano, bass", seed=1)

        Arguments are as in `accompany`; the instruments are a piano by default.
        """
        return self._do("harmonise", music, "", options)

    @keywords.shown(config.EditOptions)
    def vary(self, music: Music, keep: str, **options: Unpack[config.EditOptions]) -> NoteSequence:
        """Rewrites all bars of a piece over the same chords, except some that are kept.

        >>> model.vary("song.mid", keep="1-4,9-12", seed=1)

        `keep` names bars as in `infill`, and the rest is as there.
        """
        return self._do("vary", music, keep, options)

    @keywords.shown(config.ContinueOptions)
    def perform(
        self,
        task: str,
        music: Music,
        bars: str | int = "",
        count: int = 1,
        progress: bool | Progress = False,
        **options: Unpack[config.ContinueOptions],
    ) -> list[Composition]:
        """Does a task with a piece, several times, as notes in the ticks of the piece.

        Args:
          task: continue, infill, accompany, harmonise or vary; see the methods of these names.
          music: a piece, see `formats.files.notes_of`.
          bars: of continue how many are the prompt, of infill which are written, of vary which are
            kept.
          count: number of pieces.
          progress: as in `compose`.
          **options: as in the method of the task.
        """
        asked, sampling = keywords.read(options)
        notes = files.notes_of(music)
        with _progress("bars", progress) as show:
            made = tasks.perform(
                self._composer,
                self._capabilities,
                task,
                notes=notes,
                bars=bars,
                asked=asked,
                count=count,
                sampling=sampling,
                progress=show,
            )
        return [dataclasses.replace(piece, seed=asked.seed) for piece in made]

    def _do(self, task: str, music: Music, bars: str | int, options: Any) -> NoteSequence:
        return sequences.to_sequence(self.perform(task, music, bars, **options)[0].notes)

    @functools.cached_property
    def scorer(self) -> Scorer:
        """Says how likely pieces are that `quantise` gave."""
        data = self.experiment.data
        return Scorer(self.experiment.model, self.params, self.codec, data.context)

    def quantise(self, notes: Notes) -> tuple[Any, int]:
        """Quantises aligned notes for this model; returns the transposition in semitones too.

        A model that was trained with `data.normalise` reads it in C major or A minor, where its
        key is known. Styles that it was not trained on are left out.
        """
        piece, _ = self.codec.quantise(notes)
        key = main_key(notes)
        semitones = semitones_to_c(key) if self.experiment.data.normalise and key >= 0 else 0
        piece = piece.transpose(semitones)
        known = tuple(style for style in piece.styles if style in self.styles)
        return dataclasses.replace(piece, styles=known), semitones

    def score(self, music: Music) -> Score:
        """Computes how surprising a piece is: its negative log-likelihood under the model.

        `music` is a piece, see `formats.files.notes_of`. It is put on its beat grid and
        quantised first, see `quantise`. What is longer than the model's context is read in
        windows, see `evaluate.windows`.
        """
        given = files.notes_of(music)
        notes, _ = beats.align(given)
        piece, semitones = self.quantise(notes)
        found = self.scorer.score(piece)
        return Score(found.bits, found.notes, float(given.seconds(given.end)), semitones)


def load(path: str | os.PathLike[str], step: int | None = None) -> MusicModel:
    """Loads a trained model.

    Args:
      path: folder of the run, or a file that `jaxmusic export` wrote (``.safetensors``), on local
        disk or in a bucket.
      step: a training step that has a checkpoint; None for the one with the best validation.

    Raises:
      UserError: there is no such run or file, or the run has no finished checkpoint.
    """
    return MusicModel(**weights.load(path, step)._asdict())


@contextlib.contextmanager
def _progress(unit: str, progress: bool | Progress) -> Iterator[Progress]:
    """Makes a progress bar into a function of what is finished and all there is."""
    if callable(progress):
        yield progress
        return
    with tqdm(desc="composing", unit=f" {unit}", disable=not progress) as bar:

        def show(finished: int, total: int) -> None:
            bar.total = total
            bar.update(finished - bar.n)

        yield show
