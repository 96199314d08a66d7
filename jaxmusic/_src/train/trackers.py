"""Trackers: what the figures of a run are written to.

A tracker is a class with `record` and `close`, made from the run's folder, its experiment and the
steps made so far. If it has `media(step, name, suffix, data)` as well, that takes pictures (suffix
.png) and sound (.wav). Which ones there are besides the log, `config.Experiment.trackers` names.
Another one joins by its entry in `TRACKERS`.
"""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Callable, Mapping
from typing import Protocol

from etils import epath

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import journal

TENSORBOARD = "tensorboard"


class Tracker(Protocol):
    """What a tracker does."""

    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Takes figures of a step, by name; a tracker of numbers leaves words out."""

    def close(self) -> None:
        """Writes what is left; nothing is recorded afterwards."""


class TensorBoard:
    """Events for TensorBoard."""

    def __init__(self, run: epath.Path, experiment: configs.Experiment, step: int):
        """Begins a file of events; TensorBoard leaves out what it read of later steps."""
        del experiment
        self._board = journal.board(run / TENSORBOARD, step)

    def record(self, step: int, values: Mapping[str, float | str]) -> None:
        """Adds the numbers to the curves of their names."""
        for name, value in values.items():
            if not isinstance(value, str):
                self._board.add_scalar(name, value, step)

    def media(self, step: int, name: str, suffix: str, data: bytes) -> None:
        """Adds a picture or sound, as the bytes of its file."""
        from tensorboardX.proto.summary_pb2 import Summary

        if suffix == ".png":
            width, height = struct.unpack(">II", data[16:24])
            image = Summary.Image(
                encoded_image_string=data, width=width, height=height, colorspace=4
            )
            value = Summary.Value(tag=name, image=image)
        else:
            with wave.open(io.BytesIO(data)) as file:
                sound = Summary.Audio(
                    encoded_audio_string=data,
                    sample_rate=file.getframerate(),
                    num_channels=file.getnchannels(),
                    length_frames=file.getnframes(),
                    content_type="audio/wav",
                )
            value = Summary.Value(tag=name, audio=sound)
        self._board.file_writer.add_summary(Summary(value=[value]), step)

    def close(self) -> None:
        """Writes the rest."""
        self._board.close()


Factory = Callable[[epath.Path, configs.Experiment, int], Tracker]
TRACKERS: dict[str, Factory] = {TENSORBOARD: TensorBoard}
"""Trackers that an experiment can name; add your own before the training starts."""


def chosen(names: str) -> list[Factory]:
    """Opens the trackers of an experiment; raises UserError for an unknown name."""
    for name in names.split():
        if name not in TRACKERS:
            known = " ".join(TRACKERS)
            raise UserError(
                f"Set trackers to some of: {known}, or add {name!r} to "
                "jaxmusic.train.trackers.TRACKERS in the Python file of your config."
            )
    return [TRACKERS[name] for name in names.split()]
