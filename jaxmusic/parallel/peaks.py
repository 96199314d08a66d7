"""Floating-point operations a second that a device can do at most, by the name JAX gives it.

Dense products of bfloat16 with sums in float32, as their makers state them: Google in "System
architecture" of each version of Cloud TPU (https://cloud.google.com/tpu/docs), NVIDIA in the data
sheets of its GPUs, whose figures with sparsity are halved here.
"""

from __future__ import annotations

TERA = 1e12

TPUS = {
    "TPU v2": 22.5,
    "TPU v3": 61.5,
    "TPU v4": 275.0,
    "TPU v5 lite": 197.0,
    "TPU v5e": 197.0,
    "TPU v5": 459.0,
    "TPU v5p": 459.0,
    "TPU v6 lite": 918.0,
    "TPU v6e": 918.0,
}
"""TFLOP/s of a TPU: of a chip, but for v2 and v3, whose two cores are devices of their own."""

GPUS = (
    ("GB200", 2500.0),
    ("B200", 2250.0),
    ("GH200", 989.0),
    ("H200", 989.0),
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L40", 181.0),
    ("L4", 121.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("RTX 4090", 165.2),
    ("RTX 3090", 71.0),
)
"""TFLOP/s of an NVIDIA GPU in whose name these words stand; the first that fits counts."""


def peak_flops(device_kind: str) -> float:
    """Peak of one device in FLOP/s of bfloat16; 0 where it is not known, as for CPUs.

    Args:
      device_kind: as `jax.Device.device_kind` has it, e.g. "NVIDIA H100 80GB HBM3".
    """
    if device_kind in TPUS:
        return TPUS[device_kind] * TERA
    words = f" {device_kind.replace('-', ' ')} "
    if "NVIDIA" not in words:
        return 0.0
    return next((peak * TERA for name, peak in GPUS if f" {name} " in words), 0.0)
