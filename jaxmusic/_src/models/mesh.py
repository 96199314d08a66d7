"""The mesh: devices arranged along the axes replica, fsdp, context and tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental.mesh_utils import create_device_mesh
from jax.sharding import AxisType

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError

AXES = ("replica", "fsdp", "context", "tensor")


def make_mesh(
    config: configs.Mesh, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
    """Arranges the devices; one device is a mesh of one.

    Neighbours on an axis are physically close. Slices, joined by a slow network, lie along
    `replica`, so that only gradients cross between them. GPUs and CPUs are ordered by host: with
    `replica` a multiple of the hosts, only gradients cross between hosts too; otherwise parameters
    are gathered over the network.

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
    slices = _slices(devices)
    if devices[0].platform == "tpu":
        arranged = _near(shape, slices)
    else:
        arranged = np.asarray([device for each in slices for device in each]).reshape(shape)
    return jax.sharding.Mesh(arranged, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _slices(devices: Sequence[jax.Device]) -> list[list[jax.Device]]:
    """Groups devices by slice (of TPUs) or host, in the order of their numbers."""
    found: dict[int, list[jax.Device]] = {}
    for device in devices:
        found.setdefault(getattr(device, "slice_index", None) or 0, []).append(device)
    return [found[index] for index in sorted(found)]


def _near(shape: tuple[int, ...], slices: list[list[jax.Device]]) -> np.ndarray:
    """Orders TPUs along the links of each slice, slice after slice."""
    replica, *rest = shape
    if replica % len(slices):
        raise UserError(
            f"Set mesh.replica to a multiple of {len(slices)}, the number of slices, not "
            f"{replica}: the network between slices is too slow for any other axis."
        )
    within = (replica // len(slices), *rest)
    # An axis of the mesh may take a part of an axis of the torus: else v5p:4x4x4, say, could not
    # be split into 8 x 8.
    meshes = [create_device_mesh(within, s, allow_split_physical_axes=True) for s in slices]
    return np.concatenate(meshes)


def mesh_shape(config: configs.Mesh, count: int) -> tuple[int, ...]:
    """Divides `count` devices among the axes; raises UserError if they do not divide."""
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
