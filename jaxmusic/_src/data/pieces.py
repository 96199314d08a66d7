"""Pieces of a split, read from the shards on demand and kept in memory while there is room."""

from __future__ import annotations

import functools
from typing import Any

from etils import epath

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import catalog, record
from jaxmusic._src.music.notes import Notes

MEMORY = 2**29
"""Bytes of pieces that one split keeps, about."""


class Stored:
    """The pieces of a split, read on demand."""

    def __init__(self, folder: epath.Path, split: str):
        """Opens a split of the dataset in a folder."""
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder_from_directory(folder)
            self._source: Any = builder.as_data_source(split)
            self.bytes: int = builder.info.splits[split].num_bytes
        except Exception as error:  # of its files TFDS expects that they are as it wrote them
            said = " ".join(str(error).split())[:200]
            raise UserError(
                f"{catalog.REMEDY}: {folder} cannot be opened ({type(error).__name__}: {said})."
            ) from error

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._source)

    def __getitem__(self, number: int, /) -> Notes:
        """Returns the notes of a piece."""
        return record.from_bytes(self._source.data_source[number])

    def name(self, number: int) -> str:
        """Returns the file of a piece."""
        path = self._source[number]["path"]
        return path.decode() if isinstance(path, bytes) else str(path)


class Pieces:
    """Random access to the quantised pieces of a split; safe to use from several threads.

    Attributes:
      room: number of pieces that are kept.
      notes: gives the notes of a piece, as they are stored, by its number.
    """

    def __init__(self, folder: epath.Path, split: str, codec: Codec, memory: int = MEMORY):
        """Opens a split of the dataset in a folder; keeps about `memory` bytes of pieces."""
        self._stored = stored = Stored(folder, split)
        # Notes take as much memory as their record, and when quantised as much again.
        self.room = max(memory * len(stored) // max(2 * stored.bytes, 1), 1)
        self.notes = functools.lru_cache(self.room)(stored.__getitem__)
        self._quantised = functools.lru_cache(self.room)(lambda i: codec.quantise(stored[i])[0])

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._stored)

    def __getitem__(self, index: int) -> Any:
        """Returns a piece, quantised by the codec."""
        return self._quantised(index)
