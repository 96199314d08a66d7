"""Feeding: batches from reading processes, where threads of one interpreter are too slow.

Each process opens the same loader, makes every n-th batch and waits in its pipe until it is taken.
It ends when the pipe is closed, so none outlives the one who reads, however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxmusic.config import Data
from jaxmusic.data import processes


class Order(NamedTuple):
    """What a reading process is told.

    Attributes:
      data: what is read.
      codec: JSON of the codec.
      split, seed: as in `Loader`.
      start: step of its first batch.
      stride: steps from each of its batches to the next.
      process_index, process_count: as in `Loader.iterate`.
    """

    data: Data
    codec: str
    split: str
    seed: int
    start: int
    stride: int
    process_index: int
    process_count: int


def feed(order: Order, count: int) -> Iterator[np.ndarray]:
    """Batches (int32 [8, rows, context]) of all steps from ``order.start`` on, without end.

    Args:
      order: for a single process; each of several gets its own steps.
      count: number of processes.
    """
    readers = [_Reader(order._replace(start=order.start + i, stride=count)) for i in range(count)]
    rows = order.data.batch // order.process_count
    try:
        while True:
            for reader in readers:
                yield reader.receive().reshape(-1, rows, order.data.context)
    finally:
        for reader in readers:
            reader.stop()


class _Reader:
    """One process and its pipe."""

    def __init__(self, order: Order):
        self.process, self.inbox, outbox = processes.start("jaxmusic.data.reading")
        with outbox:
            outbox.send(order)

    def receive(self) -> np.ndarray:
        """Its next batch, as a flat array."""
        try:
            return np.frombuffer(self.inbox.recv_bytes(), np.int32)
        except (EOFError, OSError) as error:
            code = self.process.wait()
            raise RuntimeError(
                f"a reading process ended with {code}: what it said stands above"
            ) from error

    def stop(self) -> None:
        """Ends the process at once: it has nothing to lose."""
        self.process.kill()
        self.process.wait()
        self.inbox.close()
