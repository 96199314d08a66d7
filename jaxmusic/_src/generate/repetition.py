"""How many bars in a row are the same: a hash of each bar, carried along while it is sampled."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmusic._src.codecs.base import Codec


class Repeats(NamedTuple):
    """What is known of the bars so far (scalars of each piece).

    Attributes:
      here: uint32, hash of the onsets of the bar that is open.
      last: uint32, that of the bar before.
      run: int32, bars in a row that are the same as the one before, itself included; -1 before the
        first bar.
    """

    here: Any
    last: Any
    run: Any


def of_stream(codec: Codec, tokens: np.ndarray) -> Repeats | None:
    """Returns the state after a stream; None if the codec has no bars."""
    v = codec.vocabulary
    if "bar" not in v.kinds:
        return None
    lines = np.cumsum(v.kind[tokens] == v.kinds["bar"])
    bars = int(lines[-1]) if len(lines) else 0
    hashes = np.zeros(bars + 1, np.uint32)
    onset = codec.onset_tokens[tokens]
    if onset.any():
        events = codec.events(tokens)
        marks = mark(*(x[onset].astype(np.uint32) for x in events[2:3] + events[4:]))
        np.add.at(hashes, lines[onset], marks)
    closed = hashes[1:-1]
    run = int((np.cumprod(closed[::-1] == closed[-1])).sum()) if len(closed) else min(bars, 1) - 1
    last = closed[-1] if len(closed) else np.uint32(0)
    return Repeats(hashes[-1], last, np.int32(run))


def mark(position: Any, slot: Any, pitch: Any) -> Any:
    """Hashes an onset (uint32); the sum over a bar does not depend on the order.

    Three rounds of xor-shift and multiply (the finaliser of MurmurHash3) spread each onset over
    all bits, so that sums of different bars hardly ever agree.
    """
    x = (position * 17 + slot) * 129 + pitch + 1
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def advance(r: Repeats, bar: Any, onset: Any, position: Any, slot: Any, pitch: Any) -> Repeats:
    """Updates the state by one token (in `jit`): whether it is a bar, an onset, and where."""
    numbers = (jnp.asarray(x, jnp.uint32) for x in (position, slot, pitch))
    here = r.here + jnp.where(onset, mark(*numbers), jnp.uint32(0))
    same = (r.run > 0) & (r.here == r.last)
    closed = jnp.where(r.run < 0, 0, jnp.where(same, r.run + 1, 1))
    return Repeats(
        here=jnp.where(bar, jnp.uint32(0), here),
        last=jnp.where(bar, r.here, r.last),
        run=jnp.where(bar, closed, r.run).astype(jnp.int32),
    )


def allowed(r: Repeats, mask: Any, ends: Any, limit: Any) -> Any:
    """Returns the mask [V] without the tokens that end a bar, where the bar would be one too many.

    Args:
      r: what is known of one piece.
      mask: bool [V], tokens that may follow.
      ends: bool [V], tokens that end a bar.
      limit: bars in a row that may be the same; 0 for any number.
    """
    full = (limit > 0) & (r.run >= limit) & (r.here == r.last)
    others = mask & ~ends
    return jnp.where(full & others.any(), others, mask)
