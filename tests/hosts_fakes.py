"""Several processes of a toy run on this machine, for the tests of training with several hosts."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

SCRIPT = pathlib.Path(__file__).resolve().parent / "train_fakes.py"
WAIT = 240
"""Seconds after which a test gives up; nothing here takes a fraction of that."""


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def environment(**more):
    """Variables for the processes."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(SCRIPT.parents[1]),
        **more,
    }


class Process:
    """One process, whose output can be read while it runs."""

    def __init__(self, command, variables, out):
        self.out = out
        self.started = time.time()
        with open(out, "w") as file:
            self.popen = subprocess.Popen(
                command, env=variables, stdout=file, stderr=file, start_new_session=True
            )

    def wait(self):
        return self.popen.wait(WAIT)

    @property
    def said(self):
        return self.out.read_text(errors="replace")

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


@contextlib.contextmanager
def pair(run, settings=(), own=((), ()), faults=("", ""), where=((), ()), names=None):
    """Two processes of one run.

    Args:
      run: the run's folder.
      settings: arguments for both.
      own: arguments for each.
      faults: what happens to each, see `train_fakes.FakeLoader.before`.
      where: commands before each, such as ``ip netns exec NAME``.
      names: name of process 0's host; this machine if None.
    """
    port = free_port()
    folder = pathlib.Path(run).parent
    processes = []
    try:
        for index in (0, 1):
            variables = environment(
                JAX_COORDINATOR_ADDRESS=f"{names or 'localhost'}:{port}",
                JAX_NUM_PROCESSES="2",
                JAX_PROCESS_ID=str(index),
                FAULT=faults[index],
                FAULT_MARK=str(folder / f"fault-{index}"),
            )
            program = [sys.executable, str(SCRIPT), str(run), *settings, *own[index]]
            out = folder / f"said-{index}.txt"
            processes.append(Process([*where[index], *program], variables, out))
        yield processes
    finally:
        for process in processes:
            process.end()
