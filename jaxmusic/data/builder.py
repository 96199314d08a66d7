"""The builder: music files or pieces in, a sharded dataset and a summary out."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath
from tqdm import tqdm

from jaxmusic.config import Data, Prepare
from jaxmusic.data import catalog, measuring, record, songs
from jaxmusic.data.examine import Kept, Skipped, default_codec, examine_piece
from jaxmusic.data.packing import Sizes, plan
from jaxmusic.data.pieces import Pieces
from jaxmusic.data.sources import find
from jaxmusic.data.splits import SPLITS, assign
from jaxmusic.data.summary import Summary
from jaxmusic.data.workers import examine_files
from jaxmusic.data.writing import write_shards
from jaxmusic.errors import UserError
from jaxmusic.notes import Notes

PREPARATION = 2
"""Raised when reading, aligning or cleaning change so that datasets should be made again."""
_BUILDING = ".building"
_NOT_CONTENT = ("data_dir", "workers", "file_timeout")
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("No space left on device", "Not enough disk space")  # ArrayRecord's, TFDS's

Outcomes = Iterable[tuple[str, Kept | Skipped]]


def prepare(
    sources: Sequence[str | os.PathLike[str]], config: Prepare, progress: bool = True
) -> Summary:
    """Makes a dataset of all MIDI files in folders, globs and paths.

    Files that cannot be used are skipped, counted and named in a report. Copies are left out, and
    versions of one song share a split. With the same files and options as the latest version
    nothing is done; with others the next version is made beside it. The dataset appears as a
    whole at the end, or not at all.

    Args:
      sources: folders (searched at all depths), globs and files.
      config: options.
      progress: show progress bars.

    Raises:
      UserError: there is nothing to read or keep, or nowhere to write.
    """
    _check(config)
    files = find(sources, progress)
    stamps = [(f.name, f.size, f.modified) for f in files]
    fingerprint = _fingerprint(config, stamps)
    with _folder(config) as folder:
        if (same := _prepared(config, fingerprint)) is not None:
            return same
        examined = examine_files(files, config)
        with contextlib.closing(examined), _Build(folder, config) as build:
            outcomes = ((file.name, outcome) for file, outcome in examined)
            build.collect(outcomes, len(files), progress)
            return build.finish(fingerprint, progress)


def prepare_pieces(
    pieces: Iterable[Notes], config: Prepare, total: int | None = None, progress: bool = True
) -> Summary:
    """Makes a dataset of aligned pieces, in the way of `prepare`.

    Args:
      pieces: aligned pieces with their labels.
      config: options.
      total: number of pieces, for the progress bar.
      progress: show progress bars.
    """
    _check(config)
    codec = default_codec(config)
    names = (f"piece {i + 1:06}" for i, _ in enumerate(iter(int, 1)))
    outcomes = ((name, examine_piece(n, name, config, codec)) for n, name in zip(pieces, names))
    with _folder(config) as folder, _Build(folder, config) as build:
        build.collect(outcomes, total, progress)
        fingerprint = _fingerprint(config, [build.content()])
        return _prepared(config, fingerprint) or build.finish(fingerprint, progress)


def _check(config: Prepare) -> None:
    catalog.check_name(config.name)
    if min(config.validation, config.test) < 0 or config.validation + config.test >= 1:
        raise UserError(
            f"validation {config.validation} and test {config.test} leave nothing to train on: "
            "give shares that add up to less than 1."
        )
    if config.no_grid not in ("skip", "keep"):
        raise UserError(f"no_grid must be skip or keep, not {config.no_grid!r}.")
    if config.workers < 0 or config.file_timeout <= 0:
        raise UserError("workers must be 0 or more and file_timeout above 0.")


def _fingerprint(config: Prepare, inputs: list) -> str:
    options = dataclasses.asdict(config)
    for name in _NOT_CONTENT:
        del options[name]
    text = json.dumps([record.FORMAT, PREPARATION, options, inputs])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _prepared(config: Prepare, fingerprint: str) -> Summary | None:
    """The summary of the latest version if it was made from the same."""
    have = catalog.versions(config.name, config.data_dir)
    if not have:
        return None
    folder = epath.Path(config.data_dir).expanduser() / config.name / catalog.CONFIG / have[-1]
    values = json.loads((folder / catalog.SUMMARY).read_text())
    if values["fingerprint"] != fingerprint:
        return None
    report = folder / _Build.REPORT
    return Summary.from_dict(values, str(folder), str(report) if report.exists() else "")


@contextlib.contextmanager
def _folder(config: Prepare) -> Iterator[epath.Path]:
    """The dataset's folder, made and locked; what goes wrong with disks becomes a sentence."""
    folder = epath.Path(config.data_dir).expanduser() / config.name
    if "://" in str(folder):
        raise UserError(
            f"A dataset is prepared on a local disk: set data_dir to a folder and copy it to "
            f"{config.data_dir} afterwards."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = catalog.locked(folder)
        lock.__enter__()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to ({error.strerror}): set data_dir to another folder."
        ) from error
    try:
        yield folder
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in _FULL_DISK
        if full or any(words in str(error) for words in _FULL_WORDS):
            raise UserError(
                f"The disk that holds {config.data_dir} is full: free some space and run it again."
            ) from error
        raise
    finally:
        lock.__exit__(None, None, None)


