"""Splash attention, the kernel that JAX has for TPUs: with segments and grouped heads.

`jax.experimental.pallas.ops.tpu.splash_attention`, after Dao et al. 2022. The causal mask is
computed within blocks, and blocks above the diagonal are never visited. Segments are compared
within blocks, so that a row of many parts costs as much as a row of one.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.experimental.pallas.ops.tpu import splash_attention as pallas
from jax.sharding import NamedSharding, PartitionSpec

from jaxmusic._src.models.layers import MIXED
from jaxmusic._src.models.layout import Layout

TILE = 128
"""Blocks are multiples of this many tokens."""
BLOCKS = (512, 256, TILE)
"""Sizes of blocks in order of preference."""


def make(
    heads: int, length: int, layout: Layout | None, interpret: bool
) -> tuple[Any, PartitionSpec | Any]:
    """Makes the kernel for rows of a length, and the partition of its tables over the mesh.

    The tables list the blocks to visit. Each device holds the part for its own heads and queries
    and all keys.

    Args:
      heads: query heads on all devices together.
      length: tokens of a whole row.
      layout: None for one device.
      interpret: run in Pallas' interpreter, on any platform.
    """
    head_shards, shards = (
        (1, 1) if layout is None else (layout.ways("heads"), layout.ways("sequence"))
    )
    rows = next(size for size in BLOCKS if length // shards % size == 0)
    keys = next(size for size in BLOCKS if length % size == 0)
    sizes = pallas.BlockSizes(
        block_q=rows,
        block_kv=keys,
        block_q_dkv=rows,
        block_kv_dkv=keys,
        block_q_dq=rows,
        block_kv_dq=keys,
    )
    mask = pallas.MultiHeadMask([pallas.CausalMask((length, length))] * heads)
    kernel = pallas.make_splash_mha(
        mask,
        block_sizes=sizes,
        head_shards=head_shards,
        q_seq_shards=shards,
        residual_checkpoint_name=MIXED,
        interpret=interpret,
    )
    if layout is None:
        return kernel, PartitionSpec()
    where = PartitionSpec(layout.over("heads") or None, layout.over("sequence") or None)
    return kernel, kernel.manual_sharding_spec(NamedSharding(layout.mesh, where))


def splash(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    q_segment: jax.Array,
    k_segment: jax.Array,
    start: jax.Array | None,
    kernel: Any,
) -> jax.Array:
    """Computes attention with a kernel of `make`, whose tables contain the start of the queries.

    Arguments and result are those of `attention.plain`.
    """
    segments = pallas.SegmentIds(q_segment, k_segment)
    return jax.vmap(kernel)(q * q.shape[-1] ** -0.5, k, v, segments)
