"""Streams: the endless rows of one split of one dataset, each a function of its number and seed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from jaxmusic._src.codecs.base import Codec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Batch, pack
from jaxmusic._src.data import augmentation, cached_statistics, tasks
from jaxmusic._src.data.augmentation import UNCHANGED, Change, generator
from jaxmusic._src.data.catalog import Dataset
from jaxmusic._src.data.metadata import DRUMS, MetadataTable, describe
from jaxmusic._src.data.packing import Rows, Sizes, plan
from jaxmusic._src.data.parts import Part, cut, cut_as_task, fit
from jaxmusic._src.data.pieces import Pieces
from jaxmusic._src.data.selection import Where
from jaxmusic._src.music.notes import Notes, semitones_to_c
from jaxmusic.config import Data

_PLANS = 3
_GAP = 32
"""A gap that is less than this part of a row stays empty."""
_TRIES = 4
"""Parts drawn at random to fill a gap."""


class NoPieces(UserError):
    """A dataset has no such split, or no piece in it that matches."""


class Stream:
    """Rows of one split of one dataset.

    Row g is row ``g mod R`` of epoch ``g // R``'s plan, where R is the number of rows of epoch 0's
    plan. A plan with a few rows more or less, as random cuts make it, leaves its last ones out or
    begins again; rows are in random order, so that no piece is favoured, and any row of any epoch
    can be reached without planning the epochs before it.

    A plan counts the tokens of pieces as they are stored. Where notes are changed, a part that
    became longer than the room that the others leave gives up its last bars, and a row in which
    dropped tracks leave a gap is filled up with further parts, drawn at random from all bars.

    Attributes:
      name: name and version of the dataset.
      pieces: number of pieces that are used.
      notes: notes in their files.
      styles: their styles, sorted.
      manifest: hash of the dataset's records and, where not all are used, of which are.
      per_epoch: rows of an epoch.
    """

    def __init__(
        self,
        found: Dataset,
        split: str,
        codec: Codec,
        data: Data,
        where: Where,
        seed: int,
        memory: int,
    ):
        """Opens a split with a codec that knows all styles of its pieces.

        The seed is for order, cuts and augmentation; about `memory` bytes of pieces are kept.

        Raises:
          NoPieces: there is no such split, or no piece in it matches.
        """
        if split not in found.splits:
            raise NoPieces(
                f"Dataset {found.name}:{found.version} has no {split} split (it has "
                f"{', '.join(found.splits)}): prepare it from more songs, or with other "
                "--validation and --test."
            )
        self.name = f"{found.name}:{found.version}"
        self.manifest: str = found.summary["content"]
        self.styles = found.styles
        self.notes: int = found.summary["split_notes"].get(split, 0)
        self._data, self._codec, self._seed, self._split = data, codec, seed, split
        self._folder = found.path
        self._pieces = Pieces(found.path, split, codec, memory)
        kept = cached_statistics.sizes_file(found.path, split, codec.fingerprint)
        sizes = cached_statistics.kept(kept, Sizes, self._measure)
        self._chosen = np.arange(len(self._pieces))
        self._shift = np.zeros(len(self._pieces), np.int64)
        if where.tests or data.normalise:
            index = self._index()
            if where.tests:
                self._select(index, where)
                sizes = sizes.take(self._chosen)
            if data.normalise:
                self._normalise(index.key)
        self.pieces = len(self._chosen)
        self._sizes = sizes
        self._alters = augmentation.alters_notes(data)
        self._tasks = any(dataclasses.astuple(data.tasks))
        self._altered = functools.lru_cache(self._pieces.room)(self._alter)
        self._planned = functools.lru_cache(_PLANS)(functools.partial(plan, sizes, data.context))
        self.per_epoch = len(self.plan(0))
        if truncated := self.plan(0).truncated:
            logging.getLogger(__name__).warning(
                "%d bars of the %s split of %s are longer than the context of %d tokens and lose "
                "their ends: a longer context keeps them",
                *(truncated, split, self.name, data.context),
            )

    def plan(self, epoch: int | None) -> Rows:
        """Returns the packing plan of an epoch; None for evaluation's, which has no random cuts."""
        return self._planned(0 if epoch is None else self._seed, epoch)

    def row(self, g: int) -> Batch:
        """Returns row g of training ([context])."""
        epoch, r = divmod(g, self.per_epoch)
        rows = self.plan(epoch)
        parts = self._parts(rows, r % len(rows), epoch)
        if self._alters:
            parts = fit(self._codec, parts, self._data.context)
            if self._data.drop_tracks:
                self._fill_up(parts, epoch, r)
        return self._pack(parts)

    def evaluation_row(self, r: int) -> Batch:
        """Returns row r ([context]) of the plan without random cuts, with nothing changed."""
        return self._pack(self._parts(self.plan(None), r, None))

    def examples(self, count: int) -> list[Notes]:
        """Returns up to `count` stored pieces, always the same ones."""
        order = generator(0, -1, -2).permutation(self.pieces)
        return [self._pieces.notes(int(self._chosen[i])) for i in order[:count]]

    def _pack(self, parts: list[Part]) -> Batch:
        streams = (part.tokens for part in parts if len(part.tokens))
        packed = ((self._codec.events(tokens), tokens[1:]) for tokens in streams)
        return pack(packed, self._data.context, self._codec.PAD)

    def _parts(self, rows: Rows, r: int, epoch: int | None) -> list[Part]:
        """Returns the parts of a row of a plan, each at most as long as the context."""
        context, codec = self._data.context, self._codec
        planned = range(rows.first[r], rows.first[r + 1])
        bounds = rows.tokens[rows.first[r] : rows.first[r + 1]].tolist()
        parts = [
            self._part(int(rows.piece[i]), int(rows.start[i]), int(rows.stop[i]), epoch)
            for i in planned
        ]
        for i, bound in enumerate(bounds):
            if not parts[i].task:
                part = cut(codec, parts[i])
                length = len(part.tokens)
                if length > bound < context and not (self._alters and epoch is not None):
                    raise RuntimeError(f"a part has {length} tokens where {bound} was the bound")
                parts[i] = part._replace(tokens=part.tokens[:context])
        # Tasks take what is planned for their parts, and what the others have left.
        with_task = [i for i, part in enumerate(parts) if part.task]
        room = context - sum(len(part.tokens) for part in parts)
        planned_for = sum(bounds[i] for i in with_task)
        for i in with_task:
            planned_for -= bounds[i]
            part = cut_as_task(codec, parts[i], room - planned_for, bounds[i])
            parts[i] = part._replace(tokens=part.tokens[:context])
            room -= len(parts[i].tokens)
        return parts

    def _part(self, number: int, start: int, stop: int, epoch: int | None) -> Part:
        """Returns a part of a piece with the epoch's changes, without tokens."""
        index = int(self._chosen[number])
        change, task = UNCHANGED, None
        if epoch is not None and self._alters:
            piece, change = self._altered(index, epoch)
        else:
            piece = self._pieces[index]
            if epoch is not None:
                pitch = piece.pitch[piece.pitched]
                change = augmentation.draw(self._data, self._seed, epoch, index, pitch)
        if epoch is not None and self._tasks:
            rng = generator(self._seed, epoch, index, 1 + start)
            task = tasks.draw(self._data.tasks, rng)
        semitones = change.semitones + int(self._shift[index])
        first, end = self._sizes.first[number : number + 2].tolist()
        return Part(number, start, stop, end - first, piece, semitones, change.drop, task)

    def _alter(self, index: int, epoch: int) -> tuple[Any, Change]:
        """Alters and quantises the notes of a piece; returns the change too."""
        notes = self._pieces.notes(index)
        pitch = notes.pitch[~notes.is_drum]
        change = augmentation.draw(self._data, self._seed, epoch, index, pitch, notes.track)
        return self._codec.quantise(augmentation.alter(notes, change))[0], change

    def _fill_up(self, parts: list[Part], epoch: int, r: int) -> None:
        """Fills a gap, if there is one: parts go on where they were cut, then others are added.

        Those are drawn at random from all bars.
        """
        context, sizes = self._data.context, self._sizes
        room = context - sum(len(part.tokens) for part in parts)
        for i, part in enumerate(parts):
            first, end = sizes.first[part.number : part.number + 2].tolist()
            if room < context // _GAP:
                return
            if part.task:
                continue
            more = np.searchsorted(sizes.bar[first + part.stop : end].cumsum(), room, side="right")
            if more:
                longer = cut(self._codec, part._replace(stop=part.stop + int(more)))
                if len(longer.tokens) - len(part.tokens) <= room:
                    parts[i] = longer
                    room -= len(longer.tokens) - len(part.tokens)
        rng = generator(self._seed, epoch, -4 - r)
        for _ in range(_TRIES):
            if room < context // _GAP:
                return
            bar = int(rng.integers(len(sizes.bar)))
            number = int(np.searchsorted(sizes.first, bar, side="right")) - 1
            first, end = sizes.first[number : number + 2].tolist()
            counts = sizes.header[number] + sizes.bar[bar:end].cumsum()
            if bars := int(np.searchsorted(counts, room, side="right")):
                part = self._part(number, bar - first, bar - first + bars, epoch)
                part = cut(self._codec, part._replace(task=None))
                if len(part.tokens) <= room:
                    parts.append(part)
                    room -= len(part.tokens)

    def _select(self, index: MetadataTable, where: Where) -> None:
        """Keeps the pieces that match."""
        chosen = where.select(index)
        if not chosen.any():
            raise NoPieces(
                f"No piece of the {self._split} split of {self.name} matches {where.text!r}: ask "
                "for less in data.where."
            )
        if chosen.all():
            return
        self._chosen = np.flatnonzero(chosen)
        self.notes = int(index.column("notes")[chosen].sum())
        self.styles = tuple(sorted(index.names[index.style[chosen].any(0)].tolist()))
        which = hashlib.sha256(self._chosen.astype("<i8").tobytes()).hexdigest()
        self.manifest = hashlib.sha256(json.dumps([self.manifest, which]).encode()).hexdigest()

    def _normalise(self, key: np.ndarray) -> None:
        """Records how far each piece is moved to C major or A minor."""
        moves = np.array([semitones_to_c(k) for k in range(24)] + [0])
        self._shift = moves[key]
        if unknown := int((key[self._chosen] < 0).sum()):
            logging.getLogger(__name__).warning(
                "%d of the %d pieces of the %s split of %s have no key label and stay in their key",
                *(unknown, len(self._chosen), self._split, self.name),
            )

    def share(self, control: str) -> float:
        """Returns the share of pieces that have one of `codecs.layout.CONTROLS`."""
        return float(self._index().states(control)[self._chosen].mean())

    def heard(self) -> np.ndarray:
        """Counts the pieces in which each program, and `metadata.DRUMS`, plays, int64 [129]."""
        index = self._index()
        return np.array([index.plays(p)[self._chosen].sum() for p in range(DRUMS + 1)])

    def _index(self) -> MetadataTable:
        kept = cached_statistics.facts_file(self._folder, self._split)
        return cached_statistics.kept(kept, MetadataTable, self._facts)

    def _measure(self) -> Sizes:
        return Sizes.of(self._codec.sizes(self._pieces[i]) for i in self._each("measuring pieces"))

    def _facts(self) -> MetadataTable:
        return MetadataTable.of(
            describe(self._pieces.notes(i)) for i in self._each("indexing pieces")
        )

    def _each(self, what: str) -> Any:
        return tqdm(range(len(self._pieces)), what, unit=" pieces", delay=1)
