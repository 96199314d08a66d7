"""Causal attention over packed rows: choice of kernel, and running it on a mesh."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models.attention.chunked import chunked
from jaxmusic._src.models.layers import HIDDEN, wide
from jaxmusic._src.models.layout import Layout, spec

KERNELS = ("auto", "splash", "flash", "chunked", "plain")
"""Values of `config.Transformer.attention`."""
BY_PLATFORM = {"tpu": "splash", "gpu": "flash", "cpu": "chunked"}
"""Kernel of "auto" by platform."""
HOMES = {"splash": "tpu", "flash": "gpu"}
"""Kernels that run on one platform only."""
BLOCK = 128
"""Block size of rows for splash and flash."""
FLASH_WIDTHS = (16, 32, 64, 128, 256)
"""Widths of a head that flash supports."""
FLASH_BYTES = 512
"""Most bytes of a head in a GPU's shared memory: width 256 in bfloat16, 128 in float32."""


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segment: jax.Array,
    *,
    kernel: str = "auto",
    layout: Layout | None = None,
    interpret: bool = False,
) -> jax.Array:
    """Computes softmax attention of each token to its own segment up to itself.

    Scores are scaled by 1 / sqrt(D) and the softmax is taken in float32 (float64 for float64).
    Query head h reads key head h // (H / Hkv).

    On a mesh each device has its own rows, heads and, if the sequence is split, queries; keys,
    values and segments are gathered along the sequence. Devices with later queries see more keys,
    so the last one takes longest.

    Args:
      q: [B, H, T, D].
      k: [B, Hkv, T, D] with H a multiple of Hkv.
      v: [B, Hkv, T, D].
      segment: int [B, T]; tokens of different segments do not see each other.
      kernel: "splash" (TPU), "flash" (GPU), "chunked" (queries in chunks, each against the keys up
        to its end), "plain" (one dense mask), or "auto", by the platform of the mesh.
      layout: the mesh that the program is for; None for one device of JAX's default platform.
      interpret: run splash or flash in Pallas' interpreter on any platform, which is slow.

    Returns:
      [B, H, T, D] in the type of v.

    Raises:
      UserError: if there is no kernel of that name, or it cannot run there or with that shape.
    """
    at_home = interpret and kernel in HOMES
    name = choose(kernel, HOMES[kernel] if at_home else _platform(layout))
    _, heads, length, width = q.shape
    _check_shape(name, length, width, str(v.dtype), layout)
    run, constants, where = _bind(name, heads, length, layout, interpret)
    if layout is None:
        return run(q, k, v, segment, segment, None, *constants)
    axes = layout.over("sequence")

    def shard(q: jax.Array, k: jax.Array, v: jax.Array, segment: Any, *constants: Any) -> jax.Array:
        if not axes:
            return run(q, k, v, segment, segment, None, *constants)
        start = jax.lax.axis_index(axes) * q.shape[2]
        k, v = (jax.lax.all_gather(x, axes, axis=2, tiled=True) for x in (k, v))
        every = jax.lax.all_gather(segment, axes, axis=1, tiled=True)
        return run(q, k, v, segment, every, start, *constants)

    queries = spec(layout.mesh, ("batch", "heads", "sequence", None), q.shape)
    keys = spec(layout.mesh, ("batch", "kv_heads", "sequence", None), k.shape)
    rows = spec(layout.mesh, ("batch", "sequence"), segment.shape)
    return jax.shard_map(
        shard,
        mesh=layout.mesh,
        in_specs=(queries, keys, keys, rows, *where),
        out_specs=queries,
        check_vma=False,
    )(q, k, v, segment, *constants)


def choose(kernel: str, platform: str) -> str:
    """Returns the kernel of a name on a platform: cpu, gpu or tpu.

    Raises:
      UserError: if there is no kernel of that name, or it cannot run there.
    """
    check_name(kernel)
    name = BY_PLATFORM[platform] if kernel == "auto" else kernel
    if HOMES.get(name, platform) != platform:
        raise UserError(
            f"Set model.attention to auto or {BY_PLATFORM[platform]}: {name} attention runs on "
            f"{HOMES[name].upper()}s and not on this {platform.upper()}."
        )
    return name


