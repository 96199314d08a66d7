"""Meshes, and what is split over them."""

import device_fakes as fakes
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models import mesh as meshes
from jaxmusic._src.models import sharding
from jaxmusic._src.models.layout import gathered, spec


@pytest.mark.quick
@pytest.mark.parametrize(
    ("axes", "count", "shape"),
    [
        ((1, -1, 1, 1), 1, (1, 1, 1, 1)),
        ((1, -1, 1, 1), 8, (1, 8, 1, 1)),
        ((1, -1, 1, 2), 8, (1, 4, 1, 2)),
        ((-1, 4, 1, 1), 8, (2, 4, 1, 1)),
        ((2, 2, 2, 1), 8, (2, 2, 2, 1)),
    ],
)
def test_mesh_shape(axes, count, shape):
    assert meshes.mesh_shape(configs.Mesh(*axes), count) == shape


@pytest.mark.quick
@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((3, -1, 1, 1), "8 devices cannot be split into replica=3 x fsdp=-1 x context=1"),
        ((1, 4, 1, 1), "8 devices cannot be split into replica=1 x fsdp=4 x context=1 x tensor=1"),
        ((-1, -1, 1, 1), "only one axis of the mesh to -1, not replica and fsdp"),
        ((0, -1, 1, 1), "at least 1, not replica=0"),
    ],
)
def test_impossible_meshes(axes, message):
    with pytest.raises(UserError, match=message):
        meshes.mesh_shape(configs.Mesh(*axes), 8)


@pytest.mark.quick
def test_slices_lie_along_replica_and_rings_along_links():
    mesh = meshes.make_mesh(configs.Mesh(replica=2), fakes.tpus(2))
    assert dict(mesh.shape) == {"replica": 2, "fsdp": 16, "context": 1, "tensor": 1}
    for number, part in enumerate(mesh.devices):
        assert {device.slice_index for device in part.flat} == {number}
        near = [device.coords for device in part.flat]
        steps = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in zip(near, near[1:] + near[:1])]
        assert steps == [1] * 16
    mesh = meshes.make_mesh(configs.Mesh(replica=4, tensor=2), fakes.tpus(2))
    slices = [[device.slice_index for device in part.flat] for part in mesh.devices]
    assert slices == [[0] * 8, [0] * 8, [1] * 8, [1] * 8]

    # An axis of the mesh may take a part of an axis of the torus.
    mesh = meshes.make_mesh(configs.Mesh(tensor=2), fakes.tpus(1))
    assert mesh.shape["fsdp"] == 8 and len({d.id for d in mesh.devices.flat}) == 16
    with pytest.raises(UserError, match=r"mesh\.replica to a multiple of 2, the number of slices"):
        meshes.make_mesh(configs.Mesh(), fakes.tpus(2))


@pytest.mark.quick
def test_gpus_are_taken_host_by_host():
    mesh = meshes.make_mesh(configs.Mesh(replica=2), fakes.gpus(2))
    assert [{d.slice_index for d in part.flat} for part in mesh.devices] == [{0}, {1}]
    # Parameters may be gathered over the network, where one asks for it.
    mesh = meshes.make_mesh(configs.Mesh(tensor=4), fakes.gpus(2))
    assert [{d.slice_index for d in part.flat} for part in mesh.devices[0]] == [{0}, {1}]


def abstract_mesh(replica=1, fsdp=1, context=1, tensor=1):
    return jax.sharding.AbstractMesh((replica, fsdp, context, tensor), meshes.AXES)


@pytest.mark.quick
def test_one_device_is_a_mesh_of_one():
    mesh = meshes.make_mesh(configs.Mesh(), jax.devices()[:1])
    assert dict(mesh.shape) == {"replica": 1, "fsdp": 1, "context": 1, "tensor": 1}
    assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
    assert sharding.batch_sharding(mesh, 3).spec == PartitionSpec(("replica", "fsdp"), "context")


@pytest.mark.quick
def test_spec():
    mesh = abstract_mesh(2, 4, 1, 2)
    axes = ("layers", "embed", "heads", "head_dim")
    assert tuple(spec(mesh, axes, (6, 256, 4, 64))) == (None, "fsdp", "tensor", None)
    assert tuple(spec(mesh, ("batch", None))) == (("replica", "fsdp"), None)
    with pytest.raises(UserError, match="heads of size 3 cannot be split over 2 devices"):
        spec(mesh, ("embed", "heads"), (256, 3))


@pytest.mark.quick
def test_batches_that_do_not_divide():
    with pytest.raises(UserError, match=r"data\.batch to a multiple of 8: 12 rows"):
        sharding.batch_sharding(abstract_mesh(2, 4), 12)
    assert sharding.batch_sharding(abstract_mesh(context=2), 1, context=6)
    with pytest.raises(UserError, match=r"data\.context to a multiple of 4: rows of 6 tokens"):
        sharding.batch_sharding(abstract_mesh(context=4), 1, context=6)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("axes", "devices", "blocks"),
    [
        # One host of several on a ring holds rows that are no neighbours, but no other host does.
        ((2, -1, 1, 1), fakes.tpus(2), [(i, 8) for i in range(8)]),
        # Hosts side by side along context or tensor hold the same rows.
        ((1, 4, 4, 1), fakes.tpus(1), [(0, 2), (0, 2), (1, 2), (1, 2)]),
        ((1, 1, 2, 1), [fakes.Device(i, "cpu", i) for i in range(2)], [(0, 1), (0, 1)]),
        ((1, 1, 1, 2), [fakes.Device(i, "cpu", i) for i in range(2)], [(0, 1), (0, 1)]),
        ((1, 2, 1, 2), [fakes.Device(i, "cpu", i) for i in range(4)], [(0, 2), (0, 2), (1, 2)]),
        # Rows in no pattern: three of four devices, and one.
        ((1, 4, 1, 1), [fakes.Device(i, "cpu", i // 3) for i in range(4)], [(0, 1), (0, 1)]),
    ],
)
def test_rows_of_a_process(axes, devices, blocks):
    mesh = meshes.make_mesh(configs.Mesh(*axes), devices)
    place = sharding.batch_sharding(mesh, 64)
    found = [sharding.process_rows(place, (64, 8), process) for process in range(len(blocks))]
    assert found == blocks


@pytest.mark.quick
def test_moments_are_split_as_the_rest_of_their_parameter():
    mesh = meshes.make_mesh(configs.Mesh(tensor=2), fakes.cpus(8))
    axes, shape = ("layers", "embed", "heads", "head_dim"), (3, 8, 4, 6)
    place = jax.sharding.NamedSharding(mesh, spec(mesh, axes, shape))

    def split(moment):
        return tuple(sharding.of_moment(place, shape, moment).spec)

    assert split(shape) == (None, "fsdp", "tensor", None)
    assert split((3, 4, 6)) == (None, "tensor", None)
    assert split((3, 8, 4)) == (None, "fsdp", "tensor")
    assert split((1,)) == split(()) == ()


@pytest.mark.quick
def test_on_one_device_gathering_is_a_cast():
    weight = jnp.arange(12.0).reshape(3, 4)
    assert gathered(weight, ("embed", "hidden"), jnp.float32, None) is weight
    value, pull = jax.vjp(
        lambda w: gathered(w, ("embed", "hidden"), jnp.bfloat16, None), weight + 0.001
    )
    assert value.dtype == jnp.bfloat16 and pull(value)[0].dtype == jnp.float32
