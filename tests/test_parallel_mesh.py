"""Meshes, sharding rules, and that no layout changes the logits."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.sharding import PartitionSpec

from jaxmusic import config as configs
from jaxmusic.errors import UserError
from jaxmusic.parallel import mesh as meshes
from jaxmusic.parallel import sharding

RULES = sharding.ShardingRules()


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
        (
            (3, -1, 1, 1),
            "8 devices cannot be split into replica=3 x fsdp=-1 x context=1 x tensor=1",
        ),
        ((1, 4, 1, 1), "8 devices cannot be split into replica=1 x fsdp=4 x context=1 x tensor=1"),
        ((-1, -1, 1, 1), "only one axis of the mesh to -1, not replica and fsdp"),
        ((0, -1, 1, 1), "at least 1, not replica=0"),
    ],
)
def test_impossible_meshes(axes, message):
    with pytest.raises(UserError, match=message):
        meshes.mesh_shape(configs.Mesh(*axes), 8)


def abstract_mesh(replica=1, fsdp=1, context=1, tensor=1):
    return jax.sharding.AbstractMesh((replica, fsdp, context, tensor), meshes.AXES)


@pytest.mark.quick
def test_one_device_is_a_mesh_of_one():
    mesh = meshes.make_mesh(configs.Mesh(), jax.devices()[:1])
    assert dict(mesh.shape) == {"replica": 1, "fsdp": 1, "context": 1, "tensor": 1}
    assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}
    assert sharding.batch_sharding(mesh, RULES, 3).spec == PartitionSpec(
        ("replica", "fsdp"), "context"
    )


@pytest.mark.quick
def test_spec():
    mesh = abstract_mesh(2, 4, 1, 2)
    axes = ("layers", "embed", "heads", "head_dim")
    got = sharding.spec(RULES, axes, mesh, (6, 256, 4, 64))
    assert tuple(got) == (None, "fsdp", "tensor", None)
    assert tuple(sharding.spec(RULES, ("batch", None), mesh)) == (("replica", "fsdp"), None)


@pytest.mark.quick
@pytest.mark.parametrize(
    ("rules", "axes", "shape", "message"),
    [
        (RULES, ("embed", "heads"), (256, 3), "heads of size 3 cannot be split over 2 devices"),
        (RULES, ("batch", "embed"), None, "Split batch and embed over different axes.*fsdp twice"),
        (RULES, ("width",), None, "not 'width'"),
        (sharding.ShardingRules(embed=("model",)), ("embed",), None, "the mesh has no 'model'"),
    ],
)
def test_impossible_specs(rules, axes, shape, message):
    with pytest.raises(UserError, match=message):
        sharding.spec(rules, axes, abstract_mesh(1, 4, 1, 2), shape)


@pytest.mark.quick
def test_batches_that_do_not_divide():
    with pytest.raises(UserError, match=r"data\.batch to a multiple of 8: 12 rows"):
        sharding.batch_sharding(abstract_mesh(2, 4), RULES, 12)


def test_shardings_of_a_state():
    mesh = meshes.make_mesh(configs.Mesh(), jax.devices()[:1])
    weight = nnx.Param(jnp.ones((4, 6)), axes=("embed", "hidden"))
    got = sharding.shardings({"params": nnx.State({"w": weight}), "step": 0}, mesh, RULES)
    assert got["params"]["w"].get_value().spec == PartitionSpec("fsdp", "tensor")
    assert got["step"].spec == PartitionSpec()


PROGRAM = """
    import functools
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jaxmusic import config as configs
    from jaxmusic.events import Events
    from jaxmusic.models import transformer
    from jaxmusic.models.layout import Layout
    from jaxmusic.parallel import mesh as meshes, sharding

    assert len(jax.devices()) == 8
    config = configs.Model(layers=1, width=32, heads=4, kv_heads=2, head_dim=8, hidden=48)
    rng = np.random.default_rng(0)
    events = Events(*(rng.integers(0, 17, (8, 12), np.int32) for _ in Events._fields))
    segment = np.sort(rng.integers(1, 3, (8, 12))).astype(np.int32)
    rules = sharding.ShardingRules()
    logits_of, gradient_of = {}, {}
    one, tensor = (1, 1, 1, 1), (1, 4, 1, 2)
    for shape in (one, (1, 8, 1, 1), tensor, (2, 4, 1, 1)):
        mesh = meshes.make_mesh(configs.Mesh(*shape), jax.devices()[: 1 if shape == one else 8])
        graphdef, abstract = jax.eval_shape(lambda: transformer.make(config, 40, 0))
        layout = sharding.shardings(abstract, mesh, rules)
        params = jax.jit(lambda: transformer.make(config, 40, 0)[1], out_shardings=layout)()
        query = params["layers"]["query"].get_value()
        assert query.sharding.shard_shape(query.shape) == (1, 32 // shape[1], 4 // shape[3], 8)
        rows = sharding.batch_sharding(mesh, rules, 8)
        inputs = jax.device_put((events, segment), rows)

        @jax.jit
        def forward(params, events, segment):
            layout = Layout(mesh, functools.partial(sharding.spec, rules, mesh=mesh))
            return transformer.apply(graphdef, params, events, segment, layout=layout)

        @jax.jit
        def gradient(params, *inputs):
            return jax.grad(lambda p: jnp.square(forward(p, *inputs)).sum())(params)["token"]

        logits = forward(params, *inputs)
        assert logits.sharding.shard_shape(logits.shape)[0] == 8 // (shape[0] * shape[1])
        logits_of[shape] = np.asarray(logits)
        if shape in (one, tensor):
            gradient_of[shape] = np.asarray(gradient(params, *inputs).get_value())
    for logits in logits_of.values():
        np.testing.assert_allclose(logits, logits_of[one], atol=2e-6)
    np.testing.assert_allclose(gradient_of[tensor], gradient_of[one], rtol=1e-4, atol=1e-5)
    print("equal")
"""


def test_logits_and_gradients_are_the_same_on_every_mesh():
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