def check_name(kernel: str) -> None:
    """Raises UserError if there is no kernel of that name."""
    if kernel not in KERNELS:
        raise UserError(f"Set model.attention to one of {', '.join(KERNELS)}, not {kernel!r}.")


def check(config: configs.Transformer, length: int, layout: Layout | None) -> str:
    """Returns the kernel that a model uses on rows of `length` tokens.

    Raises:
      UserError: if it cannot run there or with that shape.
    """
    name = choose(config.attention, _platform(layout))
    _check_shape(name, length, config.head_dim, config.dtype, layout)
    return name


def _platform(layout: Layout | None) -> str:
    return jax.default_backend() if layout is None else layout.platform


def _check_shape(name: str, length: int, width: int, dtype: str, layout: Layout | None) -> None:
    if name not in HOMES:
        return
    if dtype == "float64":
        raise UserError(f"Set model.attention to chunked: {name} attention has no float64.")
    ways = 1 if layout is None else layout.ways("sequence")
    if length % (BLOCK * ways):
        raise UserError(
            f"Set data.context to a multiple of {BLOCK * ways}, or model.attention to chunked: "
            f"{name} attention cannot cut {length} tokens into blocks of {BLOCK} on "
            f"{ways} device{'s' * (ways > 1)}."
        )
    if name != "flash":
        return
    if width not in FLASH_WIDTHS:
        raise UserError(
            f"Set model.head_dim to one of {', '.join(map(str, FLASH_WIDTHS))}, or "
            f"model.attention to chunked: flash attention has no heads of width {width}."
        )
    if width * jnp.dtype(dtype).itemsize > FLASH_BYTES:
        raise UserError(
            "Set model.dtype to bfloat16, or model.attention to chunked: a GPU has no room for "
            f"blocks of {dtype} heads of width {width}."
        )


def _bind(
    name: str, heads: int, length: int, layout: Layout | None, interpret: bool
) -> tuple[Callable[..., jax.Array], tuple[Any, ...], tuple[Any, ...]]:
    """Returns the function of a kernel, its extra arguments, and their partition."""
    # Pallas takes long to import, and a CPU never needs it.
    if name == "splash":
        from jaxmusic._src.models.attention import splash

        kernel, where = splash.make(heads, length, layout, interpret)
        return splash.splash, (kernel,), (where,)
    if name == "flash":
        from jaxmusic._src.models.attention import flash

        return functools.partial(flash.flash, interpret=interpret), (), ()
    return chunked if name == "chunked" else plain, (), ()


def plain(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    q_segment: jax.Array,
    k_segment: jax.Array,
    start: jax.Array | None,
) -> jax.Array:
    """Computes attention with all scores at once under a dense mask; the reference.

    Args:
      q: [B, H, Tq, D], queries that follow one another.
      k: [B, Hkv, Tk, D], keys of the whole row.
      v: [B, Hkv, Tk, D].
      q_segment: int [B, Tq].
      k_segment: int [B, Tk].
      start: int [], index of the first query in the row; None if the queries are the whole row.

    Returns:
      [B, H, Tq, D] in the type of v.
    """
    batch, heads, queries, width = q.shape
    groups, length = k.shape[1:3]
    index = jnp.arange(queries) + (0 if start is None else start)
    seen = q_segment[:, :, None] == k_segment[:, None, :]
    seen &= index[:, None] >= jnp.arange(length)
    # The query heads that share a key head become rows of one matrix product.
    folded = (q * width**-0.5).reshape(batch, groups, heads // groups * queries, width)
    product = functools.partial(jnp.einsum, preferred_element_type=wide(q.dtype))
    scores = product("bgqd,bgkd->bgqk", folded, k).reshape(batch, heads, queries, -1)
    shares = jax.nn.softmax(jnp.where(seen[:, None], scores, HIDDEN), axis=-1)
    shares = shares.astype(v.dtype).reshape(batch, groups, heads // groups * queries, -1)
    return product("bgqk,bgkd->bgqd", shares, v).reshape(q.shape).astype(v.dtype)
