"""Downloading a dataset's archive through TFDS, and unpacking it; half of one is never used."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from jaxmusic.core import locks
from jaxmusic.core.errors import UserError

FOLDER = "downloads"
_TRIES = 4  # TFDS's own ten take minutes, in which it says nothing
_UNPACKING = ".unpacking"


class Archive(NamedTuple):
    """A file to download.

    Attributes:
      url: its address.
      sha256: its checksum; empty if its makers state none.
      size: bytes, where the checksum is known.
    """

    url: str
    sha256: str = ""
    size: int = 0


def fetch(name: str, archive: Archive, data_dir: str, progress: bool = True) -> pathlib.Path:
    """Downloads and unpacks an archive into ``DATA_DIR/downloads/NAME``, unless that was done.

    A checksum that is not published is written to ``checksums.tsv`` there at the first download.

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
    for left in (*folder.glob(f"{_UNPACKING}*"), *folder.glob("*.tmp.*")):
        shutil.rmtree(left, ignore_errors=True)


def _download(archive: Archive, folder: pathlib.Path, progress: bool) -> pathlib.Path:
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import checksums, downloader, util

    known = folder / "checksums.tsv"
    known.touch()
    infos = checksums.load_url_infos(known)
    if archive.sha256:
        infos = {archive.url: checksums.UrlInfo(archive.size, archive.sha256, None)}
    with _patient(tfds, downloader, progress):
        manager = tfds.download.DownloadManager(
            download_dir=folder,
            url_infos=infos,
            register_checksums=archive.url not in infos,
            register_checksums_path=known,
        )
        try:
            return pathlib.Path(manager.download(archive.url))
        except tfds.download.download_manager.NonMatchingChecksumError as error:
            raise UserError(
                f"What {archive.url} gives has another checksum than it should have: try again "
                "later, or download it yourself and name its folder by --manual-dir."
            ) from error
        except (requests.RequestException, util.DownloadError) as error:
            raise UserError(
                f"{archive.url} cannot be downloaded ({_short(error)}): run it again when the "
                "network is up, or download it yourself and name its folder by --manual-dir."
            ) from error


@contextlib.contextmanager
def _patient(tfds: Any, downloader: Any, progress: bool) -> Iterator[None]:
    """TFDS with our number of tries, and silent if no progress is to be shown."""
    tries, downloader.MAX_RETRIES = downloader.MAX_RETRIES, _TRIES
    if not progress:
        tfds.disable_progress_bar()
    try:
        yield
    finally:
        downloader.MAX_RETRIES = tries
        tfds.enable_progress_bar()


def _short(error: BaseException) -> str:
    """What an error says, without the objects it names."""
    text = str(error)
    for words in ("HTTP code: ", "Read timed out", "IncompleteRead", "Connection refused"):
        if words in text:
            return words if words[-1] != " " else words + text.split(words)[1][:3]
    return type(error).__name__


def _unpack(path: pathlib.Path, folder: pathlib.Path, progress: bool) -> None:
    """Unpacks a zip or tar archive; TFDS's own unpacking needs TensorFlow."""
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
