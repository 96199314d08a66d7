"""What is measured once of a dataset's pieces and kept beside the shards.

The token counts of bars (``sizes/``, for each codec and split) and the metadata by which pieces are
selected (``facts/``, for each split).
"""

from __future__ import annotations

import logging
import uuid
import zipfile
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from etils import epath

from jaxmusic._src.data import metadata
from jaxmusic._src.data.metadata import MetadataTable
from jaxmusic._src.data.packing import Sizes

T = TypeVar("T", Sizes, MetadataTable)


def sizes_file(folder: epath.Path, split: str, fingerprint: str) -> epath.Path:
    """Returns where the sizes of a split are kept for a codec's fingerprint."""
    return folder / "sizes" / f"{fingerprint}-{split}.npz"


def facts_file(folder: epath.Path, split: str) -> epath.Path:
    """Returns where the index of a split is kept."""
    return folder / "facts" / f"{metadata.VERSION}-{split}.npz"


def kept(path: epath.Path, kind: type[T], measure: Callable[[], T]) -> T:
    """Arrays as kept, or measured now and kept where the folder can be written to."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return kind(**{name: arrays[name] for name in kind._fields})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        found = measure()  # there is no file, or it is damaged
    try:
        save(path, found)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "%s cannot be kept and will be measured again: %s", path, error
        )
    return found


def save(path: epath.Path, arrays: Sizes | MetadataTable) -> None:
    """Writes beside and renames, so that no reader finds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with beside.open("wb") as file:
            np.savez(file, **arrays._asdict())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
