"""Compressed MusicXML (.mxl): an archive with a score, and a container that names it."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Mapping

from jaxmusic._src.core.errors import UserError

_LARGEST_CONTAINER, _MOST_MEMBERS = 2**20, 10_000
_CONTAINER, _DOCUMENTS = "META-INF/container.xml", (".xml", ".musicxml")
_ABOUT = re.compile("META-INF/|__MACOSX/")
_MEDIA = "application/vnd.recordare.musicxml"
"""Media type of scores, which begins that of compressed ones too."""


def unpacked(data: bytes, most: int) -> bytes:
    """Unpacks a score: what the container of the archive names, else its first document.

    Args:
      data: the archive.
      most: size in bytes of the largest document to unpack.

    Raises:
      UserError: there is none, or it cannot be unpacked; the message lacks the subject, the file.
    """
    if data.count(b"PK\1\2") > _MOST_MEMBERS:
        raise UserError(f"is an archive of more than {_MOST_MEMBERS:,} files: leave it out.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            have = {info.filename: info for info in archive.infolist()}
            names = [n for n in have if n.lower().endswith(_DOCUMENTS) and not _ABOUT.match(n)]
            names = [*_named(archive, have), *names]
            if not names:
                raise UserError("is an archive without a score: save it as MusicXML again.")
            return _member(archive, have[names[0]], most)
    except UserError:
        raise
    except Exception as error:  # of many kinds, as when it is cut off or encrypted
        raise UserError(f"is a broken archive: {str(error).rstrip('.')}.") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """Unpacks a member up to the size that it states, which only some methods allow."""
    if info.file_size > most:
        raise UserError(f"unpacks to more than {most >> 20} MB: leave it out.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError("is packed in a way that MusicXML does not know: save it again.")
    with archive.open(info) as file:
        return file.read(info.file_size)


def _named(archive: zipfile.ZipFile, have: Mapping[str, zipfile.ZipInfo]) -> list[str]:
    """Returns the scores that a container names; a broken or huge one is as good as none."""
    if _CONTAINER not in have:
        return []
    try:
        container = _member(archive, have[_CONTAINER], _LARGEST_CONTAINER)
        files = list(ET.fromstring(container).iter())
    except (ET.ParseError, LookupError, ValueError):
        return []
    named = [(str(e.get("full-path")), e.get("media-type") or _MEDIA) for e in files]
    return [path for path, media in named if path in have and media.startswith(_MEDIA)]
