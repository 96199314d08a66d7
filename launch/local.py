"""Trains with several processes on one machine.

  python launch/local.py --processes 4 CONFIG --run DIR [--any.field value ...]

CONFIG and all arguments after it are passed to `jaxmusic train`. Every output line of a process
starts with the number of the process. Ctrl-C and SIGTERM are passed on once, so that all processes
save and exit. When one process fails for good, the others are ended too, and its exit code is that
of the run; docs/launching.md lists the codes.

GPUs are divided evenly among the processes. Without GPUs, --cpu-devices divides the CPU into that
many virtual devices, to try a mesh without accelerators.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `jaxmusic train` in several processes; returns the exit code of the run."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--processes", type=int, required=True, help="how many to start")
    parser.add_argument("--cpu-devices", type=int, default=0, help="virtual devices, all together")
    parser.add_argument("--restarts", type=int, default=3, help="how often each may crash")
    parser.add_argument(
        "--patience",
        type=float,
        default=60.0,
        help="seconds that the others have to end by themselves after one has failed, and again "
        "after SIGTERM, before they are killed",
    )
    parser.add_argument("train", nargs=argparse.REMAINDER, metavar="CONFIG --run DIR ...")
    options = parser.parse_args(argv)
    if not options.train or options.train[0].startswith("-"):
        parser.error("name a config after the options: launch/local.py --processes 2 CONFIG ...")
    program = shutil.which("jaxmusic")
    if program is None:
        parser.error("there is no jaxmusic on the PATH; activate its environment first")
    try:
        variables = environments(options.processes, options.cpu_devices, gpus(os.environ))
    except ValueError as error:
        parser.error(str(error))
    command = [program, "train", *options.train, "--restarts", str(options.restarts)]
    return Group(command, variables).wait(options.patience)


def gpus(environment: Mapping[str, str]) -> list[str]:
    """Returns the names of the usable GPUs, as in CUDA_VISIBLE_DEVICES."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(n) for n in range(listed.stdout.count("GPU "))] if not listed.returncode else []


def environments(processes: int, cpu_devices: int, cards: Sequence[str]) -> list[dict[str, str]]:
    """Returns the environment variables of each process: its peers and its devices, for JAX.

    Raises:
      ValueError: the devices cannot be divided evenly.
    """
    if processes < 1:
        raise ValueError("--processes must be at least 1")
    if cpu_devices % processes:
        raise ValueError(f"--cpu-devices {cpu_devices} is not a multiple of {processes} processes")
    if not cpu_devices and len(cards) % processes:
        raise ValueError(f"{len(cards)} GPUs cannot be divided evenly among {processes} processes")
    coordinator = f"127.0.0.1:{_free_port()}"
    each = len(cards) // processes
    found = []
    for number in range(processes):
        variables = {
            "JAX_COORDINATOR_ADDRESS": coordinator,
            "JAX_NUM_PROCESSES": str(processes),
            "JAX_PROCESS_ID": str(number),
        }
        if cpu_devices:
            variables["JAX_PLATFORMS"] = "cpu"
            variables["JAX_NUM_CPU_DEVICES"] = str(cpu_devices // processes)
        elif cards:
            mine = cards[number * each : (number + 1) * each]
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        found.append(variables)
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Group:
    """A group of processes that start and end together."""

    def __init__(self, command: Sequence[str], variables: Sequence[Mapping[str, str]]):
        self._started: list[subprocess.Popen[str]] = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda received, _: self._send(received))
        self._printers = []
        for index, own in enumerate(variables):
            process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **own},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                # A terminal's Ctrl-C then reaches them only through this process, and only once.
                start_new_session=True,
            )
            self._started.append(process)
            printer = threading.Thread(target=_print_lines, args=(index, process), daemon=True)
            printer.start()
            self._printers.append(printer)

    def wait(self, patience: float) -> int:
        """Waits for all processes, ends the rest if one fails, and returns the exit code."""
        code, deadline = 0, float("inf")
        harder: list[int] = [signal.SIGTERM, signal.SIGKILL]
        while running := [p for p in self._started if p.poll() is None]:
            failed = [p.returncode for p in self._started if p.returncode]
            if failed and not code:
                code, deadline = failed[0], time.monotonic() + patience
            if time.monotonic() > deadline and harder:
                for process in running:
                    process.send_signal(harder[0])
                del harder[0]
                deadline = time.monotonic() + patience
            time.sleep(0.1)
        for process in self._started:
            # A supervisor that was killed could not end its child.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for printer in self._printers:
            printer.join(timeout=5.0)
        code = code or next((p.returncode for p in self._started if p.returncode), 0)
        return code if code >= 0 else 128 - code

    def _send(self, number: int) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(number)


def _print_lines(index: int, process: subprocess.Popen[str]) -> None:
    """Prints the output of a process line by line, prefixed with its number."""
    assert process.stdout is not None
    # Lines also end at carriage returns, with which progress bars redraw themselves.
    for line in process.stdout:
        if text := line.rstrip():
            # One write per line: print writes the newline separately, so lines could mix.
            sys.stdout.write(f"{index}: {text}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
