"""Pieces of a split, read from the shards on demand and kept in memory while there is room."""

from __future__ import annotations

import functools
from typing import Any

from etils import epath

from jaxmusic.codecs.base import Codec
from jaxmusic.data import record
from jaxmusic.music.notes import Notes

MEMORY = 2**29
"""Bytes of pieces that one split keeps, about."""


class Pieces:
    """Random access to the quantised pieces of a split; safe to use from several threads.

    Attributes:
      room: number of pieces that are kept.
    """

    def __init__(self, folder: epath.Path, split: str, codec: Codec, memory: int = MEMORY):
        """Opens a split of the dataset in a folder; keeps about `memory` bytes of pieces."""
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(folder)
        self._source: Any = builder.as_data_source(split)
        self._codec = codec
        # Notes take as much memory as their record, and when quantised as much again.
        about = builder.info.splits[split]
        self.room = max(memory * about.num_examples // max(2 * about.num_bytes, 1), 1)
        self._notes = functools.lru_cache(self.room)(self._read)
        self._pieces = functools.lru_cache(self.room)(self._quantised)

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._source)

    def notes(self, index: int) -> Notes:
        """The notes of a piece, as they are stored."""
        return self._notes(index)

    def __getitem__(self, index: int) -> Any:
        """A piece, quantised by the codec."""
        return self._pieces(index)

    def _read(self, index: int) -> Notes:
        return record.from_bytes(self._source.data_source[index])

    def _quantised(self, index: int) -> Any:
        return self._codec.quantise(self._read(index))[0]
