"""The loader: packed rows of a dataset, in an order that is a function of step and seed alone."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxmusic.codecs.base import Codec
from jaxmusic.config import Data
from jaxmusic.data import measuring
from jaxmusic.data.augmentation import UNCHANGED, draw
from jaxmusic.data.catalog import open_dataset
from jaxmusic.data.packing import Rows, Sizes, plan
from jaxmusic.data.pieces import Pieces
from jaxmusic.errors import UserError
from jaxmusic.events import Batch, Events

_PLANS = 3
_TARGET = len(Events._fields)
_SEGMENT = _TARGET + 1
_AHEAD = 8
"""Batches that are read ahead."""


class Loader:
    """Rows of one split of a dataset.

    Row g of the endless stream that training reads is row ``g mod R`` of epoch ``g // R``'s plan.
    R is the number of rows of epoch 0's plan. A plan with a few rows more or less, as random cuts
    make it, leaves its last ones out or begins again; rows are in random order, so that no piece
    is favoured, and any step of any epoch can be reached without planning the epochs before it.

    Attributes:
      data: what is read.
      codec: the codec, which knows the dataset's styles.
      dataset: name and version.
      manifest: hash of the dataset's records; the same data in the same order have the same one.
      styles: styles of its pieces.
      pieces: number of pieces of this split.
    """

    def __init__(self, data: Data, codec: Codec, split: str = "train", seed: int = 0):
        """Opens a split.

        Args:
          data: dataset, context, batch size and augmentation.
          codec: makes tokens of pieces; styles that it does not know are added to a copy of it.
          split: train, validation or test.
          seed: seeds order, cuts and augmentation.

        Raises:
          UserError: there is no such dataset or split, or `data` makes no sense.
        """
        if data.context < 2 or data.batch < 1 or data.threads < 0 or data.transpose < 0:
            raise UserError("context must be 2 or more, batch 1 or more, and no setting below 0.")
        found = open_dataset(data.dataset, data.data_dir)
        if split not in found.splits:
            raise UserError(
                f"Dataset {found.name}:{found.version} has no {split} split (it has "
                f"{', '.join(found.splits)}): prepare it from more songs."
            )
        unknown = tuple(style for style in found.styles if style not in codec.styles)
        self.data = data
        self.codec = codec.with_styles(unknown) if unknown else codec
        self.seed = seed
        self.split = split
        self.dataset = f"{found.name}:{found.version}"
        self.manifest: str = found.summary["content"]
        self.styles = found.styles
        self._found = found
        self._pieces = Pieces(found.path, split, codec)
        self._sizes = measuring.measured(found.path, split, codec.fingerprint, self._measure)
        self._plans: dict[int | None, Rows] = {}
        self._lock = threading.Lock()
        self._per_epoch = len(self.plan(0))
        if truncated := self.plan(0).truncated:
            logging.getLogger(__name__).warning(
                "%d bars of the %s split of %s are longer than the context of %d tokens and lose "
                "their ends: a longer context keeps them",
                *(truncated, split, self.dataset, data.context),
            )

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return len(self._pieces)

    @property
    def notes(self) -> int:
        """Number of notes in this split's files."""
        return self._found.summary["split_notes"][self.split]

    def rows_per_epoch(self) -> int:
        """Rows that make an epoch: the same number in each."""
        return self._per_epoch

    def plan(self, epoch: int | None) -> Rows:
        """The packing plan of an epoch; None for evaluation's, which has no random cuts."""
        with self._lock:
            if epoch not in self._plans:
                seed = 0 if epoch is None else self.seed
                self._plans[epoch] = plan(self._sizes, self.data.context, seed, epoch)
                while len(self._plans) > _PLANS:
                    del self._plans[next(iter(self._plans))]
            return self._plans[epoch]

    def batch(self, step: int) -> Batch:
        """The global batch of a training step: [batch, context], a function of step and seed."""
        first = step * self.data.batch
        return _stack([self._train_row(first + j) for j in range(self.data.batch)])

    def iterate(
        self, start: int = 0, process_index: int = 0, process_count: int = 1
    ) -> Iterator[Batch]:
        """Training batches from step `start` on, without end, read ahead by Grain's threads.

        Args:
          start: step of the first batch; no earlier one is read.
          process_index: this process; it gets the p-th block of rows of each global batch.
          process_count: processes that share each batch; divides the batch size.
        """
        if self.data.batch % process_count:
            raise UserError(
                f"A batch of {self.data.batch} rows cannot be shared by {process_count} "
                "processes: make data.batch a multiple of their number."
            )
        import grain

        share = self.data.batch // process_count
        source = _Rows(self, start * share, share, process_index)
        threads = self.data.threads
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_AHEAD * share)
        rows = grain.MapDataset.source(source).to_iter_dataset(options if threads else None)
        return iter(rows.batch(share, drop_remainder=True, batch_fn=_stack))

    def evaluation(self) -> Iterator[Batch]:
        """All of the split once, unchanged: [batch, context]; empty rows fill the last batch.

        Rows are in a fixed random order, so that the first few batches are a fair sample.
        """
        rows, size = self.plan(None), self.data.batch
        empty = self._empty_row()
        for first in range(0, len(rows), size):
            found = [self._row(rows, r, None) for r in range(first, min(first + size, len(rows)))]
            yield _stack(found + [empty] * (size - len(found)))

    def _measure(self) -> Sizes:
        indices = tqdm(range(self.pieces), "measuring pieces", unit=" pieces", delay=1)
        return Sizes.of(self.codec.sizes(self._pieces[i]) for i in indices)

    def _train_row(self, row: int) -> np.ndarray:
        epoch, r = divmod(row, self._per_epoch)
        rows = self.plan(epoch)
        return self._row(rows, r % len(rows), epoch)

    def _row(self, rows: Rows, r: int, epoch: int | None) -> np.ndarray:
        """int32 [8, context]: the events' columns, target and segment."""
        out = self._empty_row()
        at = 0
        for number, i in enumerate(range(rows.first[r], rows.first[r + 1]), start=1):
            tokens = self._part(rows, i, epoch)
            end = at + len(tokens)
            out[:_TARGET, at:end] = self.codec.events(tokens)
            out[_TARGET, at : end - 1] = tokens[1:]
            out[_SEGMENT, at:end] = number
            at = end
        return out

    def _empty_row(self) -> np.ndarray:
        out = np.zeros((_SEGMENT + 1, self.data.context), np.int32)
        out[0] = out[_TARGET] = self.codec.PAD
        return out

    def _part(self, rows: Rows, i: int, epoch: int | None) -> np.ndarray:
        """Tokens of a part of a plan, at most the context of them."""
        index = int(rows.piece[i])
        whole = self._pieces[index]
        change = UNCHANGED
        if epoch is not None:
            data = self.data
            change = draw(whole, self.seed, epoch, index, data.transpose, data.drop_controls)
        part = whole.part(int(rows.start[i]), int(rows.stop[i]))
        if change.semitones:
            part = part.transpose(change.semitones)
        tokens = self.codec.encode(part, change.drop)
        if len(tokens) > rows.tokens[i] < self.data.context:
            raise RuntimeError(
                f"a part has {len(tokens)} tokens where {rows.tokens[i]} was the bound"
            )
        return tokens[: self.data.context]


class _Rows:
    """One process's rows from some step on, as Grain reads them."""

    def __init__(self, loader: Loader, first: int, share: int, process: int):
        self.loader, self.first, self.share, self.process = loader, first, share, process

    def __len__(self) -> int:
        return 2**48

    def __getitem__(self, index: Any) -> np.ndarray:
        step, j = divmod(self.first + int(index), self.share)
        row = step * self.loader.data.batch + self.process * self.share + j
        return self.loader._train_row(row)


def _stack(rows: Sequence[np.ndarray]) -> Batch:
    columns = np.stack(rows, axis=1)
    segment = columns[_SEGMENT]
    # The last token of a part has none that follows.
    goes_on = np.diff(segment, append=0) == 0
    return Batch(
        events=Events(*columns[:_TARGET]),
        target=columns[_TARGET],
        segment=segment,
        weight=(goes_on & (segment > 0)).astype(np.float32),
    )
