"""The attention kernels against the dense reference, on packed rows."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models import layers, layout
from jaxmusic._src.models.attention import chunked, flash
from jaxmusic._src.models.attention import kernels as attention

PALLAS = ("splash", "flash")


def packed(length, heads=4, kv_heads=2, width=16, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((batch, heads), (batch, kv_heads), (batch, kv_heads))
    q, k, v = (jnp.asarray(rng.normal(size=(*s, length, width)), jnp.float32) for s in shapes)
    segment = np.sort(rng.integers(1, 5, (batch, length)), axis=1)
    segment[:, length - length // 8 :] = 0
    return q, k, v, jnp.asarray(segment, jnp.int32)


def attend(kernel, *inputs):
    """On this machine, whichever the kernel is for."""
    return attention.attend(*inputs, kernel=kernel, interpret=kernel in PALLAS)


def value_and_gradients(function, q, k, v):
    def loss(q, k, v):
        out = function(q, k, v)
        return jnp.sum(jnp.sin(out) * jnp.arange(out.shape[-1])), out

    (_, out), grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(q, k, v)
    return out, grads


def assert_same(got, want):
    np.testing.assert_allclose(got[0], want[0], atol=2e-6)
    for a, b in zip(got[1], want[1], strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize(
    ("kernel", "length", "heads", "kv_heads", "width"),
    [
        ("chunked", 1, 2, 2, 16),
        ("chunked", 300, 4, 2, 16),
        ("chunked", 513, 6, 1, 16),
        ("splash", 256, 4, 2, 64),
        ("flash", 384, 4, 2, 16),
        ("flash", 128, 2, 1, 64),
    ],
)
def test_every_kernel_equals_plain(kernel, length, heads, kv_heads, width):
    q, k, v, segment = packed(length, heads, kv_heads, width)
    want, got = (
        value_and_gradients(lambda *x, name=name: attend(name, *x, segment), q, k, v)
        for name in ("plain", kernel)
    )
    assert_same(got, want)


@pytest.mark.parametrize("run", [chunked.chunked, functools.partial(flash.flash, interpret=True)])
@pytest.mark.parametrize("start", [0, 256])
def test_queries_may_be_a_part_of_the_row(run, start):
    q, k, v, segment = packed(384)
    some = slice(start, start + 128)
    parts = (segment[:, some], segment, jnp.int32(start))
    got, want = (
        value_and_gradients(lambda *x, run=run: run(*x, *parts), q[:, :, some], k, v)
        for run in (run, attention.plain)
    )
    assert_same(got, want)


def test_segments_in_any_order():
    q, k, v, _ = packed(256, batch=1)
    segment = jnp.asarray([[5] * 100 + [2] * 40 + [7] * 60 + [2] * 56], jnp.int32)
    want, *got = (attend(name, q, k, v, segment) for name in ("plain", "chunked", *PALLAS))
    for out in got:
        np.testing.assert_allclose(out, want, atol=2e-6)


def test_flash_visits_only_blocks_that_can_be_seen():
    segment = jnp.asarray([[1] * 256 + [2] * 256 + [0] * 128], jnp.int32)
    queries, keys = flash._bounds(segment, segment, jnp.arange(640), 128, 64)
    np.testing.assert_array_equal(queries, [[[0, 0, 4, 4, 8]], [[2, 4, 6, 8, 10]]])
    np.testing.assert_array_equal(keys[0], [[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]])
    np.testing.assert_array_equal(keys[1], [[2, 2, 2, 2, 4, 4, 4, 4, 5, 5]])


def test_more_than_32_chunks_become_larger_chunks(monkeypatch):
    monkeypatch.setattr(chunked, "CHUNK", 2)
    monkeypatch.setattr(chunked, "MOST_CHUNKS", 5)
    q, k, v, segment = packed(64)
    assert len(list(chunked._chunks(segment, segment, None))) == 5
    want, got = (attend(name, q, k, v, segment) for name in ("plain", "chunked"))
    np.testing.assert_allclose(got, want, atol=2e-6)


@pytest.mark.parametrize("kernel", ["plain", "chunked", *PALLAS])
def test_a_token_sees_its_own_segment_up_to_itself(kernel):
    q, k, v, segment = packed(256)
    out = attend(kernel, q, k, v, segment)
    place = 70
    moved = attend(kernel, q, k.at[:, :, place].add(1.0), v.at[:, :, place].add(1.0), segment)
    change = np.abs(np.asarray(moved - out)).max(axis=(1, 3))
    for row in range(2):
        same = np.asarray(segment[row] == segment[row, place])
        sees = same & (np.arange(256) >= place)
        assert (change[row][sees] > 0).all()
        assert (change[row][~sees] == 0).all()


def test_against_numpy():
    q, k, v, segment = (np.asarray(x) for x in packed(9, 2, 1, 4, 1))
    got = attend("chunked", q, k, v, segment)
    for head in range(2):
        for i in range(9):
            seen = [j for j in range(i + 1) if segment[0, j] == segment[0, i]]
            score = np.exp(k[0, 0, seen] @ q[0, head, i] / 2)
            want = (score / score.sum()) @ v[0, 0, seen]
            np.testing.assert_allclose(got[0, head, i], want, atol=1e-5)


@pytest.mark.parametrize("kernel", ["chunked", *PALLAS])
def test_bfloat16_is_summed_in_float32(kernel):
    q, k, v, segment = packed(256)
    low = [x.astype(jnp.bfloat16) for x in (q, k, v)]
    got = value_and_gradients(lambda *x: attend(kernel, *x, segment).astype(jnp.float32), *low)
    want = value_and_gradients(
        lambda *x: attend("plain", *x, segment), *(x.astype(jnp.float32) for x in low)
    )
    assert {x.dtype for x in got[1]} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_allclose(got[0], want[0], atol=0.02)
    for a, b in zip(got[1], want[1], strict=True):
        a, b = (np.asarray(x, np.float32) for x in (a, b))
        assert np.linalg.norm(a - b) < 0.01 * np.linalg.norm(b)


@pytest.mark.parametrize("kernel", ["chunked", *PALLAS])
def test_attention_is_computed_again_only_where_nothing_is_kept(kernel):
    q, k, v, segment = packed(128, batch=1)

    def layer(q, _):
        return attend(kernel, jnp.sin(q), k, v, segment), None

    def products(policy):
        """Matrix products in the program of a gradient through a stack of layers."""
        kept = jax.checkpoint(layer, policy=layers.POLICIES[policy])
        gradient = jax.grad(lambda q: jax.lax.scan(kept, q, length=3)[0].sum())
        return jax.jit(gradient).lower(q).compile().as_text().count(" dot(")

    # Two forward; backward the scores again, their change and that of the queries.
    assert products("products") == products("attention") == 5
    assert products("nothing") > 5


def on(platform, context=1):
    """A layout for devices that this machine does not have."""
    devices = np.array([types.SimpleNamespace(platform=platform)])
    shape = {"context": context}
    return layout.Layout(types.SimpleNamespace(devices=devices, shape=shape))


@pytest.mark.quick
@pytest.mark.parametrize(
    ("platform", "kernel"), [("tpu", "splash"), ("gpu", "flash"), ("cpu", "chunked")]
)
def test_auto_goes_by_the_mesh(platform, kernel):
    assert attention.check(configs.Transformer(), 1024, on(platform, context=4)) == kernel


@pytest.mark.quick
@pytest.mark.parametrize(
    ("model", "length", "where", "message"),
    [
        ({"attention": "flash2"}, 128, on("cpu"), "one of auto, splash, .*plain, not 'flash2'"),
        ({"attention": "splash"}, 128, on("gpu"), "auto or flash: splash attention runs on TPUs"),
        ({"attention": "flash"}, 128, on("cpu"), "auto or chunked: flash .* not on this CPU"),
        ({}, 1000, on("tpu"), r"data\.context to a multiple of 128, or .* 1000 tokens"),
        ({}, 640, on("gpu", 2), r"data\.context to a multiple of 256.* on 2 devices"),
        ({"head_dim": 48}, 128, on("gpu"), r"model\.head_dim to one of 16, .*no heads of width 48"),
        ({"head_dim": 256}, 128, on("gpu"), r"model\.dtype to bfloat16, .* float32 heads"),
        ({"dtype": "float64"}, 128, on("tpu"), "to chunked: splash attention has no float64"),
    ],
)
def test_what_cannot_run_is_refused(model, length, where, message):
    with pytest.raises(UserError, match=message):
        attention.check(configs.Transformer(**model), length, where)


@pytest.mark.quick
def test_a_kernel_of_another_platform_does_not_start():
    with pytest.raises(UserError, match="splash attention runs on TPUs and not on this CPU"):
        attention.attend(*packed(128), kernel="splash")


@pytest.mark.parametrize(("width", "dtype"), [(64, jnp.bfloat16), (128, jnp.float32)])
def test_flash_can_be_written_for_triton(width, dtype):
    q = jax.ShapeDtypeStruct((1, 2, 384, width), dtype)
    k = jax.ShapeDtypeStruct((1, 1, 384, width), dtype)
    segment = jax.ShapeDtypeStruct((1, 384), jnp.int32)

    def loss(q, k, v, segment):
        return flash.flash(q, k, v, segment, segment, None).astype(jnp.float32).sum()

    gpu = jax.sharding.AbstractDevice("NVIDIA H100 80GB HBM3", None, "gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=gpu)):
        traced = jax.jit(jax.grad(loss, (0, 1, 2))).trace(q, k, k, segment)
        text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("gpu.triton") == 3


SHAPES = [(128, 1, 1, 16), (384, 4, 2, 32), (1024, 3, 3, 64), (640, 8, 2, 128)]


@pytest.mark.parametrize(
    ("length", "heads", "kv_heads", "width", "dtype"),
    [(*shape, dtype) for shape in SHAPES for dtype in (jnp.float32, jnp.bfloat16)]
    + [(256, 2, 1, 256, jnp.bfloat16)],
)
def test_flash_on_a_gpu(length, heads, kv_heads, width, dtype):
    """Compiled; sums of a GPU's matrix units are coarser than those of the interpreter."""
    if jax.default_backend() != "gpu":
        pytest.skip("there is no GPU")
    q, k, v, segment = packed(length, heads, kv_heads, width)
    q, k, v = (x.astype(dtype) for x in (q, k, v))
    with jax.default_matmul_precision("highest"):
        exact = (x.astype(jnp.float32) for x in (q, k, v))
        want = value_and_gradients(lambda *x: attention.attend(*x, segment, kernel="plain"), *exact)
    got = value_and_gradients(lambda *x: attention.attend(*x, segment, kernel="flash"), q, k, v)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == dtype
        off = jnp.linalg.norm((a.astype(jnp.float32) - b).ravel()) / jnp.linalg.norm(b.ravel())
        assert off < (2e-2 if dtype == jnp.bfloat16 else 2e-3)
