"""The grammar of what is written in a task stream, after its ``WRITE`` token.

`codecs.metrical.grammar` calls these functions. What is given before ``WRITE`` is read by
`Grammar.advance` but never drawn, so the mask says nothing of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxmusic._src.codecs.tasks import Holes
from jaxmusic._src.music.controls import stated_at


class Hole(NamedTuple):
    """Where the writing stands in the piece (int32 scalars); without values in plain streams.

    Attributes:
      bars: number of bars to be written.
      steps: steps in the bar that is open.
      next_line, next_left: first step of the bar that opens next, and how many bars of the piece
        come after it.
      slots, chords, end, ringing: as in `codecs.tasks.Holes`; in plain streams all may be
        written. No ringing notes may also be 0.
    """

    bars: Any = 0
    steps: Any = 0
    next_line: Any = 0
    next_left: Any = 0
    slots: Any = -1
    chords: Any = 1
    end: Any = 0
    ringing: Any = 0


def hole(state: Any, holes: Holes) -> Hole:
    """Returns what restricts the next token after a state of the grammar (in `jit`)."""
    following = jnp.clip(state.written, 0, holes.line.shape[0] - 1)
    return Hole(
        bars=holes.count,
        steps=holes.steps[jnp.maximum(state.written - 1, 0)],
        next_line=holes.line[following],
        next_left=holes.left[following],
        slots=holes.slots,
        chords=holes.chords,
        end=holes.end,
        ringing=holes.ringing,
    )


def advance(old: Any, new: Any, write: Any, bar: Any, rules: Any) -> Any:
    """Returns the state after one more token, with the changes by tasks.

    Args:
      old: the state before it.
      new: the state after it, as in a plain stream.
      write, bar: whether the token is ``WRITE``, or opens a bar.
      rules: `codecs.metrical.grammar.Rules` before the token.
    """
    hole = rules.hole
    bar = bar & (old.written >= 0)
    # Bars that do not follow one another state the chord again, and count their own silences.
    run = write | (bar & ((old.written == 0) | (hole.next_line != old.line + hole.steps)))
    return new._replace(
        written=jnp.where(write, 0, old.written + bar),
        bar=jnp.where(bar, rules.bars - hole.next_left, new.bar),
        line=jnp.where(bar, hole.next_line, new.line),
        controls=new.controls
        | {c.kind: jnp.where(run, c.default, new.controls[c.kind]) for c in stated_at("half")},
        slot=jnp.where(write, -1, new.slot),
        silent=jnp.where(run, 0, new.silent),
    )


def playable(s: Any, hole: Hole) -> Any:
    """Sets bit s where slot s is declared and may be written (int32)."""
    return hole.slots & s.declared


def taken(s: Any, hole: Hole) -> Any:
    """Masks pitches of slots that cannot begin while a given note sounds, bool [16 * 128]."""
    now = s.line + s.position
    voice, onset, end = jnp.moveaxis(jnp.asarray(hole.ringing), -1, 0)
    sounds = (onset <= now) & (now < end)
    return jnp.zeros(16 * 128, bool).at[voice].max(sounds)
