"""Rotary positions by index, musical time and pitch, which share the pairs of a head."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxmusic import config as configs
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import MAX_PITCHES
from jaxmusic._src.models.layers import wide

PARTS = ("index", "time", "pitch")
"""Values in `config.Transformer.rotary`, in the order of their pairs in a head."""
INDEX_BASE = 10_000.0
"""Longest wavelength of the index part in tokens, divided by 2 pi (Su et al. 2021)."""
SHORTEST_PERIOD = 12.0
"""Shortest period of the time part in grid steps: a quarter note on the usual grid."""
OCTAVES = 8
"""The longest time period is just under `SHORTEST_PERIOD` * 2**OCTAVES: 64 bars of 4/4."""
OCTAVE = 12.0
"""Semitones."""
HARMONICS = 6
"""Functions of the twelve pitch classes are sums of waves with 1 to 6 periods per octave."""
REGISTERS = 4
"""The longest pitch period is just under `OCTAVE` * 2**(1 + REGISTERS), beyond any interval."""


def parts(rotary: str) -> tuple[str, ...]:
    """Returns the parts in a setting such as "index time", in the order of `PARTS`.

    Raises:
      UserError: if it names something else, or a part twice.
    """
    words = rotary.split()
    if len(set(words)) != len(words) or not set(words) <= set(PARTS):
        raise UserError(f"Set model.rotary to any of {', '.join(PARTS)}, not {rotary!r}.")
    return tuple(part for part in PARTS if part in words)


def frequencies(part: str, count: int) -> jax.Array:
    """Computes angular frequencies of the `count` rotary pairs of a part.

    index: the geometric series of RoFormer.

    time: periods of 12 * 2**(8 j / n) grid steps for j = 0 .. n-1, so that beats, half bars, bars
    and groups of 2, 4, 8 and more bars are hit exactly when 8 divides n or n divides 8.

    pitch: only the interval between two notes matters, which is the same in every key. The first
    half of the pairs, rounded up, encodes its pitch class: periods of 12, 6, 4, 3, 12/5 and 2
    semitones, repeated, which divide the octave and whose waves span all functions of the class.
    The others encode register: periods of 24 * 2**(4 j / n) semitones, multiples of an octave when
    4 divides n or n divides 4.

    Args:
      part: one of `PARTS`.
      count: number of pairs.

    Returns:
      float32 [count] radians per token, grid step or semitone.
    """
    if part == "pitch":
        classes = -(-count // 2)
        waves = 1 + jnp.arange(classes, dtype=jnp.float32) % HARMONICS
        ramp = jnp.arange(count - classes, dtype=jnp.float32) / max(count - classes, 1)
        register = 1 / (2 * OCTAVE * 2.0 ** (REGISTERS * ramp))
        return 2 * jnp.pi * jnp.concatenate([waves / OCTAVE, register])
    ramp = jnp.arange(count, dtype=jnp.float32) / count
    if part == "index":
        return INDEX_BASE**-ramp
    return 2 * jnp.pi / (SHORTEST_PERIOD * 2.0 ** (OCTAVES * ramp))


def angles(
    config: configs.Transformer, index: jax.Array, time: jax.Array, pitch: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Computes cosines and sines of the rotations of queries and keys.

    The parts share the pairs of a head equally; a remainder goes to the first ones. Tokens without
    a pitch are not rotated by it, so that relative to them a note has its pitch instead of an
    interval. Pitches of drums are the numbers of their sounds, and their tokens mark them as drums.

    Args:
      config: rotary, head_dim and dtype are read from it.
      index: int [B, T] position in the row (only differences matter).
      time: int [B, T] grid steps.
      pitch: int [B, T] semitones, `MAX_PITCHES` - 1 for none.

    Returns:
      Cosine and sine, each [B, T, head_dim / 2], float32 (float64 for float64).
    """
    exact = wide(config.dtype)
    pairs, names = config.head_dim // 2, parts(config.rotary)
    if not names:
        turns = jnp.zeros((*index.shape, pairs), exact)
        return jnp.cos(turns), jnp.sin(turns)
    places = {
        "index": index,
        "time": time,
        "pitch": jnp.where(pitch == MAX_PITCHES - 1, 0, pitch),
    }
    turns = jnp.concatenate(
        [
            places[name][..., None].astype(exact)
            * frequencies(name, pairs // len(names) + (i < pairs % len(names))).astype(exact)
            for i, name in enumerate(names)
        ],
        axis=-1,
    )
    return jnp.cos(turns), jnp.sin(turns)


def rotate(x: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """Rotates the pairs (x[i], x[i + D/2]) of the last axis; broadcasts over the leading axes."""
    halves = x.reshape(*x.shape[:-1], 2, -1)
    # Reversing the halves is faster on XLA:CPU than putting two results together.
    crossed = jnp.flip(halves, axis=-2) * jnp.stack([-sine, sine], axis=-2)
    return (halves * cosine[..., None, :] + crossed).reshape(x.shape)


def apply_rope(x: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Applies rotary positions to x [B, H, T, D] with cosine and sine [B, T, D / 2]."""
    cosine, sine = rope
    exact = x.astype(wide(x.dtype))
    return rotate(exact, cosine[:, None], sine[:, None]).astype(x.dtype)
