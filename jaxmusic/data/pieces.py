"""Pieces of a split, read from the shards on demand and kept in memory while there is room."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Any

from etils import epath

from jaxmusic.codecs.base import Codec
from jaxmusic.data import record
from jaxmusic.data.augmentation import Change
from jaxmusic.music.notes import Notes

MEMORY = 2**29
"""Bytes of pieces that one split keeps."""


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
        self._kept: collections.OrderedDict[tuple[str, int], tuple[int, Any]] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of pieces."""
        return len(self._source)

    def example(self, index: int) -> dict[str, Any]:
        """The record of a piece."""
        return self._source[index]

    def notes(self, index: int) -> Notes:
        """The notes of a piece, as they are stored."""
        return self._keep("notes", index, 0, lambda: self._read(index))

    def __getitem__(self, index: int) -> Any:
        """A piece, quantised by the codec."""
        return self._keep("piece", index, 0, lambda: self._codec.quantise(self._read(index))[0])

    def altered(
        self, index: int, epoch: int, alter: Callable[[Notes], tuple[Notes, Change]]
    ) -> tuple[Any, Change]:
        """A piece of altered notes, quantised, and the change; that of the latest epoch is kept."""

        def make() -> tuple[Any, Change]:
            notes, change = alter(self.notes(index))
            return self._codec.quantise(notes)[0], change

        return self._keep("altered", index, epoch, make)

    def _read(self, index: int) -> Notes:
        return record.from_bytes(self._source.data_source[index])

    def _keep(self, kind: str, index: int, epoch: int, make: Callable[[], Any]) -> Any:
        key = (kind, index)
        with self._lock:
            kept, found = self._kept.get(key, (-1, None))
            if kept == epoch:
                self._kept.move_to_end(key)
                return found
        found = make()
        with self._lock:
            self._used += _bytes(found) - _bytes(self._kept.pop(key, (-1, None))[1])
            self._kept[key] = (epoch, found)
            while self._used > self._memory and len(self._kept) > 1:
                self._used -= _bytes(self._kept.popitem(last=False)[1][1])
        return found


def _bytes(found: Any) -> int:
    """Memory of notes, of a piece, of a piece with its change, or of nothing."""
    if isinstance(found, tuple):
        found = found[0]
    if found is None:
        return 0
    return sum(getattr(value, "nbytes", 0) for value in vars(found).values()) + 2048
