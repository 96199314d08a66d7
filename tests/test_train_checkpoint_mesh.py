"""What was saved on one mesh goes on on any other, over any number of processes."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).with_name("train_meshes.py")


def start(*arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "XLA_FLAGS": ""}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def said(*processes):
    """What each process printed: a hash and a loss."""
    found = []
    try:
        for process in processes:
            out, error = process.communicate(timeout=240)
            assert process.returncode == 0, error
            content, loss = out.split()[-2:]
            found.append((content, float(loss)))
    finally:
        for process in processes:
            process.kill()
    return found


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """A run that was saved on eight devices, what it holds and its next loss."""
    run = tmp_path_factory.mktemp("eight")
    return run, *said(start("save", run, 8, 8, 1))[0]


def port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.mark.parametrize(
    "devices, fsdp, tensor, processes", [(4, 2, 2, 1), (1, 1, 1, 1), (2, 4, 1, 2)]
)
def test_what_eight_devices_saved_goes_on(eight, devices, fsdp, tensor, processes):
    run, content, loss = eight
    settings = ("restore", run, devices, fsdp, tensor)
    if processes == 1:
        found = said(start(*settings))
    else:
        at = port()
        found = said(*(start(*settings, p, processes, at) for p in range(processes)))
    for restored, after in found:
        assert restored == content
        assert after == pytest.approx(loss, rel=1e-6)


def test_what_two_processes_saved_goes_on_in_one(tmp_path):
    at = port()
    first, second = said(*(start("save", tmp_path, 2, 4, 1, p, 2, at) for p in range(2)))
    assert first == second
    (found,) = said(start("restore", tmp_path, 1, 1, 1))
    assert found[0] == first[0]
    assert found[1] == pytest.approx(first[1], rel=1e-6)
