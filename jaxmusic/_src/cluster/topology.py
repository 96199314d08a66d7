"""Hardware by name: what a chip holds, computes and moves, as its maker states it.

TPU figures are those of Google's pages "TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e"
(docs.cloud.google.com/tpu/docs), read in 2026. `memory` is what the TPU compiler lets a program
use, as its message about too large a program says; the pages give 32, 16, 95 and 32 GB. Those
pages give the bandwidth of all links of a chip in both directions; `link` is one link one way. That
of v4 is from Jouppi et al. 2023, "TPU v4". The network of v5e is its hosts' 200 Gb/s shared by 8
chips, that of v6e 800 Gb/s shared by 8, that of v5p is stated; v4 is taken to be as v5p.

GPU figures are those of NVIDIA's data sheets of the SXM models: dense bfloat16, half of NVLink's
two-way bandwidth, 8 GPUs to a node as in a DGX, and a network card for each: 400 Gb/s, A100 200.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re

from jaxmusic._src.core.errors import UserError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator.

    Attributes:
      kind: tpu or gpu.
      memory: bytes that a program may use.
      flops: peak of dense bfloat16 products, per second.
      bandwidth: bytes per second between memory and chip.
      link: bytes per second that one link carries one way; on GPUs all links together.
      network: bytes per second between slices or nodes, for each chip, one way.
      dimensions: of the torus in which TPUs are linked.
      rings: chips along a dimension close to a ring if this divides their number (on a torus of
        three dimensions: of all of them).
    """

    kind: str
    memory: float
    flops: float
    bandwidth: float
    link: float
    network: float
    dimensions: int = 1
    rings: int = 1


CHIPS: dict[str, Chip] = {
    "v4": Chip("tpu", 30.75 * GIB, 275e12, 1200e9, 50e9, 6.25e9, dimensions=3, rings=4),
    "v5e": Chip("tpu", 15.75 * GIB, 197e12, 819e9, 50e9, 3.125e9, dimensions=2, rings=16),
    "v5p": Chip("tpu", 95.73 * GIB, 459e12, 2765e9, 100e9, 6.25e9, dimensions=3, rings=4),
    "v6e": Chip("tpu", 31.24 * GIB, 918e12, 1638e9, 100e9, 12.5e9, dimensions=2, rings=16),
    "a100": Chip("gpu", 80e9, 312e12, 2039e9, 300e9, 25e9),
    "h100": Chip("gpu", 80e9, 989e12, 3350e9, 450e9, 50e9),
    "h200": Chip("gpu", 141e9, 989e12, 4800e9, 450e9, 50e9),
}
NODE = 8
"""GPUs of a node."""


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips and how they are linked.

    Attributes:
      name: such as v5e:16x16.
      chip: what they are.
      shape: chips along each dimension of one slice; one number for GPUs.
      slices: slices of TPUs, joined by the network.
    """

    name: str
    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def count(self) -> int:
        """Chips in all."""
        return math.prod(self.shape) * self.slices

    def closes(self, dimension: int) -> bool:
        """Tells whether the chips along a dimension of the torus form a ring."""
        if len(self.shape) == 3:
            return all(size % self.chip.rings == 0 for size in self.shape)
        return self.shape[dimension] % self.chip.rings == 0


def parse(name: str, slices: int = 1) -> Topology:
    """Looks up hardware by name.

    Args:
      name: a TPU with the chips along each dimension of its slice, such as v5e:16x16, or a GPU with
        their number, such as h100:8.
      slices: number of such slices, for TPUs.

    Raises:
      UserError: there is no such hardware.
    """
    found = re.fullmatch(r"([a-z]+\d+[a-z]?|v\d+[a-z]?):(\d+(?:x\d+)*)", name.lower())
    chip = CHIPS.get(found[1]) if found else None
    if found is None or chip is None:
        raise UserError(
            f"Name the hardware as in v5e:16x16, v5p:4x4x8 or h100:8, with one of "
            f"{', '.join(CHIPS)}, not {name!r}."
        )
    shape = tuple(int(size) for size in found[2].split("x"))
    if chip.kind == "gpu" and (len(shape) > 1 or (shape[0] > NODE and shape[0] % NODE)):
        raise UserError(
            f"Give a number of GPUs up to {NODE} or a multiple of {NODE}, as in {found[1]}:8, "
            f"not {name}."
        )
    if chip.kind == "tpu" and len(shape) != chip.dimensions:
        example = {2: "4x4", 3: "4x4x4"}[chip.dimensions]
        raise UserError(
            f"Give the chips along {chip.dimensions} dimensions, as in {found[1]}:{example}, not "
            f"{name}."
        )
    if 0 in shape:
        raise UserError(f"Give at least one chip along each dimension, not {name}.")
    if slices < 1 or (chip.kind == "gpu" and slices != 1):
        raise UserError(
            f"Set --slices to the number of slices of TPUs, at least 1, not {slices}: several "
            "nodes of GPUs are written as their number, as in h100:64."
        )
    return Topology(name.lower(), chip, shape, slices)


def compile_elsewhere() -> None:
    """Lets JAX compile for TPUs on this machine without looking for any; before JAX is imported."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    # The compiler would ask a cloud's servers where it runs, and let no other process compile.
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
    os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-16"
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
