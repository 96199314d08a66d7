"""The Transformer: what it sees, what it costs, and the cache against the full forward pass."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_models_families import CONFIGS, VOCAB, music_like, part

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models import base, decode, transformer

SMALL = CONFIGS["transformer"]
apply = jax.jit(transformer.apply, static_argnums=1)


@pytest.mark.quick
def test_flops_of_one_token():
    config = configs.Transformer(layers=1, width=8, heads=2, kv_heads=1, head_dim=4, hidden=16)
    matrices = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16 + 10 * 8
    scores = (1 + 2 + 3) / 3 * 2 * 4 * 2 * 2
    assert transformer.flops(config, 10, 3) == 3 * (2 * matrices + scores)


def test_options_do_not_change_the_gradient():
    events, segment = music_like(2, 150), jnp.ones((2, 150), jnp.int32)

    def gradient(config):
        params = transformer.init(config, VOCAB, 0)

        def loss(params):
            logits = apply(params, config, events, segment).logits
            return -jax.nn.log_softmax(logits)[..., 3].mean()

        return jax.jit(jax.grad(loss))(params)

    want = gradient(SMALL)
    for options in ({"remat": "attention"}, {"remat": "nothing", "attention": "plain"}):
        got = gradient(dataclasses.replace(SMALL, **options))
        for name, value in want.items():
            np.testing.assert_allclose(got[name], value, atol=1e-6)


def test_the_less_is_kept_the_less_memory_is_needed():
    events, segment = music_like(2, 256), jnp.ones((2, 256), jnp.int32)

    def memory(remat):
        config = dataclasses.replace(SMALL, layers=32, width=64, hidden=192, remat=remat)
        params = base.abstract_params(config, VOCAB)

        def loss(params):
            return transformer.apply(params, config, events, segment).logits.sum()

        compiled = jax.jit(jax.grad(loss)).lower(params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    products, attention, nothing = (memory(r) for r in ("products", "attention", "nothing"))
    # Of each layer: queries, keys, values, output, gate and up; and what attention mixed.
    tokens = 32 * 2 * 256 * 4
    assert products - attention > 0.9 * tokens * (64 + 32 + 32 + 64 + 2 * 192)
    assert attention - nothing > 0.7 * tokens * 64


def test_float64_is_float64_throughout():
    events, segment = music_like(2, 150), jnp.ones((2, 150), jnp.int32)
    config = dataclasses.replace(SMALL, rotary="index time pitch", softcap=30.0)
    params = transformer.init(config, VOCAB, 0)
    single = apply(params, config, events, segment).logits
    with jax.enable_x64(True):
        config = dataclasses.replace(config, dtype="float64")
        exact = transformer.init(config, VOCAB, 0)
        assert {x.dtype for x in exact.values()} == {jnp.dtype("float64")}
        values = {}
        for kernel in ("plain", "chunked"):
            other = dataclasses.replace(config, attention=kernel)
            values[kernel] = np.asarray(apply(exact, other, events, segment).logits)
        weights, cache = decode.prepare(config, exact), decode.begin(config, 2, 160)
        cached, _ = jax.jit(decode.feed, static_argnums=0)(config, weights, cache, events)
    for wide, narrow in zip(jax.tree.leaves(exact), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(wide, narrow, rtol=1e-6)
    assert values["plain"].dtype == np.float64
    np.testing.assert_allclose(values["chunked"], values["plain"], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(cached, values["plain"][:, -1], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(single, values["plain"], atol=1e-5)


def test_softcap_bounds_the_logits():
    events, segment = music_like(2, 40), jnp.ones((2, 40), jnp.int32)
    params = transformer.init(SMALL, VOCAB, 0)
    free = np.asarray(apply(params, SMALL, events, segment).logits)
    capped = dataclasses.replace(SMALL, softcap=0.25)
    got = np.asarray(apply(params, capped, events, segment).logits)
    assert np.abs(free).max() > 0.4 and np.abs(got).max() <= 0.25
    np.testing.assert_allclose(got, 0.25 * np.tanh(free / 0.25), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kv_heads": 3}, "model.kv_heads to a divisor"),
        ({"head_dim": 18}, "model.head_dim to a multiple of 4"),
        ({"dtype": "float16"}, "model.dtype to float32 or bfloat16"),
        ({"attention": "dense"}, "model.attention to one of"),
        ({"rotary": "index beat"}, "model.rotary to any of index, time, pitch, not 'index beat'"),
        ({"rotary": "time time"}, "model.rotary to any of index, time, pitch"),
        ({"remat": "everything"}, "model.remat to products or attention or nothing"),
        ({"dtype": "float64"}, "JAX_ENABLE_X64=1"),
    ],
)
@pytest.mark.quick
def test_wrong_shapes_say_what_to_set(options, message):
    with pytest.raises(UserError, match=message):
        transformer.init(dataclasses.replace(SMALL, **options), VOCAB, 0)


@pytest.mark.parametrize(
    "options",
    [{"kv_heads": 1, "rotary": "index time pitch"}, {"kv_heads": 4, "softcap": 0.5, "rotary": ""}],
)
def test_cache_gives_the_logits_of_the_full_pass(options):
    config = dataclasses.replace(SMALL, **options)
    params, events = transformer.init(config, VOCAB, 0), music_like(2, 40)
    want = apply(params, config, events, jnp.ones((2, 40), jnp.int32)).logits
    weights, cache = decode.prepare(config, params), decode.begin(config, 2, 64)
    feed = jax.jit(decode.feed, static_argnums=0)
    for start, stop in ((0, 11), (11, 38), (38, 39), (39, 40)):
        logits, cache = feed(config, weights, cache, part(events, start, stop))
        np.testing.assert_allclose(logits, want[:, stop - 1], atol=1e-4)


@pytest.mark.parametrize("columns", [6, 7, 8])
@pytest.mark.parametrize("rows", [1, 3, decode.FEW_ROWS + 1])
def test_a_product_with_blocks_is_the_product(rows, columns):
    rng = np.random.default_rng(rows * columns)
    x = rng.normal(size=(rows, 2, 5)).astype(np.float32)
    matrix = rng.normal(size=(5, columns)).astype(np.float32)
    cut = decode.blocks(jnp.asarray(matrix))
    assert cut.shape[0] * cut.shape[2] == columns
    np.testing.assert_allclose(decode.product(jnp.asarray(x), cut), x @ matrix, atol=1e-5)