class _Build:
    """One preparation: pieces are first gathered in a file, then split and written."""

    REPORT = "skipped.tsv"

    def __init__(self, folder: epath.Path, config: Prepare):
        self.folder = folder
        self.config = config
        self.skipped: list[tuple[str, Skipped]] = []
        self.first: dict[str, str] = {}
        self.offsets: list[int] = []
        self.signatures: list[np.ndarray] = []
        self.names: list[str] = []
        self.sizes: list[np.ndarray] = []
        self.notes: list[int] = []
        self.summary = Summary(name=config.name)
        self.hash = hashlib.sha256()

    def __enter__(self) -> _Build:
        for leftover in self.folder.glob(f"{_BUILDING}*"):
            shutil.rmtree(leftover)  # of a run that was killed: the lock says that none is alive
        self.temporary = self.folder / f"{_BUILDING}-{os.getpid()}"
        self.temporary.mkdir()
        self.spool = open(self.temporary / "spool", "w+b")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # closing a file on a full disk fails once more
            self.spool.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def collect(self, outcomes: Outcomes, total: int | None, progress: bool) -> None:
        """Takes in every outcome; raises UserError if no piece is kept."""
        bar = tqdm(outcomes, "reading music", total, disable=not progress, unit=" files")
        for name, outcome in bar:
            self.summary.files += 1
            if isinstance(outcome, Kept):
                self._keep(name, outcome)
            else:
                self.skipped.append((name, outcome))
        counts = collections.Counter(s.reason for _, s in self.skipped)
        self.summary.skipped = dict(counts)
        if not self.offsets:
            reasons = ", ".join(f"{n} {reason}" for reason, n in counts.most_common()) or "none"
            raise UserError(
                f"None of the {self.summary.files} files can be used ({reasons}): "
                "give other files or change the options."
            )

    def _keep(self, name: str, kept: Kept) -> None:
        if kept.content in self.first:
            first = self.first[kept.content]
            self.skipped.append((name, Skipped("copy of another file", f"duplicate of {first}")))
            return
        self.first[kept.content] = name
        self.offsets.append(self.spool.tell())
        self.spool.write(pickle.dumps(kept.example))
        self.signatures.append(kept.signature)
        self.names.append(kept.example["song"])
        self.sizes.append(kept.sizes)
        self.notes.append(len(kept.example["pitch"]))
        _hash(self.hash, kept.example)
        fit = record.fit_of(kept.example)
        s = self.summary
        s.pieces += 1
        s.notes += self.notes[-1]
        s.tokens += kept.tokens
        s.hours += kept.seconds / 3600
        s.losses = s.losses + kept.losses
        s.off_grid += kept.off_grid
        s.error_ms += (fit.error_ms - s.error_ms) / s.pieces
        s.file_error_ms += (fit.file_error_ms - s.file_error_ms) / s.pieces
        s.grids[fit.source] = s.grids.get(fit.source, 0) + 1
        s.styles = sorted({*s.styles, *kept.example["styles"]})

    def content(self) -> str:
        """Hash of the pieces kept so far."""
        return self.hash.hexdigest()

    def finish(self, fingerprint: str, progress: bool) -> Summary:
        """Splits and writes what was collected, and lets it appear under its version."""
        s = self.summary
        song = songs.group(list(self.first), self.signatures, self.names)
        split = assign(song, self.config.validation, self.config.test)
        members = {name: [i for i, x in enumerate(split) if x == name] for name in SPLITS}
        members = {name: rows for name, rows in members.items() if rows}
        s.splits = {name: len(rows) for name, rows in members.items()}
        s.split_notes = {name: sum(self.notes[i] for i in rows) for name, rows in members.items()}
        s.songs = len(set(song))
        s.version = catalog.next_version(catalog.versions(s.name, self.config.data_dir))
        s.fingerprint = fingerprint
        self.hash.update(json.dumps([song, split]).encode())
        s.content = self.content()
        bar = tqdm(total=s.pieces, desc="writing pieces", disable=not progress, unit=" pieces")

        def examples(rows: list[int]) -> Iterator[dict[str, Any]]:
            for i in rows:
                self.spool.seek(self.offsets[i])
                yield pickle.load(self.spool) | {"song": song[i]}
                bar.update()

        with bar:
            shards = write_shards(
                self.temporary,
                s.name,
                s.version,
                {name: functools.partial(examples, rows) for name, rows in members.items()},
            )
        codec = default_codec(self.config)
        for name, rows in members.items():
            self._read_back(shards, name, rows)
            sizes = Sizes.of(self.sizes[i] for i in rows)
            measuring.save(shards, name, codec.fingerprint, sizes)
            if name == "train":
                s.fill = plan(sizes, Data.context, epoch=0).fill(Data.context)
        if self.skipped:
            lines = ["file\treason\tdetail", *(_line(name, skip) for name, skip in self.skipped)]
            report = "\n".join(lines) + "\n"
            (shards / self.REPORT).write_bytes(report.encode("utf-8", "surrogateescape"))
        (shards / catalog.SUMMARY).write_text(s.to_json())
        final = self.folder / catalog.CONFIG / s.version
        final.parent.mkdir(exist_ok=True)
        os.rename(shards, final)
        s.path = str(final)
        s.report = str(final / self.REPORT) if self.skipped else ""
        return s

    def _read_back(self, shards: epath.Path, split: str, rows: list[int]) -> None:
        """Raises OSError if a shard does not hold what was written, as on a failing disk."""
        store = Pieces(shards, split, default_codec(self.config))
        try:
            good = [len(example["pitch"]) for example in map(store.example, range(len(store)))]
        except Exception as error:
            raise OSError(errno.EIO, f"the {split} shards cannot be read back") from error
        if good != [self.notes[i] for i in rows]:
            raise OSError(errno.EIO, f"the {split} shards do not hold what was written")


def _line(name: str, skip: Skipped) -> str:
    return "\t".join(" ".join(text.split()) for text in (name, skip.reason, skip.detail))


def _hash(state: Any, example: dict[str, Any]) -> None:
    for name, value in sorted(example.items()):
        data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        state.update(f"{name} {len(data)} ".encode() + data)
