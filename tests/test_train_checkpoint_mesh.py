"""What was saved on one mesh goes on on any other, over any number of processes."""

import pathlib
import sys

import hosts_fakes
import pytest

SCRIPT = pathlib.Path(__file__).with_name("train_meshes.py")


def further(run, steps, devices, fsdp, tensor, processes=1):
    """What each process printed that took a run further."""
    command = [sys.executable, str(SCRIPT), *map(str, (run, steps, devices, fsdp, tensor))]
    port = str(hosts_fakes.free_port())
    own = [[str(i), str(processes), port] if processes > 1 else [] for i in range(processes)]
    results = hosts_fakes.printed([[*command, *more] for more in own], XLA_FLAGS="")
    return [found for (found,) in results]


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
