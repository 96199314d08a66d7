"""What a run, or a file exported from one, says about its model: read without JAX."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from etils import epath

from jaxmusic._src.codecs.registry import read_codec
from jaxmusic._src.core import outside, paths
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.formats.instruments import HeardCounts, heard
from jaxmusic._src.runs import folder as runs

SUFFIX = ".safetensors"
"""Of exported files."""
FORMAT = "1"
"""Version of exported files."""


class _Header(TypedDict):
    experiment: str
    codec: str
    styles: str
    controls: str
    step: str


class _Array(TypedDict):
    data_offsets: tuple[int, int]


def described(source: str | epath.PathLike) -> runs.Stored:
    """Reads what a run or a safetensors file says about the model.

    A file tells neither the dataset's version nor its folder; the folder is the usual one then.

    Raises:
      UserError: there is no such run or file, or it says nothing of the kind.
    """
    path = runs.folder(source)
    if path.suffix != SUFFIX:
        return runs.read(path)
    return of_header(path, _metadata(path))


def _metadata(path: epath.Path) -> Mapping[str, str]:
    """Reads the metadata of a safetensors file without its arrays, which a bucket need not send."""
    _check_there(path)
    with paths.explained(path), path.open("rb") as file:
        size, length = path.stat().length, int.from_bytes(file.read(8), "little")
        head = file.read(length) if length < size else b""
    again = f"Bring the whole of {path} again"
    header = outside.parse(head, dict[str, dict[str, Any]], "its header", again)
    metadata = outside.checked(header.pop("__metadata__", {}), dict[str, str], "it", again)
    arrays = outside.checked(header, dict[str, _Array], "its header", again).values()
    if 8 + length + max((array["data_offsets"][1] for array in arrays), default=0) != size:
        raise UserError(f"{again}: it has {size:,} bytes, which is not what its header says.")
    return metadata


def _check_there(path: epath.Path) -> None:
    if path.is_dir() or not path.exists():
        raise UserError(f"Name a file that jaxmusic export wrote: there is no file {path}.")


@contextlib.contextmanager
def opened(path: epath.Path) -> Iterator[Any]:
    """Opens a safetensors file, which may lie in a bucket."""
    from safetensors import SafetensorError, safe_open

    _check_there(path)
    with paths.read(path) as local:
        try:
            file = safe_open(local, framework="np")
        except SafetensorError as error:
            raise UserError(
                f"Bring the whole of {path} again: it is no safetensors file, or a part of one "
                f"({error})."
            ) from error
        with file:
            yield file


def of_header(path: epath.Path, header: Mapping[str, str]) -> runs.Stored:
    """Reads what the header of a file says about the model; the hash of its data is not there."""
    if header.get("format") != "jaxmusic":
        raise UserError(
            f"Name a file that jaxmusic export wrote: {path} does not say what model it holds."
        )
    if header.get("version") != FORMAT:
        raise UserError(
            f"Use a newer jaxmusic: {path} is of version {header.get('version')!r} and this "
            f"one reads version {FORMAT}."
        )
    parts = outside.checked(header, _Header, path)
    experiment = runs.read_settings(parts["experiment"], path)
    codec = read_codec(parts["codec"], path)
    styles, controls = (
        tuple(outside.parse(parts[name], list[str], f"{path}, {name},"))
        for name in ("styles", "controls")
    )
    counts = outside.parse(header.get("heard", "null"), HeardCounts | None, f"{path}, heard,")
    return runs.Stored(
        experiment, codec, experiment.data.dataset, "", styles, controls, heard(counts)
    )


def check_name(out: str | epath.PathLike) -> epath.Path:
    """Returns the path of a file to export to; raises UserError where its name says otherwise."""
    target = paths.absolute(out)
    if target.suffix != SUFFIX:
        raise UserError(f"Name a file that ends in {SUFFIX}, not {out}.")
    return target
