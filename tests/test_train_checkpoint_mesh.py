"""What was saved on one mesh goes on on any other, over any number of processes."""

import json
import os
import pathlib
import subprocess
import sys

import hosts_fakes
import pytest

SCRIPT = pathlib.Path(__file__).with_name("train_meshes.py")


def further(run, steps, devices, fsdp, tensor, processes=1):
    """What each process printed that took a run further."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "XLA_FLAGS": ""}
    port = hosts_fakes.free_port()
    started = []
    for process in range(processes):
        words = (run, steps, devices, fsdp, tensor)
        words += (process, processes, port) if processes > 1 else ()
        command = [sys.executable, str(SCRIPT), *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, env=environment, text=True, **pipes))
    found = []
    try:
        for process in started:
            out, error = process.communicate(timeout=hosts_fakes.WAIT)
            assert process.returncode == 0, error
            # Gloo says before that it is connected.
            found.append(json.loads(out.splitlines()[-1]))
    finally:
        for process in started:
            process.kill()
    return found


def test_any_mesh_goes_on_with_what_another_has_saved(tmp_path, unoptimised):
    """From eight devices of one process to two processes to other axes of one."""
    (eight,) = further(tmp_path, 3, devices=8, fsdp=8, tensor=1)
    first, second = further(tmp_path, 2, devices=2, fsdp=4, tensor=1, processes=2)
    assert first == second
    assert first["began"] == eight["saved"]
    assert first["losses"] == pytest.approx(eight["losses"][1:2], rel=1e-6)
    (last,) = further(tmp_path, 3, devices=4, fsdp=2, tensor=2)
    assert last["began"] == first["saved"]
    assert last["losses"] == pytest.approx(eight["losses"][2:], rel=1e-5)
