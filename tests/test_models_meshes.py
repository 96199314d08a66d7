"""Models on meshes of eight virtual devices: the same attention, logits and gradients."""

import textwrap

from device_fakes import program_on_eight

START = """
    import functools, sys
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jaxmusic import config as configs
    from jaxmusic._src.core.events import Events
    from jaxmusic._src.models.attention import kernels as attention
    from jaxmusic._src.models import transformer
    from jaxmusic._src.models.layout import Layout
    from jaxmusic._src.models import mesh as meshes, sharding

    def layout_of(*shape):
        count = int(np.prod(shape))
        mesh = meshes.make_mesh(configs.Mesh(*shape), jax.devices()[:count])
        return Layout(mesh)

    rng = np.random.default_rng(0)
"""

KERNELS = """
    shapes = ((4, 4), (4, 2), (4, 2))
    q, k, v = (rng.normal(size=(*s, 512, 16)).astype(np.float32) for s in shapes)
    segment = np.sort(rng.integers(0, 5, (4, 512))).astype(np.int32)[:, ::-1]

    def value_and_gradients(q, k, v, segment, **options):
        def loss(q, k, v):
            out = attention.attend(q, k, v, segment, **options)
            return jnp.sum(jnp.sin(out) * jnp.arange(out.shape[-1])), out
        (_, out), grads = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(q, k, v)
        return out, *grads

    want = jax.jit(functools.partial(value_and_gradients, kernel="plain"))(q, k, v, segment)
    for kernel in ("plain", "chunked", "splash", "flash"):
        for shape in ((1, 1, 4, 1), (2, 1, 2, 2)):
            layout = layout_of(*shape)
            run = functools.partial(
                value_and_gradients, kernel=kernel, layout=layout,
                interpret=kernel in ("splash", "flash"),
            )
            got = jax.jit(run)(q, k, v, segment)
            for a, b in zip(got, want, strict=True):
                assert a.shape == b.shape
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5, err_msg=f"{kernel} {shape}")
    print('"equal"')
"""

MODEL = """
    jax.config.update("jax_enable_x64", True)
    config = configs.Transformer(
        layers=2, width=16, heads=4, kv_heads=2, head_dim=8, hidden=24, dtype="float64",
        rotary="index time pitch", softcap=20.0, remat="attention",
    )
    events = Events(*(rng.integers(0, 17, (8, 64), np.int32) for _ in Events._fields))
    segment = np.sort(rng.integers(1, 4, (8, 64))).astype(np.int32)
    segment[:, :30] = 1
    values = transformer.init(config, 40, 0)

    def program(layout):
        where = sharding.shardings(transformer.axes(config, 40), values, layout.mesh)
        params = jax.device_put(values, where)
        query, split = params["layers.query"], layout.mesh.shape
        share = (2, 16 // split["fsdp"], 4 // split["tensor"], 8)
        assert query.sharding.shard_shape(query.shape) == share
        rows = sharding.batch_sharding(layout.mesh, 8)

        def loss(params, events):
            logits = transformer.apply(params, config, events, segment, layout=layout).logits
            each = -jax.nn.log_softmax(logits)[..., 3]
            return each.mean(), each

        compiled = jax.jit(jax.grad(loss, has_aux=True), in_shardings=(where, rows))

        def run(events):
            grads, each = compiled(params, jax.device_put(events, rows))
            return np.asarray(each), [np.asarray(x) for x in jax.tree.leaves(grads)]

        return run

    want, want_grads = program(layout_of(1, 1, 1, 1))(events)
    assert want.dtype == np.float64
    for shape in ((2, 2, 1, 2), (1, 1, 4, 1)):
        run = program(layout_of(*shape))
        got, grads = run(events)
        np.testing.assert_allclose(got, want, rtol=1e-10, err_msg=str(shape))
        for a, b in zip(grads, want_grads, strict=True):
            assert a.dtype == np.float64
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12, err_msg=str(shape))
    # The last run split the sequence in four: what the first part of a row says is not heard in
    # the others, though their keys come from all devices.
    token = events.token.copy()
    token[:, 5] = (token[:, 5] + 1) % 40
    other, _ = run(events._replace(token=token))
    heard = (segment == 1) & (np.arange(64) >= 5)
    np.testing.assert_array_equal(other[~heard], got[~heard])
    assert (other[heard] != got[heard]).mean() > 0.99
    print('"equal"')
"""


def run(program):
    assert program_on_eight(textwrap.dedent(START) + textwrap.dedent(program)) == "equal"


def test_every_kernel_is_the_same_on_every_mesh(unoptimised):
    run(KERNELS)


def test_logits_and_gradients_agree_in_float64_on_every_mesh(unoptimised):
    run(MODEL)
