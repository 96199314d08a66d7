"""Leases: holding a folder in a bucket, where there are no locks."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, NotRequired, TypedDict

from etils import epath

from jaxmusic._src.core import outside
from jaxmusic._src.core.errors import UserError

BEAT = 20.0
"""Seconds between heartbeats of the holder of a lease."""
DEAD = 65.0
"""Seconds without a heartbeat after which a lease is free."""
SETTLE = 2.0
"""Seconds in which a second process that took the lease at the same moment has written."""
_ours: set[str] = set()


class _Holder(TypedDict):
    owner: str
    machine: str
    process: Annotated[int, "[1, 2147483647]"]
    beat: NotRequired[int]


@contextlib.contextmanager
def leased(path: epath.Path, busy: str) -> Iterator[None]:
    """Holds the file at `path` in a bucket, which has no locks, by rewriting it regularly.

    The file names its holder and is removed at the end. If the holder dies, the lease is free
    when the file has not changed for `DEAD` seconds, or at once if the holder was a process of
    this machine that is gone. A process that was cut off so long that another took its lease
    exits as soon as it notices, before it writes again.

    Args:
      path: the file.
      busy: message of the error.

    Raises:
      UserError: another process holds it.
    """
    _wait(path, busy)
    me = uuid.uuid4().hex
    owner = {"owner": me, "machine": _machine(), "process": os.getpid()}
    _ours.add(me)
    path.write_text(json.dumps(owner | {"beat": 0}))
    time.sleep(SETTLE)
    if (_read(path) or {}).get("owner") != me:
        _ours.discard(me)
        raise UserError(busy)
    over = threading.Event()
    beats = threading.Thread(target=_beat, args=(path, owner, over), name="lease", daemon=True)
    beats.start()
    try:
        yield
    finally:
        over.set()
        beats.join()
        _ours.discard(me)
        with contextlib.suppress(OSError):
            path.unlink()


def _wait(path: epath.Path, busy: str) -> None:
    """Returns when a lease is free; raises UserError on a heartbeat of its holder."""
    first = _read(path)
    if first is None or _gone(first):
        return
    logging.getLogger(__name__).warning(
        "%s is held by process %s of %s: seeing for up to %.0f s whether it is alive.",
        path,
        first["process"],
        first["machine"],
        DEAD,
    )
    end = time.monotonic() + DEAD
    while time.monotonic() < end:
        time.sleep(min(1.0, BEAT / 4))
        now = _read(path)
        if now is None:
            return
        if now != first:
            raise UserError(busy)


def _beat(path: epath.Path, owner: dict[str, Any], over: threading.Event) -> None:
    count = 0
    while not over.wait(BEAT):
        count += 1
        try:
            found = _read(path)
            if found is None or found["owner"] == owner["owner"]:
                path.write_text(json.dumps(owner | {"beat": count}))
                continue
        except Exception as error:
            logging.getLogger(__name__).warning("%s could not be renewed: %s", path, error)
            continue
        print(f"jaxmusic: another process has taken {path}: this one ends.", file=sys.stderr)
        os._exit(1)


def _read(path: epath.Path) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError):
        remedy = "Remove it if no process works there"
        return outside.parse(path.read_bytes(), _Holder, path, remedy)
    return None


def _gone(holder: dict[str, Any]) -> bool:
    """Returns whether a holder is known to be dead: a process of this machine that is gone."""
    if holder["machine"] != _machine():
        return False
    if holder["process"] == os.getpid():
        return holder["owner"] not in _ours
    try:
        os.kill(holder["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _machine() -> str:
    """Returns the name of this machine and of its last boot, because names are not unique."""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}".strip()
