"""The loader: packed rows of datasets, in an order that is a function of step and seed alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Batch, pack, stack
from jaxmusic._src.data import augmentation, mixture, selection, tasks
from jaxmusic._src.data.augmentation import generator
from jaxmusic._src.data.catalog import open_dataset
from jaxmusic._src.data.mixture import Member, Mixture
from jaxmusic._src.data.pieces import MEMORY
from jaxmusic._src.data.stream import NoPieces, Stream
from jaxmusic._src.formats.instruments import Heard
from jaxmusic._src.music.notes import Notes
from jaxmusic.config import Data

_AHEAD = 8
"""Batches that are read ahead."""
_KNOWN = 0.05
"""Least share of the pieces that have a control, for a model to learn it."""


class Loader:
    """Rows of one split of a dataset, or of a mixture of several.

    Row g of the endless stream that training reads is row g of the dataset's `Stream`. In a mixture
    it is the next row of the dataset whose turn it is, see `Mixture`; weights are shares of rows.
    One selection (`config.Data.where`) holds for all datasets. Any step can be reached at once, and
    its batch does not depend on the number of processes.

    Attributes:
      data: what is read.
      codec: the codec, which knows the datasets' styles.
      dataset: name and version; of a mixture, names, versions and weights.
      manifest: hash of the records, the selection and the weights; the same data in the same order
        have the same one.
      styles: styles of the pieces.
      streams: one for each dataset.
    """

    def __init__(self, data: Data, codec: Codec, split: str = "train", seed: int = 0):
        """Opens a split.

        Args:
          data: datasets, selection, context, batch size and augmentation.
          codec: makes tokens of pieces; styles that it does not know are added to a copy of it.
          split: train, validation or test. Other than in training, datasets of a mixture that
            have no such split, or no piece in it that matches, are left out.
          seed: seeds order, cuts and augmentation.

        Raises:
          UserError: there is no such dataset, split or piece, or `data` makes no sense.
        """
        augmentation.check(data)
        tasks.check(data.tasks, codec)
        where = selection.parse(data.where)
        members = mixture.parse(data.dataset)
        found = [open_dataset(member.dataset, data.data_dir) for member in members]
        members = [Member(f"{f.name}:{f.version}", m.weight) for f, m in zip(found, members)]
        self.dataset = mixture.join(members)
        where.check_styles([style for f in found for style in f.styles])
        new = [style for f in found for style in f.styles if style not in codec.styles]
        self.codec = codec.with_styles(new) if new else codec
        self.data = data
        self.seed = seed
        self.split = split
        memory = MEMORY // (len(found) * max(data.workers, 1))
        rest = (self.codec, data, where, seed, memory)
        self.streams, missing = [], []
        for dataset in found:
            try:
                self.streams.append(Stream(dataset, split, *rest))
            except NoPieces as error:
                missing.append(error)
        if missing and (split == "train" or not self.streams):
            raise missing[0]
        for reason in missing:
            logging.getLogger(__name__).warning("left out of the %s loss: %s", split, reason)
        self.styles = tuple(sorted({style for s in self.streams for style in s.styles}))
        opened = [stream.name for stream in self.streams]
        shares = mixture.block([m for m in members if m.dataset in opened])
        self._mixture = Mixture(shares, seed)
        self.manifest = self.streams[0].manifest
        if len(members) > 1:
            content = [[s.manifest for s in self.streams], shares.tolist()]
            self.manifest = hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return sum(stream.pieces for stream in self.streams)

    @property
    def notes(self) -> int:
        """Number of notes in their files."""
        return sum(stream.notes for stream in self.streams)

    def controls(self) -> tuple[str, ...]:
        """Controls that a model can learn from the rows, see `music.controls`.

        At least 5 % of the pieces have them; in a mixture, the datasets' shares of pieces count by
        the weights of their rows. There are none if all are always left out of the headers.
        """
        if self.data.drop_controls >= 1:
            return ()

        def share(control: str) -> float:
            shares = [stream.share(control) for stream in self.streams]
            return float(np.average(shares, weights=self._mixture.counts))

        return tuple(name for name in self.codec.CONTROLS if share(name) >= _KNOWN)

    def heard(self) -> Heard:
        """Counts the pieces in which each instrument plays, of all datasets together."""
        counts = np.sum([stream.heard() for stream in self.streams], axis=0).tolist()
        return Heard(self.pieces, {program: n for program, n in enumerate(counts) if n})

    def rows_per_epoch(self) -> int:
        """Returns the number of rows of an epoch, the same for all epochs."""
        return sum(stream.per_epoch for stream in self.streams)

    def batch(self, step: int) -> Batch:
        """Returns the global batch of a training step, a function of step and seed."""
        return self.rows(step * self.data.batch, self.data.batch)

    def rows(self, first: int, count: int) -> Batch:
        """Returns `count` rows of training from row `first` on as a batch."""
        return stack([self.row(first + j) for j in range(count)])

    def row(self, g: int) -> Batch:
        """Returns row g of training, see `data.stream`."""
        member, number = self._mixture.row(g)
        return self.streams[member].row(number)

    def iterate(
        self, start: int = 0, process_index: int = 0, process_count: int = 1
    ) -> Iterator[Batch]:
        """Yields training batches from step `start` on, without end.

        Grain reads them ahead, in a thread or in `config.Data.workers` processes.

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
        from absl import flags

        workers = self.data.workers
        share = self.data.batch // process_count

        def read(step: int) -> Batch:
            return self.rows(step * self.data.batch + process_index * share, share)

        thread = grain.ReadOptions(0 if workers else 1, prefetch_buffer_size=_AHEAD)
        batches = grain.MapDataset.range(start, 2**48).map(read).to_iter_dataset(thread)
        if workers:
            from grain._src.python.dataset.transformations import process_prefetch

            # A worker that is sending a batch does not end by itself; Grain waits 25 s for it.
            process_prefetch._PROCESS_KILL_TIMEOUT_S = 1
            flags.FLAGS.mark_as_parsed()  # Grain hands its own on to the workers
            options = grain.MultiprocessingOptions(workers, max(_AHEAD // workers, 1))
            batches = batches.mp_prefetch(options, _begin_worker)
            # Shared memory would stay behind when the processes are killed.
            options = grain.experimental.DatasetOptions(min_shm_size=sys.maxsize)
            batches = grain.experimental.WithOptionsIterDataset(batches, options)
        return iter(batches)

    def __reduce__(self) -> tuple[Any, ...]:
        """Opens the same datasets again where it is unpickled, in a worker process."""
        pinned = dataclasses.replace(self.data, dataset=self.dataset)
        return Loader, (pinned, self.codec, self.split, self.seed)

    def examples(self, count: int) -> list[Notes]:
        """Returns up to `count` stored pieces, always the same ones, equally many per dataset."""
        share = -(-count // len(self.streams))
        return [notes for s in self.streams for notes in s.examples(share)][:count]

    def evaluation(self) -> Iterator[Batch]:
        """Yields the split once, unchanged, as [batch, context]; empty rows fill the last batch.

        Of a mixture these are all rows of all datasets, whatever their weights. Rows are in a fixed
        random order, so that the first few batches are a fair sample.
        """
        rows = [(s, r) for s in self.streams for r in range(len(s.plan(None)))]
        if len(self.streams) > 1:  # a single plan is in random order already
            rows = [rows[i] for i in generator(0, -1, -2).permutation(len(rows))]
        size, empty = self.data.batch, pack([], self.data.context, self.codec.PAD)
        for first in range(0, len(rows), size):
            found = [stream.evaluation_row(r) for stream, r in rows[first : first + size]]
            yield stack(found + [empty] * (size - len(found)))


def _begin_worker(index: int, count: int) -> None:
    """Sets up a worker process, which ends with the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.WARNING)  # the process that started this one has warned already
    threading.Thread(target=_end_with, args=[multiprocessing.parent_process()], daemon=True).start()


def _end_with(process: Any) -> None:
    process.join()
    os._exit(1)
