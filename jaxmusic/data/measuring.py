"""Token counts of a dataset's bars, measured once for each codec and kept beside the shards."""

from __future__ import annotations

import logging
import os
import uuid
import zipfile
from collections.abc import Callable

import numpy as np
from etils import epath

from jaxmusic.data.packing import Sizes


def load(folder: epath.Path, split: str, fingerprint: str) -> Sizes | None:
    """Sizes kept for a codec's fingerprint, or None."""
    path = _path(folder, split, fingerprint)
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Sizes(*(arrays[name] for name in Sizes._fields))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # a damaged cache is measured anew


def save(folder: epath.Path, split: str, fingerprint: str, sizes: Sizes) -> None:
    """Keeps sizes; written beside and renamed, so that no reader finds half a file."""
    path = _path(folder, split, fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with beside.open("wb") as file:
            np.savez(file, **sizes._asdict())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)


def measured(
    folder: epath.Path, split: str, fingerprint: str, measure: Callable[[], Sizes]
) -> Sizes:
    """Sizes as kept, or measured now and kept where the folder can be written to."""
    if (sizes := load(folder, split, fingerprint)) is not None:
        return sizes
    sizes = measure()
    try:
        save(folder, split, fingerprint, sizes)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "the token counts of %s cannot be kept and will be measured again: %s",
            os.fspath(folder),
            error,
        )
    return sizes


def _path(folder: epath.Path, split: str, fingerprint: str) -> epath.Path:
    return folder / "sizes" / f"{fingerprint}-{split}.npz"
