"""Parameters gathered where they are used: same values, same gradients, and how often they are."""

import json
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmusic.models.gathering import gathered


@pytest.mark.quick
def test_on_one_device_it_is_a_cast():
    weight = jnp.arange(12.0).reshape(3, 4)
    assert gathered(weight, ("embed", "hidden"), jnp.float32, None) is weight
    value, pull = jax.vjp(
        lambda w: gathered(w, ("embed", "hidden"), jnp.bfloat16, None), weight + 0.001
    )
    assert value.dtype == jnp.bfloat16
    assert pull(value)[0].dtype == jnp.float32


@pytest.fixture(scope="module")
def made():
    """Gradients of three layers on eight devices, and what they send."""
    code = """
    import dataclasses, functools, json, jax, jax.numpy as jnp, numpy as np
    from jaxmusic import config
    from jaxmusic.models.gathering import gathered
    from jaxmusic.models.layout import Layout
    from jaxmusic.models import sharding
    from jaxmusic.models.mesh import make_mesh
    from jaxmusic.planning.collectives import collectives
    mesh, rules = make_mesh(config.Mesh()), sharding.ShardingRules()
    layout = Layout(mesh, functools.partial(sharding.spec, rules, mesh=mesh))
    axes = {"up": ("embed", "hidden"), "down": ("hidden", "embed")}
    def loss(weights, x, layout):
        @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.nothing_saveable)
        def layer(x, w):
            w = {name: gathered(v, axes[name], x.dtype, layout) for name, v in w.items()}
            return x + jnp.tanh(x @ w["up"]) @ w["down"], None
        return jnp.sum(jax.lax.scan(layer, x, weights)[0] ** 2)
    shapes = {"up": (3, 64, 32), "down": (3, 32, 64)}
    keys = jax.random.split(jax.random.key(0), 3)
    weights = {n: jax.random.normal(k, s) / 8 for k, (n, s) in zip(keys, shapes.items())}
    x = jax.random.normal(keys[2], (16, 64))
    at = lambda names: jax.sharding.NamedSharding(mesh, sharding.spec(rules, names, mesh))
    put = lambda value, names: jax.device_put(value, at(names))
    split = {n: put(v, ("layers", *axes[n])) for n, v in weights.items()}
    plain = jax.grad(loss)(weights, x, None)
    step = jax.jit(jax.grad(loss), static_argnums=2).lower(split, put(x, ("batch", None)), layout)
    step = step.compile()
    grads = step(split, put(x, ("batch", None)))
    sent = collectives(step.as_text(), dict(mesh.shape))
    print(json.dumps({
        "apart": max(float(jnp.max(jnp.abs(grads[n] - plain[n]))) for n in plain),
        "largest": max(float(jnp.max(jnp.abs(plain[n]))) for n in plain),
        "split": [str(grads[n].sharding.spec) for n in sorted(grads)],
        "sent": [dataclasses.asdict(c) for c in sent],
    }))
    """
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    env["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gradients_are_those_of_one_device(made):
    assert made["apart"] < 1e-5 * made["largest"]


def test_each_parameter_is_gathered_twice_in_each_layer(made):
    whole = 64 * 32 * 4
    gathers = [c for c in made["sent"] if c["kind"] == "all-gather"]
    assert sum(c["bytes"] * c["times"] for c in gathers) == pytest.approx(2 * 3 * 2 * whole * 7 / 8)
    assert all(c["axes"] == ["fsdp"] for c in made["sent"])
    assert np.all([c["times"] == 3 for c in gathers])
