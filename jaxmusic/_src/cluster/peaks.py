"""The peak of a device by the name that JAX gives it.

What `topology.CHIPS` has is looked up there. The others have no more than their peak here: Google's
and NVIDIA's own figures too, from the pages and data sheets of each, dense bfloat16 with sums in
float32; what NVIDIA states with sparsity is halved.
"""

from __future__ import annotations

from jaxmusic._src.cluster.topology import CHIPS

TPUS = {
    "TPU v2": 22.5e12,
    "TPU v3": 61.5e12,
    "TPU v4": CHIPS["v4"].flops,
    "TPU v5 lite": CHIPS["v5e"].flops,
    "TPU v5e": CHIPS["v5e"].flops,
    "TPU v5": CHIPS["v5p"].flops,
    "TPU v5p": CHIPS["v5p"].flops,
    "TPU v6 lite": CHIPS["v6e"].flops,
    "TPU v6e": CHIPS["v6e"].flops,
}
"""FLOP/s of a TPU: of a chip; of a core for v2 and v3, whose two cores are devices of their own."""

GPUS = (
    ("GB200", 2500e12),
    ("B200", 2250e12),
    ("GH200", CHIPS["h100"].flops),
    ("H200", CHIPS["h200"].flops),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", CHIPS["h100"].flops),
    ("A100", CHIPS["a100"].flops),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L4", 121e12),
    ("A10G", 70e12),
    ("A10", 125e12),
    ("RTX 4090", 165.2e12),
    ("RTX 3090", 71e12),
)
"""FLOP/s of an NVIDIA GPU in whose name these words stand; the first that fits counts."""


def peak_flops(device_kind: str) -> float:
    """Returns the peak of one device in bfloat16 FLOP/s; 0 if unknown, as for CPUs.

    Args:
      device_kind: as `jax.Device.device_kind` has it, e.g. "NVIDIA H100 80GB HBM3".
    """
    if device_kind in TPUS:
        return TPUS[device_kind]
    words = f" {device_kind.replace('-', ' ')} "
    if " NVIDIA " not in words:
        return 0.0
    return next((peak for name, peak in GPUS if f" {name} " in words), 0.0)
