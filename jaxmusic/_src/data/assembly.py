"""Assembling a dataset: examined pieces in, shards that appear as a whole out."""

from __future__ import annotations

import collections
import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import pickle
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath
from tqdm.auto import tqdm

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import cached_statistics, catalog, cleaning, record, songs
from jaxmusic._src.data.cleaning import Reason, Skipped
from jaxmusic._src.data.examine import Kept, default_codec
from jaxmusic._src.data.metadata import Metadata, MetadataTable
from jaxmusic._src.data.packing import Sizes, plan
from jaxmusic._src.data.pieces import Pieces
from jaxmusic._src.data.songs import SPLITS
from jaxmusic._src.data.summary import Summary
from jaxmusic.config import Data, Prepare

REPORT = "skipped.tsv"
_BUILDING = ".building"

Outcomes = Iterable[tuple[str, Kept | Skipped]]


class Assembly:
    """Gathers the pieces of one preparation in a file, then splits and writes them.

    Memory holds the signature of each piece and a few numbers: under 10 kB. All else
    is on disk.
    """

    def __init__(self, folder: epath.Path, config: Prepare):
        self.folder = folder
        self.config = config
        self.first: dict[str, str] = {}
        self.contents: list[str] = []
        self.files: list[str] = []
        self.offsets: list[int] = []
        self.signatures: list[np.ndarray] = []
        self.names: list[str] = []
        self.official: list[str] = []
        self.notes: list[int] = []
        self.summary = Summary(name=config.name)
        self.skipped: collections.Counter[str] = collections.Counter()
        self.example: dict[str, str] = {}
        self.hash = hashlib.sha256()

    def __enter__(self) -> Assembly:
        for leftover in self.folder.glob(f"{_BUILDING}*"):
            shutil.rmtree(leftover)  # of a run that was killed: the lock says that none is alive
        self.temporary = self.folder / f"{_BUILDING}-{os.getpid()}"
        self.temporary.mkdir()
        self.spool = open(self.temporary / "spool", "w+b")
        self.report = open(self.temporary / REPORT, "wb")
        self.report.write(b"file\treason\tdetail\n")
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.spool, self.report):
            with contextlib.suppress(OSError):  # closing a file on a full disk fails once more
                file.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def collect(self, outcomes: Outcomes, total: int | None, progress: bool) -> None:
        """Gathers kept pieces and counts skipped ones; raises UserError if none is kept."""
        bar = tqdm(outcomes, "reading music", total, disable=not progress, unit=" files")
        for name, outcome in bar:
            self.summary.files += 1
            if isinstance(outcome, Kept):
                self._keep(name, outcome)
            else:
                self._skip(name, outcome)
        if not self.offsets:
            if not self.skipped:
                raise UserError("There are no pieces to prepare: give at least one.")
            reasons = "; ".join(
                f"{n} {cleaning.with_remedy(reason)}, such as {self.example[reason]}"
                for reason, n in self.skipped.most_common()
            )
            raise UserError(f"None of the {self.summary.files} files can be used: {reasons}.")

    def _keep(self, name: str, kept: Kept) -> None:
        # With nothing to train on there is nothing to hold out from it.
        whole = songs.leaves_none(self.config.validation, self.config.test)
        official = "" if whole else kept.split
        if kept.content in self.first and not (official and self.config.keep_splits):
            first = self.first[kept.content]
            self.summary.left_split += bool(official)
            self._skip(name, Skipped(Reason.COPY, f"duplicate of {first}"))
            return
        self.first.setdefault(kept.content, name)
        self.contents.append(kept.content)
        self.files.append(name)
        self.offsets.append(self.spool.tell())
        rest = kept._replace(signature=np.zeros(0, np.uint8), content="", digest=b"")
        pickle.dump(rest, self.spool, pickle.HIGHEST_PROTOCOL)
        self.signatures.append(kept.signature)
        self.names.append(kept.song)
        self.official.append(official)
        self.notes.append(kept.metadata.notes)
        self.hash.update(kept.digest)

    def _skip(self, name: str, skip: Skipped) -> None:
        self.skipped[skip.reason] += 1
        self.example.setdefault(skip.reason, f"{name}: {skip.detail}".rstrip(".: "))
        line = "\t".join(" ".join(text.split()) for text in (name, skip.reason, skip.detail))
        self.report.write(line.encode("utf-8", "surrogateescape") + b"\n")

    def content(self) -> str:
        """Returns the hash of the pieces kept so far."""
        return self.hash.hexdigest()

    def finish(self, fingerprint: str, progress: bool) -> Summary:
        """Splits and writes the pieces, and publishes them as the next version of the dataset."""
        s = self.summary
        song, split = self._songs()
        members = {name: [i for i, x in enumerate(split) if x == name] for name in SPLITS}
        members = {name: rows for name, rows in members.items() if rows}
        s.splits = {name: len(rows) for name, rows in members.items()}
        s.split_notes = {name: sum(self.notes[i] for i in rows) for name, rows in members.items()}
        s.songs = len({name for name, where in zip(song, split) if where})
        s.version = catalog.next_version(catalog.versions(s.name, self.config.data_dir))
        s.fingerprint = fingerprint
        self.hash.update(json.dumps([song, split]).encode())
        s.content = self.content()
        shards = self._write(members, song, progress)
        s.skipped = dict(self.skipped)
        self.report.close()
        if self.skipped:
            os.rename(self.temporary / REPORT, shards / REPORT)
        (shards / catalog.SUMMARY).write_text(s.to_json())
        final = self.folder / catalog.CONFIG / s.version
        final.parent.mkdir(exist_ok=True)
        os.rename(shards, final)
        s.path = str(final)
        s.report = str(final / REPORT) if self.skipped else ""
        return s

    def _write(self, members: dict[str, list[int]], song: list[str], progress: bool) -> epath.Path:
        """Writes the pieces of each split, and beside the shards what is measured of them."""
        s = self.summary
        sizes: dict[str, list[np.ndarray]] = {name: [] for name in members}
        about: dict[str, list[Metadata]] = {name: [] for name in members}
        total = sum(s.splits.values())
        bar = tqdm(desc="writing pieces", total=total, disable=not progress, unit=" pieces")

        def examples(name: str) -> Iterator[dict[str, Any]]:
            for i in members[name]:
                self.spool.seek(self.offsets[i])
                kept: Kept = pickle.load(self.spool)
                sizes[name].append(kept.sizes)
                about[name].append(kept.metadata)
                s.count(kept, off_grid=cleaning.is_off_grid(kept.fit, self.config))
                yield kept.example | {"song": song[i]}
                bar.update()

        with bar:
            shards = write_shards(
                self.temporary, s.name, s.version, {name: examples(name) for name in members}
            )
        codec = default_codec(self.config)
        for name, rows in members.items():
            self._read_back(shards, name, rows)
            tokens = Sizes.of(sizes[name])
            cached_statistics.save(
                cached_statistics.sizes_file(shards, name, codec.fingerprint), tokens
            )
            cached_statistics.save(
                cached_statistics.facts_file(shards, name), MetadataTable.of(about[name])
            )
            if name == "train":
                s.fill = plan(tokens, Data.context, epoch=0).fill(Data.context)
        return shards

    def _songs(self) -> tuple[list[str], list[str]]:
        """Returns song and split of each piece; twins of official test pieces have no split."""
        config = self.config
        song = songs.group(self.contents, self.signatures, self.names)
        self.signatures.clear()
        split = songs.assign(song, config.validation, config.test, self.official)
        held_out = {name: file for name, where, file in zip(song, split, self.files) if where}
        for i, official in enumerate(self.official):
            if split[i]:
                continue
            if official and config.keep_splits:
                self.summary.kept_twins += 1
                split[i] = official
                continue
            self.summary.left_split += bool(official)
            detail = f"of {held_out[song[i]]}"
            self._skip(self.files[i], Skipped(Reason.TWIN, detail))
        return song, split

    def _read_back(self, shards: epath.Path, split: str, rows: list[int]) -> None:
        """Raises OSError if a shard does not hold what was written, as on a failing disk."""
        store = Pieces(shards, split, default_codec(self.config), memory=0)
        try:
            good = [len(store.notes(i)) for i in range(len(store))]
        except Exception as error:
            raise OSError(errno.EIO, f"the {split} shards cannot be read back") from error
        if good != [self.notes[i] for i in rows]:
            raise OSError(errno.EIO, f"the {split} shards do not hold what was written")


def write_shards(
    folder: epath.Path, name: str, version: str, splits: Mapping[str, Iterator[dict[str, Any]]]
) -> epath.Path:
    """Writes the records of each split in order; TFDS chooses the number of shards by their size.

    Returns:
      The folder with the shards, inside of `folder`, which is empty at first.
    """
    import tensorflow_datasets as tfds

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """A dataset whose records are at hand."""

        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [  # noqa: RUF012
            tfds.core.BuilderConfig(name=catalog.CONFIG, version=version)
        ]

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Aligned notes of pieces of music, as columns.",
                features=record.features(),
                disable_shuffling=True,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager
            return {split: enumerate(examples) for split, examples in splits.items()}

        def _generate_examples(self) -> Any:
            raise NotImplementedError  # abstract in TFDS; the splits above are generators already

    Builder.name = name
    with _quiet(tfds):
        builder = Builder(
            config=Builder.BUILDER_CONFIGS[0], data_dir=folder, file_format="array_record"
        )
        builder.download_and_prepare()
    return epath.Path(builder.data_dir)


@contextlib.contextmanager
def _quiet(tfds: Any) -> Iterator[None]:
    """Keeps TFDS from speaking of downloads: there is a progress bar already."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
        logger.setLevel(level)
