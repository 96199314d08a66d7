"""Several processes of a toy run on this machine, for the tests of training with several hosts."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

CONFIG = pathlib.Path(__file__).resolve().parent / "train_fakes.py"
TRAIN = [sys.executable, "-m", "jaxmusic", "train", str(CONFIG)]
"""The command that trains on made-up data; --run and further options follow."""
WAIT, LONG = 240, 900
"""Seconds after which a test gives up; nothing here takes a fraction of that. Programs of several
cases may take the second of these."""


def free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def environment(**more):
    """Variables for the processes."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(CONFIG.parents[1]),
        **more,
    }


def printed(commands, **variables):
    """Starts programs together; returns the JSON objects that each of them prints in lines."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(c, env=environment(**variables), **pipes) for c in commands]
    try:
        said = [process.communicate(timeout=LONG) for process in running]
    finally:
        for process in running:
            process.kill()
    # The others only wait for the one that fails; its words are the ones to read.
    failed = [errors for process, (_, errors) in zip(running, said) if process.returncode]
    assert not failed, "\n".join(text[-3000:] for text in failed)
    # Gloo says on stdout that it is connected.
    lines = [[line for line in out.splitlines() if line.startswith("{")] for out, _ in said]
    return [[json.loads(line) for line in each] for each in lines]


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
def processes(run, settings=(), own=((), ()), faults=("", ""), where=((), ()), name="localhost"):
    """The processes of one run: two, or as many as `own` is long.

    Args:
      run: the run's folder.
      settings: arguments for all.
      own: arguments for each.
      faults: what happens to each, see `train_fakes.FakeLoader.before`.
      where: commands before each, such as ``ip netns exec NAME``.
      name: of process 0's host.
    """
    port = free_port()
    folder = pathlib.Path(run).parent
    found = []
    try:
        for index in range(len(own)):
            variables = environment(
                JAX_COORDINATOR_ADDRESS=f"{name}:{port}",
                JAX_NUM_PROCESSES=str(len(own)),
                JAX_PROCESS_ID=str(index),
                FAULT=faults[index],
                FAULT_MARK=str(folder / f"fault-{index}"),
            )
            program = [*TRAIN, "--run", str(run), *settings, *own[index]]
            out = folder / f"said-{index}.txt"
            found.append(Process([*where[index % len(where)], *program], variables, out))
        yield found
    finally:
        for process in found:
            process.end()
