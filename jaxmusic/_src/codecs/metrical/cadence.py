"""Gates the metrical grammar so that a composed piece ends with a cadence in its last bar.

The last notes begin on the bar line or on that of the second half, and are held to the end of the
piece. Where a key is in force they are those of the tonic triad in root position, as after an
authentic cadence; where a progression is asked for, of its chord at that place. All else is drawn:
how the piece gets there, which of these tones it ends with, and on which of the two lines.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmusic._src.codecs.layout import MAX_HOLD
from jaxmusic._src.codecs.metrical.grammar_tables import BarPlace, Constraints, GrammarTables, State
from jaxmusic._src.music.notes import CHORD_COUNT, CHORD_QUALITIES, CHORD_TONES, NO_CHORD


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Returns the resting chords of each key (bool [24, C]) and the tones of each chord (bool
    [C + 1, 12], no chord last).
    """
    rests = np.zeros((24, NO_CHORD + 1), bool)
    for key in range(24):
        for quality in ("min", "min7") if key >= 12 else ("maj", "maj7"):
            rests[key, CHORD_QUALITIES.index(quality) * 12 + key % 12] = True
    tones = np.ones((NO_CHORD + 2, 12), bool)
    for chord in range(CHORD_COUNT):
        tones[chord] = False
        tones[chord, (chord % 12 + np.array(CHORD_TONES[chord // 12])) % 12] = True
    return rests, tones


_RESTS, _TONES = _tables()


class Close(NamedTuple):
    """Where a stream stands in the last bar (bool scalars, if not said otherwise).

    Attributes:
      here: whether it is in the last bar of a piece that has to close.
      line: int32, step on which the last notes may begin at the latest.
      final: whether that is now.
      waits: whether the chord must change before anything else.
      silent: whether nothing pitched has begun at this position; no drum, where there is nothing
        else.
    """

    here: Any
    line: Any
    final: Any
    waits: Any
    silent: Any


def close(s: State, a: Constraints, at: BarPlace) -> Close:
    """Returns the position of a stream from a state of its grammar."""
    here = (a.ending > 0) & at.last & (s.bar > a.given)
    line = jnp.where(at.half < at.steps, at.half, 0)
    key, chord = s.controls["key"], s.controls["chord"]
    known = (a.loop == 0) & (key >= 0)
    waits = known & (chord >= 0) & ~jnp.asarray(_RESTS)[jnp.maximum(key, 0), chord]
    return Close(
        here=here,
        line=line,
        final=here & (s.position == line),
        waits=here & waits,
        silent=jnp.where(s.instruments > 0, s.slot_here, s.hit) < 0,
    )


def gates(g: GrammarTables, s: State, a: Constraints, at: BarPlace, c: Close) -> dict[str, Any]:
    """Returns what may follow, by kind of token; any note that can last to the end may."""
    start, length = g.codec.vocabulary.start, g.codec.vocabulary.length
    step, chord = jnp.arange(length["position"]), jnp.arange(length["chord"])
    key = s.controls["key"]
    home = (a.loop > 0) | (key < 0) | jnp.asarray(_RESTS)[jnp.maximum(key, 0), chord]
    # There is one way to write the duration that is left.
    left = at.after - s.held
    duration = g.duration[start["note"] : start["note"] + length["note"]]
    single = (s.held == 0) & g.has_token[jnp.clip(left, 0, g.longest)]
    halves = jnp.arange(MAX_HOLD) + 1
    rest = left - halves * g.codec.half
    tied = ~single & (rest > 0) & ((rest <= g.codec.half) | (halves == MAX_HOLD))
    rests = ((s.position == 0) | c.final) & (s.shortest >= at.after) & ~c.silent
    return {
        "position": ~c.here | (~c.waits & (step + 1 <= c.line)),
        "chord": ~c.here | home,
        "bass": ~c.here | (~c.waits & ((a.loop > 0) | (jnp.arange(length["bass"]) == 0))),
        "slot": ~c.waits,
        "pitch": ~c.waits,
        "drum": ~c.waits & ~(c.final & c.silent & (s.instruments > 0)),
        "note": ~c.final | (duration == left),
        "hold": ~c.final | tied,
        "eos": ~c.here | (~c.waits & rests),
    }


def required(g: GrammarTables, c: Close) -> dict[str, Any]:
    """Returns what the last bar needs before it may close, by kind of token."""
    step = jnp.arange(g.codec.vocabulary.length["position"])
    note = c.final & ~c.waits & c.silent
    return {
        "position": c.here & ~c.waits & (step + 1 == c.line),
        "chord": c.waits,
        **dict.fromkeys(("slot", "pitch", "drum"), note),
    }


def tones(g: GrammarTables, s: State, a: Constraints, c: Close) -> Any:
    """Returns the resting pitches: tones of the last chord, none below its root."""
    # The tonic chord has the number of its key.
    chord = jnp.where(a.loop > 0, s.controls["chord"], s.controls["key"])
    known = c.here & (chord >= 0) & (chord != NO_CHORD)
    pitch = jnp.arange(g.codec.vocabulary.length["pitch"]) % 128
    lowest = (pitch % 12 == chord % 12) | (pitch > s.lowest)
    lowest |= ~(c.final | (s.position == 0))
    return ~known | (lowest & jnp.asarray(_TONES)[jnp.maximum(chord, 0)][pitch % 12])
