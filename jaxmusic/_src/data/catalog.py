"""The catalog: where prepared datasets lie, which versions there are, and opening one.

A dataset is the folder ``DATA_DIR/NAME/notes/VERSION`` that TFDS reads, with a ``summary.json``
beside its shards. It comes into being by one rename, so a folder that is there is whole. In a
bucket the summary is written last, and what has none does not count.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

from etils import epath

from jaxmusic._src.core import outside, paths
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import local_cache, record
from jaxmusic.config.fields import COUNT

CONFIG = "notes"
SUMMARY = "summary.json"
REMEDY = "Restore the original file, or prepare the dataset again"
"""What to do where a file of a dataset is damaged."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


_Counts = dict[str, Annotated[int, COUNT]]


class _Said(TypedDict):
    """What a summary says, see `data.summary.Summary`; older ones say less."""

    name: NotRequired[str]
    version: NotRequired[str]
    fingerprint: str
    content: str
    files: NotRequired[int]
    pieces: NotRequired[int]
    songs: NotRequired[int]
    skipped: NotRequired[_Counts]
    splits: _Counts
    split_notes: dict[str, int]
    notes: NotRequired[int]
    tokens: NotRequired[int]
    hours: NotRequired[float]
    fill: NotRequired[float]
    grids: NotRequired[_Counts]
    file_error_ms: NotRequired[float]
    error_ms: NotRequired[float]
    losses: NotRequired[_Counts]
    off_grid: NotRequired[int]
    refused: NotRequired[int]
    empty_tracks: NotRequired[int]
    unknown_labels: NotRequired[int]
    styles: list[str]
    licence: NotRequired[str]
    citation: NotRequired[str]


class Dataset(NamedTuple):
    """A prepared dataset.

    Attributes:
      name: its name.
      version: e.g. ``1.0.0``; the first number is the format of its records.
      path: its folder.
      summary: what its ``summary.json`` says.
    """

    name: str
    version: str
    path: epath.Path
    summary: dict[str, Any]

    @property
    def styles(self) -> tuple[str, ...]:
        """Styles that its pieces have, sorted."""
        return tuple(self.summary["styles"])

    @property
    def splits(self) -> dict[str, int]:
        """Number of pieces of each split."""
        return self.summary["splits"]


def check_name(name: str) -> str:
    """Returns the name if it is a valid name of a dataset."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"A dataset cannot be called {name!r}: use small letters, digits and _, a letter first."
        )
    return name


def root(data_dir: str) -> epath.Path:
    """Returns the folder that holds datasets, on local disk or in a bucket."""
    if paths.in_bucket(data_dir):
        return paths.absolute(data_dir)
    return epath.Path(data_dir).expanduser()


def versions(name: str, data_dir: str) -> list[str]:
    """Versions of a dataset, the oldest first."""
    folder = root(data_dir) / name / CONFIG
    found = [name for name in _listed(folder) if _VERSION.fullmatch(name)]
    whole = [v for v in found if (folder / v / SUMMARY).exists()]
    return sorted(whole, key=_numbers)


def names(data_dir: str) -> list[str]:
    """Names the datasets in a folder."""
    home = root(data_dir)
    return sorted(n for n in _listed(home) if _NAME.fullmatch(n) and versions(n, data_dir))


def next_version(existing: list[str]) -> str:
    """Returns the version after the latest one of the present record format."""
    last = [_numbers(v) for v in existing if _numbers(v)[0] == record.FORMAT]
    return f"{record.FORMAT}.0.0" if not last else f"{record.FORMAT}.0.{max(last)[2] + 1}"


def open_dataset(dataset: str, data_dir: str) -> Dataset:
    """Opens a dataset; one in a bucket is first copied to this machine, see `local_cache`.

    Args:
      dataset: its name, for the latest version, or ``name:version``.
      data_dir: the folder that holds datasets.

    Raises:
      UserError: there is none of that name or version, or this library cannot read it.
    """
    name, _, version = dataset.partition(":")
    check_name(name)
    with paths.explained(root(data_dir)):
        have = versions(name, data_dir)
        if not have:
            others = ", ".join(names(data_dir)) or "none"
            raise UserError(
                f"There is no dataset {name!r} in {data_dir}: prepare it first, or name one that "
                f"is there ({others})."
            )
        if version and version not in have:
            raise UserError(
                f"There is no version {version} of dataset {name!r}: it has {', '.join(have)}."
            )
        version = version or have[-1]
        if _numbers(version)[0] != record.FORMAT:
            raise UserError(
                f"Dataset {name}:{version} has another record format than this jaxmusic reads "
                f"({record.FORMAT}): prepare it again."
            )
        path = root(data_dir) / name / CONFIG / version
        if paths.in_bucket(path):
            path = local_cache.fetch(path, SUMMARY)
        return Dataset(name, version, path, summary(path))


def summary(folder: epath.Path) -> dict[str, Any]:
    """Reads the summary of a dataset in a folder; raises UserError where it is damaged."""
    return outside.read(folder / SUMMARY, _Said, REMEDY)


def _listed(folder: epath.Path) -> list[str]:
    """Lists the names in a folder, none if it is no folder; raises OSError if a bucket refuses."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in version.split("."))
