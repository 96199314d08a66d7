"""Lines between the processes of a run: who came, who is gone, and what all of them agree on.

JAX's own coordination ends a process with SIGABRT when another is lost, after a time of its own
and without a name. So process 0 also holds a TCP connection to every other process, over which a
sign of life goes every second. A process that dies closes its line, which is seen at once; one
that is stopped or cut off falls silent.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

BEAT = 1.0
"""Seconds between signs of life."""
LINGER = 3.0
"""Seconds that a process which ends gives the others to read why."""

GONE = "is gone: it was killed or its machine failed"


class Lost(Exception):
    """Another process of the run is gone, or did not come in time; the text says which."""


class Line:
    """One connection; messages are JSON objects, one a line."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(BEAT)
        self.socket = connection
        self.heard = time.monotonic()
        self.rest = b""
        self._sending = threading.Lock()

    def send(self, **message: Any) -> None:
        """Sends a message; a broken line is noticed by who reads from it."""
        with self._sending, contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """What has arrived, None at the end; raises ValueError if it is no message of ours."""
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self.heard = time.monotonic()
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()


class Lines:
    """The lines of one process, watched by a thread of their own.

    Attributes:
      index: number of this process.
      names: what to call each process, as in ``process 1 on node7``.
    """

    def __init__(
        self,
        index: int,
        names: list[str],
        lines: dict[int, Line],
        lost: float,
        ended: Callable[[str, int | None], None],
    ):
        """Starts to watch.

        Args:
          index: number of this process.
          names: what to call each process.
          lines: by number of the process at the other end: all others at process 0, elsewhere 0.
          lost: seconds of silence after which a process counts as lost.
          ended: called in the watching thread when another process is lost or has ended the run,
            with a sentence, and the exit code that the other one gave or None.
        """
        self.index, self.names = index, names
        self._lines, self._lost, self._ended = lines, lost, ended
        self._changed = threading.Condition()
        self._put: dict[str, dict[int, Any]] = {}
        self._answers: dict[str, Any] = {}
        self._gone: set[int] = set()
        self._leaving = False
        self._selector = selectors.DefaultSelector()
        for number, line in lines.items():
            line.heard = time.monotonic()
            self._selector.register(line.socket, selectors.EVENT_READ, number)
        threading.Thread(target=self._watch, name="lines", daemon=True).start()

    def ask(self, what: str, value: Any, seconds: float, judge: Callable[[list[Any]], Any]) -> Any:
        """A barrier: process 0 judges the values of all processes, and all get its answer.

        Args:
          what: name of the barrier, never used before.
          value: of this process, as JSON can write it.
          seconds: how long to wait for all.
          judge: from the values by number of process to the answer; called at process 0.

        Raises:
          Lost: somebody did not come within `seconds`; every process that did learns who.
        """
        answer: dict[str, Any]
        if self.index:
            self._lines[0].send(put=what, value=value)
            # Process 0 may have come as late as we may.
            self._wait(lambda: what in self._answers, 2 * seconds)
            if what not in self._answers:
                raise Lost(f"{self.names[0]} did not come to {what} within {2 * seconds:g} s")
            answer = self._answers.pop(what)
        else:
            found = self._put.setdefault(what, {})
            found[0] = value
            self._wait(lambda: len(found) == len(self.names), seconds)
            missing = [name for i, name in enumerate(self.names) if i not in found]
            answer = {"missing": f"{listed(missing)} did not come to {what} within {seconds:g} s"}
            if not missing:
                answer = {"value": judge([found[i] for i in range(len(self.names))])}
            for line in self._lines.values():
                line.send(answer=what, value=answer)
        if "missing" in answer:
            raise Lost(answer["missing"])
        return answer["value"]

    def tell(self, sentence: str, code: int) -> None:
        """Ends the run for all: says why, and gives the others the time to read it."""
        self._leave({"end": sentence, "code": code, "who": self.index})

    def leave(self) -> None:
        """Says that this process ends as it should."""
        self._leave({"bye": True})

    def _leave(self, message: dict[str, Any]) -> None:
        if self._leaving:
            return
        self._leaving = True
        for line in self._lines.values():
            line.send(**message)
            with contextlib.suppress(OSError):
                line.socket.shutdown(socket.SHUT_WR)
        # To close a line on which something is unread would throw away what was just sent.
        self._wait(lambda: self._gone >= self._lines.keys(), LINGER)

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(done, seconds)

    def _watch(self) -> None:
        beat = last = time.monotonic()
        while self._gone < self._lines.keys():
            ready = self._selector.select(BEAT / 4)
            now = time.monotonic()
            if now - last > self._lost / 2:
                # This process itself was stopped: the others were not silent, we were deaf.
                for line in self._lines.values():
                    line.heard = now
            last = now
            for key, _ in ready:
                self._read(key.data)
            if now - beat >= BEAT and not self._leaving:
                beat = now
                for number in self._lines.keys() - self._gone:
                    self._lines[number].send(beat=True)
            for number in self._lines.keys() - self._gone:
                if now - self._lines[number].heard > self._lost and not self._leaving:
                    self._close(number)
                    self._end(number, f"has given no sign of life for {self._lost:g} s", None)

    def _read(self, number: int) -> None:
        messages = self._lines[number].receive()
        if messages is None:
            self._close(number)
            if not self._leaving:
                self._end(number, GONE, None)
            return
        for message in messages:
            if "put" in message:
                with self._changed:
                    found = self._put.setdefault(message["put"], {})
                    found[number] = message["value"]
                    self._changed.notify_all()
            elif "answer" in message:
                with self._changed:
                    self._answers[message["answer"]] = message["value"]
                    self._changed.notify_all()
            elif "end" in message and not self._leaving:
                self._end(message["who"], message["end"], message["code"])
            elif "bye" in message:
                self._close(number)

    def _close(self, number: int) -> None:
        with self._changed:
            self._selector.unregister(self._lines[number].socket)
            self._gone.add(number)
            self._changed.notify_all()
        if not self._leaving:
            self._lines[number].close()

    def _end(self, who: int, what: str, code: int | None) -> None:
        """Ends this process after another; process 0 first passes on what became of that one."""
        self._leaving = True
        if self.index == 0:
            others = [self._lines[number] for number in self._lines.keys() - {who} - self._gone]
            for line in others:
                line.send(end=what, code=code, who=who)
            hang_up(others)
        sentence = f"{self.names[who]} {what}" if code is None else f"{self.names[who]}: {what}"
        self._ended(sentence, code)


def listed(names: list[str]) -> str:
    """Names in a sentence; of many only the first few and how many more."""
    rest = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[: 4 if rest else None]) + rest


def called(index: int, host: str) -> str:
    """What to call a process."""
    return f"process {index} on {host}"


def hang_up(lines: list[Line]) -> None:
    """Waits a little until the other ends have read what was sent and have closed their lines.

    To close a line on which something is unread would throw away what was just sent.
    """
    end = time.monotonic() + LINGER
    for line in lines:
        with contextlib.suppress(OSError):
            line.socket.shutdown(socket.SHUT_WR)
    for line in lines:
        with contextlib.suppress(OSError):
            while time.monotonic() < end and line.socket.recv(1 << 16):
                pass
        line.close()
