"""Journals: files of JSON lines that grow while a run goes, on local disk and in buckets."""

from __future__ import annotations

import concurrent.futures
import json
import logging
import math
import time
from typing import Any, NotRequired, TypedDict

from etils import epath

from jaxmusic._src.core import outside, paths
from jaxmusic._src.core.errors import UserError

INTERVAL = 30.0
"""Seconds between uploads of a journal that lies in a bucket."""


class Line(TypedDict):
    """What any journal may say in a line."""

    step: NotRequired[int]


class Journal:
    """A file of JSON lines, one dictionary each, which one process writes.

    On local disk a line is there as soon as it is written. A bucket cannot append: there, the
    whole file is rewritten in the background, every `INTERVAL` seconds while lines come, so
    that writing a line never waits for the network. `flush` waits until all lines are there; call
    it before a checkpoint is saved, or a run that is killed has a checkpoint of steps that its
    journal does not know. An upload that fails is tried again with the next; `flush` raises.

    Example:
      journal = Journal(run / "log.jsonl", step=400)  # lines of later steps are removed
      journal.write({"step": 401, "loss": 2.5})
      journal.flush()
      journal.close()
    """

    def __init__(self, path: epath.Path, step: int):
        """Opens a journal, or begins it.

        Args:
          path: the file.
          step: lines whose "step" is greater are removed, as those steps will be made and written
            again.
        """
        self._path = path
        self._lines = [_line(x) for x in read(path) if x.get("step", 0) <= step]
        self._file = self._uploads = None
        self._upload: concurrent.futures.Future[None] | None = None
        self._uploaded, self._at = -1, -math.inf
        if paths.in_bucket(path):
            self._uploads = concurrent.futures.ThreadPoolExecutor(1, "journal")
        else:
            paths.write_text(path, "".join(self._lines))
            self._file = path.open("a")

    def write(self, values: dict[str, Any]) -> None:
        """Adds a line; numbers that are not finite, which JSON lacks, become null."""
        line = _line(values)
        if self._file:
            self._file.write(line)
            self._file.flush()
            return
        self._lines.append(line)
        busy = self._upload and not self._upload.done()
        if not busy and time.monotonic() - self._at > INTERVAL:
            self._start()

    def flush(self) -> None:
        """Returns when all lines are there; raises OSError if the storage refuses them."""
        if self._file:
            return
        if self._upload:
            concurrent.futures.wait([self._upload])
        if self._uploaded < len(self._lines):
            self._start()
            assert self._upload
            self._upload.result()

    def close(self) -> None:
        """Flushes and closes."""
        if self._file:
            self._file.close()
            return
        assert self._uploads
        try:
            self.flush()
        finally:
            self._uploads.shutdown()

    def _start(self) -> None:
        assert self._uploads
        self._at = time.monotonic()
        self._upload = self._uploads.submit(self._put, list(self._lines))

    def _put(self, lines: list[str]) -> None:
        try:
            self._path.write_text("".join(lines))
        except Exception as error:
            logging.getLogger(__name__).warning("%s could not be written: %s", self._path, error)
            raise
        self._uploaded = len(lines)


def read(path: epath.Path, kind: Any = Line) -> list[dict[str, Any]]:
    """Reads the lines of a journal, none without a file.

    A last line that a kill has cut off is left out.

    Args:
      path: the file.
      kind: type of a line, see `core.outside`.

    Raises:
      UserError: another line is not of that type.
    """
    texts = path.read_bytes().splitlines() if path.is_file() else []
    lines = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        where = f"line {number} of {path}"
        try:
            lines.append(outside.parse(text, kind, where, "Remove it, or restore the file"))
        except UserError:
            if number < len(texts):
                raise
    return lines


def board(folder: epath.Path, step: int) -> Any:
    """Opens a tensorboardX `SummaryWriter`, local or in a bucket; drops what follows `step`.

    It knows buckets by itself, but through clients of its own: here it shares those of the run.
    """
    import tensorboardX
    from tensorboardX import record_writer

    for scheme in paths.EXTRAS:
        record_writer.register_writer_factory(scheme, _Records)
    return tensorboardX.SummaryWriter(str(folder), purge_step=step + 1)


class _Records:
    """A file of events in a bucket, rewritten at each flush: every two minutes, in a thread."""

    def __init__(self, path: str):
        self._path = epath.Path(path)
        self._content = bytearray()

    @classmethod
    def open(cls, path: str) -> _Records:
        return cls(path)

    @staticmethod
    def directory_check(path: str) -> None:
        """Buckets have no folders to make."""

    def write(self, record: bytes) -> None:
        self._content += record

    def flush(self) -> None:
        self._path.write_bytes(bytes(self._content))

    close = flush


def _line(values: dict[str, Any]) -> str:
    finite = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"
