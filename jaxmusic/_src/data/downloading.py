"""Downloading a dataset's archive and unpacking it; half of one is never used."""

from __future__ import annotations

import os
import pathlib
import shutil
import tarfile
import zipfile
from typing import NamedTuple

from tqdm.auto import tqdm

from jaxmusic._src.core import locks
from jaxmusic._src.core.errors import UserError

FOLDER = "downloads"
_RETRIES = 2
_CHUNK = 1 << 20
_UNPACKING = ".unpacking"
_DOWNLOADING = "tmp"
"""How pooch begins the name of a file that it has not finished."""


class Archive(NamedTuple):
    """A file to download.

    Attributes:
      url: its address.
      sha256: its checksum; None if its makers state none.
    """

    url: str
    sha256: str | None = None


def fetch(name: str, archive: Archive, data_dir: str, progress: bool = True) -> pathlib.Path:
    """Downloads and unpacks an archive into ``DATA_DIR/downloads/NAME``, unless that was done.

    Returns:
      The folder that holds what was in it.

    Raises:
      UserError: it cannot be downloaded or unpacked, or has another checksum.
      OSError: the disk is full, say.
    """
    folder = pathlib.Path(data_dir).expanduser() / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    busy = f"Dataset {name!r} is being downloaded by another process: wait for it to end."
    with locks.held(folder / ".lock", busy):
        _clear(folder)  # what a killed run left: the lock says that none is alive
        whole = folder / "unpacked"
        try:
            if not whole.is_dir():
                path = _download(archive, folder, progress)
                half = folder / f"{_UNPACKING}-{os.getpid()}"
                _unpack(path, half, progress)
                half.rename(whole)
        finally:
            _clear(folder)
        return whole


def _clear(folder: pathlib.Path) -> None:
    """Removes half downloads and what was half unpacked."""
    for left in folder.glob(f"{_UNPACKING}*"):
        shutil.rmtree(left, ignore_errors=True)
    for left in folder.glob(f"{_DOWNLOADING}*"):
        left.unlink()


def _download(archive: Archive, folder: pathlib.Path, progress: bool) -> pathlib.Path:
    import pooch
    import requests

    name = f"archive-{pathlib.PurePosixPath(archive.url).name}"
    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(folder, "", registry={name: archive.sha256}, urls={name: archive.url})
    store.retry_if_failed = _RETRIES
    otherwise = "or download it yourself and name its folder by --manual-dir."
    try:
        downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK)
        return pathlib.Path(store.fetch(name, downloader=downloader))
    except requests.RequestException as error:
        found = error.response
        reason = type(error).__name__ if found is None else f"HTTP code: {found.status_code}"
        raise UserError(
            f"{archive.url} cannot be downloaded ({reason}): run it again when the network is up, "
            f"{otherwise}"
        ) from error
    except ValueError as error:
        raise UserError(
            f"What {archive.url} gives has another checksum than it should have: try again later, "
            f"{otherwise}"
        ) from error


def _unpack(path: pathlib.Path, folder: pathlib.Path, progress: bool) -> None:
    """Unpacks a zip or tar archive."""
    folder.mkdir()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                members = packed.infolist()
                for member in tqdm(members, "unpacking", unit=" files", disable=not progress):
                    packed.extract(member, folder)  # takes .. and / out of names
        else:
            with tarfile.open(path) as packed:
                for entry in tqdm(packed, "unpacking", unit=" files", disable=not progress):
                    packed.extract(entry, folder, filter="data")
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{path} cannot be unpacked ({type(error).__name__}): delete {path.parent} and run it "
            "again."
        ) from error
