"""The builder: music files or pieces in, a sharded dataset and a summary out."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

from etils import epath
from tqdm.auto import tqdm

from jaxmusic._src.core import locks, paths
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import (
    catalog,
    dataset_labels,
    datasets,
    local_cache,
    record,
    selection,
    songs,
)
from jaxmusic._src.data.assembly import REPORT, Assembly
from jaxmusic._src.data.examine import examine_piece
from jaxmusic._src.data.sources import MusicFile, find
from jaxmusic._src.data.summary import Summary
from jaxmusic._src.data.workers import examine_files
from jaxmusic._src.formats import rolls
from jaxmusic._src.music.notes import Notes
from jaxmusic.config import Prepare

PREPARATION = 5
"""Raised when reading, aligning or cleaning change so that datasets should be made again."""
_NAME = "music"
"""A dataset's name if it is given none."""
_NOT_CONTENT = ("data_dir", "workers", "file_timeout", "manual_dir", "labels", "beam_runner")
_LATER = ("keep_splits", "json_step")
"""Options that came later: at their defaults a dataset is what it was without them."""
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("No space left on device", "Not enough disk space")  # ArrayRecord's, TFDS's


def prepare(
    sources: Sequence[str | os.PathLike[str]], config: Prepare, progress: bool = True
) -> Summary:
    """Makes a dataset of a named dataset's music, or of all MIDI files in folders, globs and paths.

    Files that cannot be used are skipped, counted and named in a report. Copies are left out, and
    versions of one song share a split. With the same files and options as the latest version
    nothing is done; with others the next version is made beside it. The dataset appears as a
    whole at the end, or not at all.

    Args:
      sources: the name of one of `datasets.DATASETS`, or folders (searched at all depths), globs
        and files.
      config: options.
      progress: show progress bars, and the licence of a named dataset.

    Raises:
      UserError: there is nothing to read or keep, or nowhere to write.
    """
    if isinstance(sources, (str, os.PathLike)):
        sources = [sources]
    dataset = datasets.named(sources)
    config = dataclasses.replace(config, name=config.name or dataset or _NAME)
    _check(config)
    if config.manual_dir and not dataset:
        names = ", ".join(datasets.DATASETS)
        raise UserError(f"--manual-dir holds a named dataset: name one of {names}.")
    files = [] if dataset else dataset_labels.with_steps(find(sources, progress), config.json_step)
    if dataset:
        _announce(dataset, progress)
    with _folder(config) as folder:
        if dataset:
            here = dataclasses.replace(config, data_dir=os.fspath(_workshop(config)))
            files = datasets.files_of(dataset, here, progress)
        if config.style_from_folders:
            files = dataset_labels.from_folders(files)
        unknown = 0
        if config.labels:
            files, unknown = dataset_labels.from_csv(config.labels, files)
        fingerprint = _fingerprint(config, files)
        if (same := _prepared(config, fingerprint)) is not None:
            return same
        with Assembly(folder, config) as assembly:
            assembly.summary.unknown_labels = unknown
            if dataset:
                assembly.summary.licence = datasets.DATASETS[dataset].notice
                assembly.summary.citation = datasets.DATASETS[dataset].citation
            if config.beam_runner:
                from jaxmusic._src.data import beam

                examined = beam.examine_files(files, config, assembly.temporary)
            else:
                examined = examine_files(files, config)
            with contextlib.closing(examined):
                outcomes = ((file.name, outcome) for file, outcome in examined)
                assembly.collect(outcomes, len(files), progress)
            return _published(assembly.finish(fingerprint, progress), config, progress)


def prepare_pieces(
    pieces: Iterable[Notes], config: Prepare, total: int | None = None, progress: bool = True
) -> Summary:
    """Makes a dataset of aligned pieces with their labels, `total` in all, as `prepare` does."""
    config = dataclasses.replace(config, name=config.name or _NAME)
    _check(config)
    named = ((f"piece {i:06}", notes) for i, notes in enumerate(pieces, start=1))
    outcomes = ((name, examine_piece(notes, name, config)) for name, notes in named)
    with _folder(config) as folder, Assembly(folder, config) as assembly:
        assembly.collect(outcomes, total, progress)
        fingerprint = _fingerprint(config, [assembly.content()])
        if (same := _prepared(config, fingerprint)) is not None:
            return same
        return _published(assembly.finish(fingerprint, progress), config, progress)


