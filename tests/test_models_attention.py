"""The attention kernels against the dense reference, on packed rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmusic.errors import UserError
from jaxmusic.models import attention


def packed(length, heads=4, kv_heads=2, width=16, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((batch, heads), (batch, kv_heads), (batch, kv_heads))
    q, k, v = (jnp.asarray(rng.normal(size=(*s, length, width)), jnp.float32) for s in shapes)
    segment = np.sort(rng.integers(1, 5, (batch, length)), axis=1)
    segment[:, length - length // 8 :] = 0
    return q, k, v, jnp.asarray(segment, jnp.int32)


@pytest.mark.parametrize(
    ("length", "heads", "kv_heads"), [(1, 2, 2), (128, 4, 4), (300, 4, 2), (513, 6, 1)]
)
def test_chunked_equals_plain(length, heads, kv_heads):
    q, k, v, segment = packed(length, heads, kv_heads)

    def loss(kernel, q, k, v):
        out = attention.attend(q, k, v, segment, kernel=kernel)
        return jnp.sum(jnp.sin(out) * jnp.arange(out.shape[-1])), out

    (_, want), want_grad = jax.value_and_grad(
        lambda *x: loss("plain", *x), (0, 1, 2), has_aux=True
    )(q, k, v)
    (_, got), got_grad = jax.jit(
        jax.value_and_grad(lambda *x: loss("chunked", *x), (0, 1, 2), has_aux=True)
    )(q, k, v)
    np.testing.assert_allclose(got, want, atol=2e-6)
    for a, b in zip(got_grad, want_grad, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=5e-5)


def test_more_than_32_chunks_become_larger_chunks(monkeypatch):
    monkeypatch.setattr(attention, "CHUNK", 2)
    monkeypatch.setattr(attention, "MOST_CHUNKS", 5)
    q, k, v, segment = packed(64)
    assert len(list(attention._chunks(segment))) == 5
    want = attention.plain(q, k, v, segment)
    np.testing.assert_allclose(attention.chunked(q, k, v, segment), want, atol=2e-6)


@pytest.mark.parametrize("kernel", ["plain", "chunked"])
def test_a_token_sees_its_own_segment_up_to_itself(kernel):
    q, k, v, segment = packed(200)
    out = attention.attend(q, k, v, segment, kernel=kernel)
    place = 70
    moved = attend_with_changed_key(q, k, v, segment, kernel, place)
    change = np.abs(np.asarray(moved - out)).max(axis=(1, 3))
    for row in range(2):
        same = np.asarray(segment[row] == segment[row, place])
        sees = same & (np.arange(200) >= place)
        assert (change[row][sees] > 0).all()
        assert (change[row][~sees] == 0).all()


def attend_with_changed_key(q, k, v, segment, kernel, place):
    return attention.attend(
        q, k.at[:, :, place].add(1.0), v.at[:, :, place].add(1.0), segment, kernel=kernel
    )


def test_against_numpy():
    q, k, v, segment = (np.asarray(x) for x in packed(9, 2, 1, 4, 1))
    got = attention.attend(q, k, v, segment, kernel="chunked")
    for head in range(2):
        for i in range(9):
            seen = [j for j in range(i + 1) if segment[0, j] == segment[0, i]]
            score = np.exp(k[0, 0, seen] @ q[0, head, i] / 2)
            want = (score / score.sum()) @ v[0, 0, seen]
            np.testing.assert_allclose(got[0, head, i], want, atol=1e-5)


def test_bfloat16_gradients_keep_their_type():
    q, k, v, segment = packed(130)
    q, k, v = (x.astype(jnp.bfloat16) for x in (q, k, v))
    gradient = jax.eval_shape(
        jax.grad(lambda *x: attention.chunked(*x, segment).astype(jnp.float32).sum(), (0, 1, 2)),
        *(q, k, v),
    )
    assert {x.dtype for x in gradient} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.quick
def test_unknown_kernel():
    with pytest.raises(UserError, match="auto, chunked, plain, not 'flash'"):
        attention.attend(*packed(4), kernel="flash")
