"""Calling the roll: how the processes of a run find one another before JAX starts.

JAX's own start aborts when a process does not come, and cannot say which. So process 0 first
listens on the same port itself, until all others have called, and only then leaves it to JAX. A
process that comes back also waits here, where the others do not mistake it for its predecessor.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from typing import Any

from jaxmusic.cluster.lines import BEAT, LINGER, Line, Lost, called, hang_up, listed
from jaxmusic.core.errors import UserError

BACKLOG = 1024
"""Processes that may call at the same moment."""
SILENT = 10.0
"""Seconds of silence during the rendezvous after which process 0 is called again."""


def host_lines(
    address: tuple[str, int], count: int, host: str, seconds: float
) -> tuple[list[str], dict[int, Line]]:
    """Process 0's part in calling the roll.

    Args:
      address: name and port to listen on; the port is free again afterwards.
      count: processes of the run.
      host: name of this host.
      seconds: how long to wait for all.

    Returns:
      What to call each process, and the lines to all others.

    Raises:
      Lost: some did not come; those that did are told.
      UserError: a process expects another number of processes.
      OSError: the port could not be opened.
    """
    beat, waiting = time.monotonic(), _Waiting(seconds)
    end = beat + seconds
    names: dict[int, str] = {0: called(0, host)}
    lines: dict[int, Line] = {}
    with _server(address, end) as server:
        server.settimeout(BEAT)
        while len(lines) < count - 1 and time.monotonic() < end:
            if time.monotonic() - beat > BEAT:
                beat = time.monotonic()
                waiting(_missing(lines, count))
                for number in [n for n, line in lines.items() if _hung_up(line)]:
                    lines.pop(number).close()
                for line in lines.values():
                    line.send(beat=True)
            if found := _hello(server, count):
                number, names[number], line = found
                if number in lines:
                    lines[number].close()
                lines[number] = line
    if missing := _missing(lines, count):
        sentence = f"{missing} of {count} did not come within {seconds:g} s"
        for line in lines.values():
            line.send(end=sentence)
        hang_up(list(lines.values()))
        raise Lost(sentence)
    ordered = [names[i] for i in range(count)]
    for line in lines.values():
        line.send(names=ordered)
    return ordered, lines


def _missing(lines: dict[int, Line], count: int) -> str:
    """Who has not come; empty if all have."""
    return listed([f"process {i}" for i in range(1, count) if i not in lines])


def join_lines(
    address: tuple[str, int], index: int, count: int, host: str, seconds: float
) -> tuple[list[str], dict[int, Line]]:
    """The part of every other process; as `host_lines`.

    Raises:
      Lost: process 0 did not answer, or another process did not come.
      UserError: process 0 was told of another number of processes.
    """
    end, waiting = time.monotonic() + seconds, _Waiting(seconds)
    where = f"{address[0]}:{address[1]}"
    refused = "nothing listens there"
    while time.monotonic() < end:
        waiting(f"process 0 at {where}")
        try:
            line = Line(socket.create_connection(address, timeout=min(5.0, seconds)))
        except OSError as error:
            refused = error.strerror or str(error)
            time.sleep(BEAT / 4)
            continue
        line.send(index=index, count=count, host=host)
        # Process 0 waits as long as we do, and tells us who is missing.
        answer = _answer(line, end + LINGER)
        if "names" in answer:
            return answer["names"], {0: line}
        line.close()
        if "end" in answer:
            raise Lost(answer["end"])
        if "mistake" in answer:
            raise UserError(answer["mistake"])
        refused = "what listens there belongs to an earlier start or to another program"
        time.sleep(BEAT)
    raise Lost(f"process 0 of {count} did not answer at {where} within {seconds:g} s ({refused})")


def _server(address: tuple[str, int], end: float) -> socket.socket:
    """Listens; a port that an earlier start still holds is waited for."""
    while True:
        try:
            return _listening(address)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(BEAT)


def _listening(address: tuple[str, int]) -> socket.socket:
    if not address[0] and socket.has_dualstack_ipv6():
        # Fails where IPv6 is known but switched off.
        with contextlib.suppress(OSError):
            return socket.create_server(
                address, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
    return socket.create_server(address, backlog=BACKLOG)


class _Waiting:
    """Says on stderr what is waited for, when it takes a while."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._next = time.monotonic() + 2 * BEAT

    def __call__(self, what: str) -> None:
        if time.monotonic() > self._next:
            self._next += 30 * BEAT
            print(f"waiting for {what}, up to {self._seconds:g} s", file=sys.stderr, flush=True)


def _hello(server: socket.socket, count: int) -> tuple[int, str, Line] | None:
    """The process that calls next, if one does; other programs that try the port are sent away."""
    try:
        line = Line(server.accept()[0])
    except TimeoutError:
        return None
    try:
        message = (line.receive() or [])[0]
        number, theirs, name = message["index"], message["count"], message["host"]
    except (ValueError, LookupError, TypeError):
        line.close()
        return None
    if theirs == count and 0 < number < count:
        return number, called(number, name), line
    sentence = f"Start process {number} on {name} and process 0 with the same number of processes"
    sentence += f": one was told {theirs}, the other {count}."
    line.send(mistake=sentence)
    hang_up([line])
    raise UserError(sentence)


def _hung_up(line: Line) -> bool:
    """Whether a process that had come is gone again."""
    line.socket.settimeout(0)
    try:
        return line.socket.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        line.socket.settimeout(BEAT)


def _answer(line: Line, end: float) -> dict[str, Any]:
    """What process 0 says when the roll is called; empty if it is gone, or was never there."""
    with contextlib.suppress(ValueError):
        while time.monotonic() < min(end, line.heard + SILENT):
            messages = line.receive()
            if messages is None:
                break
            for message in messages:
                if not isinstance(message, dict):
                    return {}
                if "beat" not in message:
                    return message
    return {}
