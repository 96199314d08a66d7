"""The Transformer: what it sees, what it costs, and the cache against the full forward pass."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxmusic import config as configs
from jaxmusic.core.errors import UserError
from jaxmusic.core.events import MAX_PITCHES, MAX_POSITIONS, MAX_SLOTS, Events
from jaxmusic.models import decode, transformer

SMALL = configs.Model(layers=2, width=32, heads=4, kv_heads=2, head_dim=16, hidden=48)
VOCAB = 50
apply = jax.jit(transformer.apply, static_argnums=0)


def music_like(batch, length, seed=0):
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.integers(0, 5, (batch, length)), axis=1)
    columns = [rng.integers(0, n, (batch, length)) for n in (VOCAB, MAX_SLOTS, MAX_PITCHES)]
    return Events(
        *(
            jnp.asarray(x, jnp.int32)
            for x in (columns[0], time, time % 144, time // 144, *columns[1:])
        )
    )


def part(events, start, end):
    return Events(*(x[:, start:end] for x in events))


def changed(events, place):
    token = events.token.at[:, place].set((events.token[:, place] + 1) % VOCAB)
    return events._replace(token=token)


def test_causal_and_packed():
    graphdef, params = transformer.make(SMALL, VOCAB, 0)
    events = music_like(2, 60)
    segment = jnp.asarray([[1] * 20 + [2] * 30 + [0] * 10] * 2)
    before = apply(graphdef, params, events, segment)
    after = apply(graphdef, params, changed(events, 30), segment)
    assert before.shape == (2, 60, VOCAB) and before.dtype == jnp.float32
    moved = np.abs(np.asarray(before - after)).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(moved, (np.arange(60) >= 30) & (np.arange(60) < 50))


def test_a_piece_has_the_same_logits_wherever_it_is_packed():
    graphdef, params = transformer.make(SMALL, VOCAB, 1)
    events = music_like(1, 80)
    alone = apply(graphdef, params, part(events, 30, 80), jnp.ones((1, 50), jnp.int32))
    packed = apply(graphdef, params, events, jnp.asarray([[1] * 30 + [2] * 50]))
    np.testing.assert_allclose(packed[:, 30:], alone, atol=1e-5)
    shifted = events._replace(time=events.time + 480)
    later = apply(graphdef, params, shifted, jnp.asarray([[1] * 30 + [2] * 50]))
    np.testing.assert_allclose(later, packed, atol=2e-5)


@pytest.mark.parametrize("field", ["time", "position", "slot", "pitch"])
def test_every_field_matters(field):
    graphdef, params = transformer.make(SMALL, VOCAB, 0)
    events = music_like(1, 8)
    segment = jnp.ones((1, 8), jnp.int32)
    column = getattr(events, field)
    other = events._replace(**{field: column.at[0, 3].set((column[0, 3] + 5) % 17)})
    a, b = (apply(graphdef, params, e, segment) for e in (events, other))
    assert np.abs(np.asarray(a - b))[0, 3:].max() > 1e-6
    np.testing.assert_array_equal(a[0, :3], b[0, :3])


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        dataclasses.replace(SMALL, kv_heads=4, layers=3),
        configs.Model(),
    ],
)
def test_number_of_parameters(config):
    head = config.head_dim * (2 * config.heads + 2 * config.kv_heads)
    layer = config.width * (head + 3 * config.hidden + 2) + 2 * config.head_dim
    tables = VOCAB + MAX_POSITIONS + MAX_SLOTS + MAX_PITCHES + 1
    want = config.layers * layer + tables * config.width
    assert transformer.num_parameters(config, VOCAB) == want


@pytest.mark.quick
def test_flops_of_one_token():
    config = configs.Model(layers=1, width=8, heads=2, kv_heads=1, head_dim=4, hidden=16)
    matrices = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16 + 10 * 8
    scores = (1 + 2 + 3) / 3 * 2 * 4 * 2 * 2
    assert transformer.flops_per_token(config, 10, 3) == 3 * (2 * matrices + scores)


@pytest.mark.quick
def test_starts_near_the_uniform_guess():
    graphdef, params = transformer.make(configs.Model(), 1000, 0)
    events = music_like(2, 64)
    logits = apply(graphdef, params, events, jnp.ones((2, 64), jnp.int32))
    loss = -jax.nn.log_softmax(logits)[..., 7].mean()
    assert abs(float(loss) - np.log(1000)) < 0.2


@pytest.mark.parametrize(
    "options", [{"remat": "nothing"}, {"remat": "attention"}, {"attention": "plain"}]
)
def test_options_do_not_change_the_gradient(options):
    events, segment = music_like(2, 150), jnp.ones((2, 150), jnp.int32)

    def gradient(config):
        graphdef, params = transformer.make(config, VOCAB, 0)

        def loss(params):
            logits = apply(graphdef, params, events, segment)
            return -jax.nn.log_softmax(logits)[..., 3].mean()

        return jax.jit(jax.grad(loss))(params)

    want, got = gradient(SMALL), gradient(dataclasses.replace(SMALL, **options))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_less_is_kept_the_less_memory_is_needed():
    events, segment = music_like(2, 256), jnp.ones((2, 256), jnp.int32)

    def memory(remat):
        config = dataclasses.replace(SMALL, layers=32, width=64, hidden=192, remat=remat)
        graphdef, params = jax.eval_shape(lambda: transformer.make(config, VOCAB, 0))

        def loss(params):
            return transformer.apply(graphdef, params, events, segment).sum()

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
    graphdef, params = transformer.make(config, VOCAB, 0)
    single = apply(graphdef, params, events, segment)
    with jax.enable_x64(True):
        config = dataclasses.replace(config, dtype="float64")
        values = {}
        for kernel in ("plain", "chunked"):
            graphdef, exact = transformer.make(
                dataclasses.replace(config, attention=kernel), VOCAB, 0
            )
            assert {x.dtype for x in jax.tree.leaves(exact)} == {jnp.dtype("float64")}
            values[kernel] = np.asarray(apply(graphdef, exact, events, segment))
        weights = decode.prepare(config, exact)
        cache = decode.init_cache(config, 2, 160)
        extend = jax.jit(decode.extend, static_argnums=0)
        cached, _ = extend(config, weights, events, cache, 0)
    for wide, narrow in zip(jax.tree.leaves(exact), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(wide, narrow, rtol=1e-6)
    assert values["plain"].dtype == np.float64
    np.testing.assert_allclose(values["chunked"], values["plain"], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(cached, values["plain"], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(single, values["plain"], atol=1e-5)


def test_softcap_bends_the_logits():
    events, segment = music_like(2, 40), jnp.ones((2, 40), jnp.int32)
    graphdef, params = transformer.make(SMALL, VOCAB, 0)
    free = np.asarray(apply(graphdef, params, events, segment))
    capped, _ = transformer.make(dataclasses.replace(SMALL, softcap=0.25), VOCAB, 0)
    got = np.asarray(apply(capped, params, events, segment))
    assert np.abs(free).max() > 0.4 and np.abs(got).max() <= 0.25
    np.testing.assert_allclose(got, 0.25 * np.tanh(free / 0.25), atol=1e-6)


def test_dropout_follows_its_key():
    config = dataclasses.replace(SMALL, dropout=0.5)
    graphdef, params = transformer.make(config, VOCAB, 0)
    events, segment = music_like(1, 12), jnp.ones((1, 12), jnp.int32)

    def logits(key):
        return np.asarray(apply(graphdef, params, events, segment, key))

    first, again, other = (logits(jax.random.key(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first - logits(None)).max() > 1e-3


def test_bfloat16_stays_close():
    events, segment = music_like(2, 40), jnp.ones((2, 40), jnp.int32)
    graphdef, params = transformer.make(SMALL, VOCAB, 0)
    want = apply(graphdef, params, events, segment)
    low, _ = transformer.make(dataclasses.replace(SMALL, dtype="bfloat16"), VOCAB, 0)
    got = apply(low, params, events, segment)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=0.03)


def test_every_parameter_names_its_axes():
    _, params = jax.eval_shape(lambda: transformer.make(SMALL, VOCAB, 0))
    leaves = jax.tree.leaves(params, is_leaf=lambda x: isinstance(x, nnx.Variable))
    assert len(leaves) == 4 + 11 + 1
    for leaf in leaves:
        assert len(leaf.get_metadata()["axes"]) == leaf.get_value().ndim


def test_same_seed_same_parameters():
    a, b, c = (transformer.make(SMALL, VOCAB, seed)[1]["token"][...] for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert np.abs(np.asarray(a - c)).max() > 0


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
        ({"softcap": -1.0}, "model.softcap to 0 for none"),
        ({"dtype": "float64"}, "JAX_ENABLE_X64=1"),
    ],
)
@pytest.mark.quick
def test_wrong_shapes_say_what_to_set(options, message):
    with pytest.raises(UserError, match=message):
        transformer.make(dataclasses.replace(SMALL, **options), VOCAB, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"kv_heads": 1},
        {"kv_heads": 4, "softcap": 0.5},
        {"rotary": "index time pitch"},
        {"rotary": ""},
    ],
)
def test_cache_gives_the_logits_of_the_full_pass(options):
    config = dataclasses.replace(SMALL, **options)
    graphdef, params = transformer.make(config, VOCAB, 0)
    events = music_like(2, 40)
    want = apply(graphdef, params, events, jnp.ones((2, 40), jnp.int32))
    weights = decode.prepare(config, params)
    cache = decode.init_cache(config, 2, 16)
    extend = jax.jit(decode.extend, static_argnums=0)
    first, cache = extend(config, weights, part(events, 0, 11), cache, 0)
    np.testing.assert_allclose(first, want[:, :11], atol=1e-4)
    cache = decode.grow(cache, 64)
    last, cache = extend(config, weights, part(events, 11, 20), cache, 11, last=8)
    np.testing.assert_allclose(last, want[:, 19], atol=1e-4)
    step = jax.jit(decode.step, static_argnums=0)
    for i in range(20, 40):
        logits, cache = step(config, weights, part(events, i, i + 1), cache, i)
        np.testing.assert_allclose(logits, want[:, i], atol=1e-4)


def test_step_within_a_while_loop_and_after_padding():
    graphdef, params = transformer.make(SMALL, VOCAB, 0)
    events = music_like(1, 30)
    want = apply(graphdef, params, events, jnp.ones((1, 30), jnp.int32))
    weights = decode.prepare(SMALL, params)

    @jax.jit
    def run(events, real):
        cache = decode.init_cache(SMALL, 1, 32)
        prompt = part(events, 0, 16)
        # Places from `real` on are padding that must leave no trace.
        prompt = prompt._replace(token=jnp.where(jnp.arange(16) < real, prompt.token, 49))
        logits, cache = decode.extend(SMALL, weights, prompt, cache, 0, last=real - 1)

        def body(carry):
            i, cache, _ = carry
            one = Events(*(jax.lax.dynamic_slice_in_dim(x, i, 1, 1) for x in events))
            logits, cache = decode.step(SMALL, weights, one, cache, i)
            return i + 1, cache, logits

        return logits, jax.lax.while_loop(lambda c: c[0] < 30, body, (real, cache, logits))[2]

    prompt_logits, logits = run(events, jnp.int32(10))
    np.testing.assert_allclose(prompt_logits, want[:, 9], atol=1e-4)
    np.testing.assert_allclose(logits, want[:, 29], atol=1e-4)


@pytest.mark.parametrize("columns", [6, 7, 8])
@pytest.mark.parametrize("rows", [1, 3, decode.FEW_ROWS + 1])
def test_a_product_with_blocks_is_the_product(rows, columns):
    rng = np.random.default_rng(rows * columns)
    x = rng.normal(size=(rows, 2, 5)).astype(np.float32)
    matrix = rng.normal(size=(5, columns)).astype(np.float32)
    cut = decode.blocks(jnp.asarray(matrix))
    assert cut.shape[0] * cut.shape[2] == columns
    np.testing.assert_allclose(decode.product(jnp.asarray(x), cut), x @ matrix, atol=1e-5)
