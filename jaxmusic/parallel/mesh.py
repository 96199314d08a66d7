"""The mesh: devices arranged along the axes replica, fsdp, context and tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType

from jaxmusic import config as configs
from jaxmusic.errors import UserError

AXES = ("replica", "fsdp", "context", "tensor")


def make_mesh(
    config: configs.Mesh, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
    """Arranges the devices; one device is a mesh of one.

    Args:
      config: devices along each axis; one of them may be -1 for the rest.
      devices: the devices to use; all of the job when None.

    Returns:
      A mesh with automatic axes `AXES`.

    Raises:
      UserError: if the devices cannot be split so.
    """
    devices = jax.devices() if devices is None else list(devices)
    shape = mesh_shape(config, len(devices))
    types = (AxisType.Auto,) * len(AXES)
    if devices[0].platform == "cpu":
        return jax.sharding.Mesh(np.asarray(devices).reshape(shape), AXES, axis_types=types)
    # On TPU and GPU this also orders the devices so that neighbours on an axis are near.
    return jax.make_mesh(shape, AXES, axis_types=types, devices=devices)


def mesh_shape(config: configs.Mesh, count: int) -> tuple[int, ...]:
    """Devices along each axis for `count` devices; raises UserError if they do not divide."""
    wanted = {axis: getattr(config, axis) for axis in AXES}
    asked = " x ".join(f"{axis}={size}" for axis, size in wanted.items())
    devices = f"{count} device" + "s" * (count != 1)
    open_axes = [axis for axis, size in wanted.items() if size == -1]
    if len(open_axes) > 1:
        raise UserError(f"Set only one axis of the mesh to -1, not {' and '.join(open_axes)}.")
    if any(size < 1 and size != -1 for size in wanted.values()):
        raise UserError(f"Set every axis of the mesh to -1 or at least 1, not {asked}.")
    fixed = math.prod(size for size in wanted.values() if size != -1)
    if count % fixed or (not open_axes and count != fixed):
        raise UserError(
            f"{devices} cannot be split into {asked}: choose axes whose product is {count}, "
            "or -1 for the rest."
        )
    for axis in open_axes:
        wanted[axis] = count // fixed
    return tuple(wanted.values())
