"""Splash attention in a real model, compiled for TPUs that need not be there."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="TPU programs are compiled by libtpu: pip install libtpu",
)

PROGRAM = """
    import functools, json, re, sys
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies
    from jaxmusic import config as configs
    from jaxmusic.core.events import Events
    from jaxmusic.models.attention import kernels as attention
    from jaxmusic.models import base, transformer
    from jaxmusic.models.layout import Layout
    from jaxmusic.models import mesh as meshes, sharding

    shape, width, remat = json.loads(sys.argv[1])
    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2").devices
    rules = sharding.ShardingRules()
    mesh = meshes.make_mesh(configs.Mesh(*shape), devices)
    layout = Layout(mesh, functools.partial(sharding.spec, rules, mesh=mesh))
    config = configs.Transformer(
        layers=2, width=256, heads=4, kv_heads=2, head_dim=width, hidden=512, dtype="bfloat16",
        remat=remat,
    )
    abstract = base.abstract_params(config, 1500)
    params = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        abstract, sharding.shardings(transformer.axes(config, 1500), abstract, mesh, rules),
    )
    rows = sharding.batch_sharding(mesh, rules, 4)
    column = jax.ShapeDtypeStruct((4, 1024), jnp.int32, sharding=rows)

    def loss(params, events, segment):
        logits = transformer.apply(params, config, events, segment, layout=layout).logits
        return jax.nn.logsumexp(logits, axis=-1).mean()

    inputs = (params, Events(*[column] * len(Events._fields)), column)
    compiled = jax.jit(jax.grad(loss)).lower(*inputs).compile()
    calls = [line for line in compiled.as_text().splitlines() if "custom-call(" in line]
    print(json.dumps({
        "kernel": attention.check(config, 1024, layout),
        "forward": sum("splash_mha_fwd_segmented" in line for line in calls),
        "keys": sum("splash_mha_dkv_segmented" in line for line in calls),
        "queries": sum("splash_mha_dq_segmented" in line for line in calls),
        "scores": len(re.findall(r"\\[[0-9,]*1024,1024\\]", compiled.as_text())),
    }))
"""


def compiled(*options):
    environment = {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), json.dumps(options)],
        env=os.environ | environment,
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("shape", "width", "remat", "forward"),
    [
        ((1, 4, 1, 1), 64, "nothing", 2),
        ((1, 1, 2, 2), 128, "attention", 1),
    ],
)
def test_splash_compiles_forward_and_backward(shape, width, remat, forward):
    want = {"kernel": "splash", "forward": forward, "keys": 1, "queries": 1, "scores": 0}
    assert compiled(shape, width, remat) == want