def _check(config: Prepare) -> None:
    catalog.check_name(config.name)
    held_out = config.validation, config.test
    if round(sum(held_out), 9) > 1:
        raise UserError(
            f"Give --validation and --test shares that add up to at most 1, not {held_out[0]:g} "
            f"and {held_out[1]:g}."
        )
    if config.keep_splits and songs.leaves_none(*held_out):
        raise UserError(
            "Leave out --keep-splits, or give --validation and --test less than 1 in all: with 1 "
            "official splits do not count."
        )
    if config.json_step and config.json_step not in rolls.STEPS:
        raise UserError(f"Set --json-step to {', '.join(rolls.STEPS)}, not {config.json_step!r}.")
    if config.off_grid not in ("skip", "keep"):
        raise UserError(f"off_grid must be skip or keep, not {config.off_grid!r}.")
    selection.parse(config.where)


def _announce(dataset: str, progress: bool) -> None:
    """Says where a dataset comes from and under which licence, and warns of one that forbids."""
    known = datasets.DATASETS[dataset]
    if progress:
        tqdm.write(f"{dataset}: {known.title}\nlicence: {known.notice}\ncite: {known.citation}")
    if not known.commercial:
        logging.getLogger(__name__).warning(
            "The licence of %s (%s) forbids commercial use.",
            dataset,
            known.licence,
        )


def _fingerprint(config: Prepare, inputs: Iterable[object]) -> str:
    options = dataclasses.asdict(config)
    for name in _NOT_CONTENT:
        del options[name]
    for name in _LATER:
        if options[name] == getattr(Prepare, name):
            del options[name]
    state = hashlib.sha256(json.dumps([record.FORMAT, PREPARATION, options]).encode())
    for item in inputs:
        stamp = _stamp(item) if isinstance(item, MusicFile) else item
        state.update(json.dumps(stamp).encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _stamp(file: MusicFile) -> list[object]:
    """Describes a file and its labels, to find out whether they have changed."""
    known = file.known
    beside = [os.stat(p) for p in (known.beats, known.chords, known.keys) if p]
    labels = [known.styles, known.song, known.split, known.ticks_per_beat]
    times = [(status.st_size, status.st_mtime_ns) for status in beside]
    return [file.name, file.size, file.modified, labels, times]


def _prepared(config: Prepare, fingerprint: str) -> Summary | None:
    """Returns the summary of the latest version if it was made from the same files and settings."""
    have = catalog.versions(config.name, config.data_dir)
    if not have:
        return None
    folder = catalog.root(config.data_dir) / config.name / catalog.CONFIG / have[-1]
    values = catalog.summary(folder)
    if values["fingerprint"] != fingerprint:
        return None
    report = folder / REPORT
    return Summary.from_dict(values, str(folder), str(report) if report.exists() else "")


def _workshop(config: Prepare) -> epath.Path:
    """Returns the local folder in which datasets are made."""
    if paths.in_bucket(config.data_dir):
        return local_cache.workshop(config.data_dir)
    return epath.Path(config.data_dir).expanduser()


def _published(summary: Summary, config: Prepare, progress: bool) -> Summary:
    """Publishes a built dataset to its final folder."""
    if not paths.in_bucket(config.data_dir):
        return summary
    folder = epath.Path(summary.path)
    home = catalog.root(config.data_dir) / summary.name / catalog.CONFIG / summary.version
    local_cache.publish(folder, home, catalog.SUMMARY, progress)
    summary.path = str(home)
    summary.report = str(home / REPORT) if summary.report else ""
    return summary


@contextlib.contextmanager
def _folder(config: Prepare) -> Iterator[epath.Path]:
    """Makes and locks the dataset's folder; turns errors of the disk into a UserError."""
    folder = _workshop(config) / config.name
    busy = f"Dataset {config.name!r} is being prepared by another process: wait for it to end."
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locks.held(folder / ".lock", busy))
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written to ({error.strerror}): set data_dir to another folder."
            ) from error
        try:
            with paths.explained(catalog.root(config.data_dir)):
                if paths.in_bucket(config.data_dir):
                    (folder / catalog.CONFIG).rmtree(missing_ok=True)  # of a run that was killed
                yield folder
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in _FULL_DISK
            if full or any(words in str(error) for words in _FULL_WORDS):
                raise UserError(
                    f"Free some space on the disk that holds {config.data_dir}, which is full, "
                    "and run it again."
                ) from error
            raise
