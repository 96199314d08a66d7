"""Samples: pieces that a run composes on its way, to hear and to see what the model has learned.

They are written to the run's folder as ``samples/step-0400/1.mid``, shown by the trackers that show
pictures and sound, and measured beside real music of the same length.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from etils import epath

from jaxmusic import config as configs
from jaxmusic._src.cluster.watchdog import ASIDE
from jaxmusic._src.core.errors import UserError, explained
from jaxmusic._src.evaluate.statistics import STATISTICS, mean_and_deviation
from jaxmusic._src.formats import audio, files, picture
from jaxmusic._src.generate import length
from jaxmusic._src.generate.capabilities import Capabilities
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.music.notes import Notes

if TYPE_CHECKING:
    from jaxmusic._src.train.session import Session

FOLDER = "samples"
REAL = 32
"""Pieces of the validation split that the samples are measured beside."""
RATE = 22_050
"""Samples per second of the sound, which has one channel: 44 kB for each second."""


def check(settings: configs.Samples) -> None:
    """Raises UserError if there can be no such samples."""
    length.check_duration(settings.seconds)
    numbers = [name for name, statistic in STATISTICS.items() if not statistic.kinds]
    for name in settings.statistics.split():
        if name not in numbers:
            raise UserError(
                f"Set samples.statistics to some of: {' '.join(numbers)}; not {name!r}."
            )


class Samples:
    """Composes, writes, shows and measures; programs are compiled the first time.

    Attributes:
      every: steps from one time to the next.
    """

    def __init__(self, session: Session):
        """Takes samples of earlier starts away that belong to steps which are made again."""
        experiment, data = session.experiment, session.data
        self._session, self._settings = session, experiment.samples
        self.every = self._settings.every
        if not self.every:
            return
        shape, codec = experiment.model, data.codec
        self._composer = Composer(shape, None, codec, experiment.data.context)
        capabilities = Capabilities(codec, data.styles, data.controls(), experiment.data)
        asked = configs.Controls(duration=self._settings.seconds)
        self._planner = self._composer.planner(capabilities.read(asked))
        self._without: set[str] = set()
        if session.hosts.first:
            _remove_later(session.run / FOLDER, session.step)

    def __call__(self, step: int, params: dict[str, jax.Array]) -> None:
        """Composes with the weights of a step."""
        monitor = self._session.monitor
        pieces = self._compose(params)
        digits = len(str(self._session.experiment.steps))
        folder = self._session.run / FOLDER / f"step-{step:0{digits}}"
        monitor.record(step, self._figures(pieces))
        for number, notes in enumerate(pieces, 1):
            files.write(notes, folder / f"{number}.mid")
        if monitor.shows_media:
            for number, notes in enumerate(pieces, 1):
                title = f"step {step}, piece {number}"
                draw = functools.partial(picture.encoded, notes, ".png", title)
                play = functools.partial(audio.encoded, notes, RATE, 1)
                self._show(step, f"{FOLDER}/{number}/picture", ".png", draw)
                self._show(step, f"{FOLDER}/{number}/sound", ".wav", play)

    def _compose(self, params: dict[str, jax.Array]) -> list[Notes]:
        sampler = self._composer.sampler
        sampler.load(params)
        try:
            found = self._composer.compose(
                *(self._planner, self._session.experiment.seed, self._settings.pieces),
                progress=self._moved,
            )
        finally:
            # They take room, and the next step uses up what they share with the state.
            sampler.load(None)
        return [piece.notes for piece in found]

    def _moved(self, finished: int, total: int) -> None:
        self._session.watchdog.moved(ASIDE)
        unit = self._planner.codec.UNIT
        self._session.monitor.doing(f"composing, {finished} of {total} {unit}")

    def _figures(self, pieces: Sequence[Notes]) -> dict[str, float]:
        """Means of the statistics of samples and of real music, where they are defined."""
        names = self._settings.statistics.split()
        found = {f"samples/{name}": _mean(name, pieces) for name in names} | self._real
        return {name: value for name, value in found.items() if value is not None}

    @functools.cached_property
    def _real(self) -> dict[str, float | None]:
        """Returns statistics of the openings of validation pieces, as long as the samples."""
        if self._session.validation is None:
            return {}
        whole = self._session.validation.examples(REAL)
        parts = [beginning(notes, self._settings.seconds) for notes in whole]
        return {f"real/{n}": _mean(n, parts) for n in self._settings.statistics.split()}

    def _show(self, step: int, name: str, suffix: str, make: Callable[[], bytes]) -> None:
        """Hands a picture or sound on; what cannot be made is tried and explained once."""
        if suffix in self._without:
            return
        try:
            data = make()
        except Exception as error:
            self._without.add(suffix)
            what = {".png": "picture", ".wav": "sound"}[suffix]
            reason = explained(error) or f"{type(error).__name__}: {error}".splitlines()[0]
            self._session.monitor.note(f"Samples go without {what} from now on. {reason}")
            return
        self._session.watchdog.moved(ASIDE)
        self._session.monitor.media(step, name, suffix, data)


def beginning(notes: Notes, seconds: float) -> Notes:
    """Returns the first seconds of an aligned piece; notes that sound longer end there."""
    ticks = np.arange(notes.end + 1)
    end = max(int(np.searchsorted(notes.seconds(ticks), seconds, side="right")) - 1, 1)
    return notes if end >= notes.end else notes.until(end)


def _mean(name: str, pieces: Sequence[Notes]) -> float | None:
    mean, _ = mean_and_deviation([STATISTICS[name].of(notes) for notes in pieces])
    return None if mean is None else float(mean)


def _remove_later(folder: epath.Path, step: int) -> None:
    """Removes the samples of later steps than this."""
    for made in folder.iterdir() if folder.is_dir() else ():
        number = made.name.removeprefix("step-")
        if number.isdigit() and int(number) > step:
            made.rmtree()
