"""Devices that are not there, for tests of where things would lie."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import textwrap


@dataclasses.dataclass(frozen=True)
class Device:
    """What the mesh reads of a device."""

    id: int
    platform: str
    process_index: int = 0
    slice_index: int = 0
    coords: tuple[int, int, int] = (0, 0, 0)
    device_kind: str = "TPU v5 lite"
    core_on_chip: int = 0


def tpus(slices):
    """Slices v5e:4x4, each of four hosts with squares of four chips."""
    return [
        Device(16 * s + 4 * y + x, "tpu", 4 * s + y // 2 * 2 + x // 2, s, (x, y, 0))
        for s in range(slices)
        for y in range(4)
        for x in range(4)
    ]


def gpus(hosts, each=4):
    """Hosts of GPUs whose processes, one for each GPU, were dealt out host by host in turn."""
    return [Device(i, "gpu", i, i % hosts, device_kind="GPU") for i in range(hosts * each)]


def cpus(count):
    """CPUs of one process."""
    return [Device(i, "cpu", device_kind="cpu") for i in range(count)]


def program_on_eight(code):
    """What a program prints as JSON, in a process with eight virtual devices."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ
        | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)
