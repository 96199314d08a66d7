"""What is measured once of a dataset's pieces and kept beside the shards.

The token counts of bars (``sizes/``, for each codec and split) and the facts that a selection goes
by (``facts/``, for each split).
"""

from __future__ import annotations

import logging
import os
import uuid
import zipfile
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from etils import epath

from jaxmusic.data import facts
from jaxmusic.data.facts import Index
from jaxmusic.data.packing import Sizes

T = TypeVar("T", Sizes, Index)


def save(folder: epath.Path, split: str, fingerprint: str, sizes: Sizes) -> None:
    """Keeps sizes."""
    _save(_sizes(folder, split, fingerprint), sizes)


def save_index(folder: epath.Path, split: str, index: Index) -> None:
    """Keeps an index."""
    _save(_facts(folder, split), index)


def measured(
    folder: epath.Path, split: str, fingerprint: str, measure: Callable[[], Sizes]
) -> Sizes:
    """Sizes as kept for a codec's fingerprint, or measured now and kept."""
    return _kept(Sizes, _sizes(folder, split, fingerprint), measure)


def indexed(folder: epath.Path, split: str, measure: Callable[[], Index]) -> Index:
    """The index as kept, or measured now and kept."""
    return _kept(Index, _facts(folder, split), measure)


def _kept(kind: Callable[..., T], path: epath.Path, measure: Callable[[], T]) -> T:
    """Arrays as kept, or measured now and kept where the folder can be written to."""
    if (found := _load(kind, path)) is not None:
        return found
    found = measure()
    try:
        _save(path, found)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "the %s of %s cannot be kept and will be measured again: %s",
            "token counts" if isinstance(found, Sizes) else "facts",
            os.fspath(path.parent.parent),
            error,
        )
    return found


def _load(kind: Any, path: epath.Path) -> Any:
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return kind(*(arrays[name] for name in kind._fields))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # a damaged cache is measured again


def _save(path: epath.Path, arrays: Sizes | Index) -> None:
    """Writes beside and renames, so that no reader finds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with beside.open("wb") as file:
            np.savez(file, **arrays._asdict())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)


def _sizes(folder: epath.Path, split: str, fingerprint: str) -> epath.Path:
    return folder / "sizes" / f"{fingerprint}-{split}.npz"


def _facts(folder: epath.Path, split: str) -> epath.Path:
    return folder / "facts" / f"{facts.VERSION}-{split}.npz"
