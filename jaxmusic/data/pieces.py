"""Pieces of a split, read from the shards on demand and kept in memory while there is room."""

from __future__ import annotations

import collections
import threading
from typing import Any

from etils import epath

from jaxmusic.codecs.base import Codec
from jaxmusic.data import record

MEMORY = 2**29
"""Bytes of quantised pieces that one split keeps."""


class Pieces:
    """Random access to the quantised pieces of a split; safe to use from several threads."""

    def __init__(self, folder: epath.Path, split: str, codec: Codec, memory: int = MEMORY):
        """Opens a split.

        Args:
          folder: the dataset's folder.
          split: train, validation or test.
          codec: quantises the pieces.
          memory: bytes of pieces to keep.
        """
        import tensorflow_datasets as tfds

        self._source: Any = tfds.builder_from_directory(folder).as_data_source(split)
        self._codec = codec
        self._memory = memory
        self._used = 0
        self._kept: collections.OrderedDict[int, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._source)

    def example(self, index: int) -> dict[str, Any]:
        """The record of a piece."""
        return self._source[index]

    def __getitem__(self, index: int) -> Any:
        """A piece, quantised by the codec."""
        with self._lock:
            if (piece := self._kept.get(index)) is not None:
                self._kept.move_to_end(index)
                return piece
        notes = record.from_example(self.example(index))
        piece, _ = self._codec.quantise(notes)
        with self._lock:
            if index not in self._kept:
                self._kept[index] = piece
                self._used += _bytes(piece)
            while self._used > self._memory and len(self._kept) > 1:
                self._used -= _bytes(self._kept.popitem(last=False)[1])
        return piece


def _bytes(piece: Any) -> int:
    return sum(getattr(value, "nbytes", 0) for value in vars(piece).values()) + 2048
