"""Processes that serve: fresh interpreters, each with a pipe in and a pipe out.

They are neither forks nor copies of the caller's script, so they start the same whoever asks, and
they end when their pipe closes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import connection
from typing import NamedTuple


class Served(NamedTuple):
    """A process and our ends of its pipes.

    Attributes:
      process: the process.
      inbox: what it sends.
      outbox: what it is sent.
    """

    process: subprocess.Popen[bytes]
    inbox: connection.Connection
    outbox: connection.Connection


def start(module: str, stderr: int | None = None) -> Served:
    """Starts ``serve(inbox, outbox)`` of a module, which takes two file descriptors, on one core.

    Args:
      module: its dotted name.
      stderr: as in `subprocess.Popen`.
    """
    their_inbox, our_outbox = os.pipe()
    our_inbox, their_outbox = os.pipe()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        # -P: the current folder is no place to import from.
        [
            *(sys.executable, "-P", "-c"),
            f"from {module} import serve; serve({their_inbox}, {their_outbox})",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=(their_inbox, their_outbox),
        env=environment,
    )
    os.close(their_inbox)
    os.close(their_outbox)
    return Served(
        process,
        connection.Connection(our_inbox, writable=False),
        connection.Connection(our_outbox, readable=False),
    )
