"""Gates the metrical grammar by constraints on a piece beyond its length (in `jit`).

Styles, meter, tempo, instruments and the controls of `music.controls` are forced as
tokens: nothing else may stand in their place, and no stream passes it by. Each instrument is forced
to sound, too. Which notes keep to key, chords and density is left to the model, unless a strict
mask is wanted, which gives way where it would leave no token.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jaxmusic._src.codecs.metrical import cadence
from jaxmusic._src.codecs.metrical.grammar_tables import (
    IN_HEADER,
    OF_BARS,
    OF_HALVES,
    OF_SLOTS,
    BarPlace,
    Constraints,
    GrammarTables,
    State,
)
from jaxmusic._src.music.piece import DRUM_SLOT, PITCHED_SLOTS


def gates(g: GrammarTables, s: State, a: Constraints, at: BarPlace) -> tuple[Any, Any, Any]:
    """Returns the tokens that the constraints allow in a state, and those still required.

    Returns:
      Bool [vocabulary] three times: allowed; required before the bar may close (a chord in its
      second half, an instrument that has to enter); and required by the cadence.
    """
    bar = a.first + s.bar - 1
    late = s.position >= at.half
    stated, pending, ahead = _stated(g, s, a, bar, late)
    ahead = ahead & ~late & (at.half < at.steps)
    lowest, waits = _missing(s, a)
    free = ~pending
    step, slot, value = (_values(g, kind) for kind in ("position", "slot", "pitch"))
    pitch_slot = value // 128 if g.codec.fused else s.slot
    body = stated | {
        "position": free & ~waits & (~ahead | (step < at.half)),
        "slot": free & (~waits | (slot <= lowest)),
        "pitch": free & (~waits | (pitch_slot <= lowest)),
        "drum": free & (~waits | (lowest == DRUM_SLOT)),
        "bar": free & ~waits & ~ahead,
        "eos": free & ~waits & ~ahead,
    }
    required = {
        "position": ahead & ~waits & (step + 1 == at.half),
        "slot": waits & (slot == lowest),
        "pitch": waits & (pitch_slot == lowest) & g.codec.fused,
        "drum": waits & (lowest == DRUM_SLOT),
    }
    close = cadence.close(s, a, at)
    body_ends = _vector(g, cadence.gates(g, s, a, at, close), True)
    written = (_vector(g, body, True) & body_ends) | (s.bar <= a.given)
    may = jnp.where(s.bar > 0, written, _vector(g, _header(g, s, a), True))
    drawn, last = s.bar > a.given, cadence.required(g, close)
    return may, _vector(g, required, False) & drawn, _vector(g, last, False) & drawn


def _stated(
    g: GrammarTables, s: State, a: Constraints, bar: Any, late: Any
) -> tuple[dict[str, Any], Any, Any]:
    """Returns what bars and half bars may state, in the order of the table of controls.

    Returns:
      Gates by kind; whether a wanted value has still to be stated; and whether other values are
      wanted in the second half of the bar.
    """
    gates: dict[str, Any] = {}
    pending, ahead, looped = jnp.asarray(False), jnp.asarray(False), a.loop > 0
    for control in (*OF_BARS, *OF_HALVES):
        kind, now = control.kind, s.controls[control.kind]
        if control.place == "half":
            first, second = a.halves[kind][(2 * bar + jnp.arange(2)) % jnp.maximum(a.loop, 1)]
            want = jnp.where(looped, jnp.where(late, second, first), -1)
            ahead |= looped & (second >= 0) & (second != first)
        elif kind in a.bars:
            want = a.bars[kind][jnp.clip(bar, 0, a.bars[kind].shape[0] - 1)]
        else:
            gates[kind] = ~pending
            continue
        differs = (want >= 0) & (want != now)
        if control.under and control.place == "bar":
            differs &= s.fresh > 0
        gates[kind] = ~pending & ((want < 0) | (differs & (_values(g, kind) == want)))
        pending |= differs
    return gates, pending, ahead


def _header(g: GrammarTables, s: State, a: Constraints) -> dict[str, Any]:
    """Returns what the header may contain, by kind."""
    gates: dict[str, Any] = {"style": a.styled == 0}
    pending = jnp.asarray(False)
    for control in IN_HEADER:
        want = a.header[control.kind]
        gates[control.kind] = ~pending & ((want < 0) | (_values(g, control.kind) == want))
        pending |= (want >= 0) & (s.controls[control.kind] < 0)
    more = (a.pitched < 0) | (s.instruments < a.pitched)
    complete = (a.pitched < 0) | (s.instruments == a.pitched)
    slot = jnp.minimum(s.instruments, PITCHED_SLOTS - 1)
    roleless = jnp.asarray(False)
    for control in reversed(OF_SLOTS):
        # What a program is followed by: its own controls, if any are wanted.
        want = a.slots[control.kind][jnp.maximum(s.instruments - 1, 0)]
        gates[control.kind] = (want < 0) | (_values(g, control.kind) == want)
        roleless |= (want >= 0) & (s.kind == g.number["program"])
    done = ~roleless
    kit = s.kind == g.number["hslot"]
    return gates | {
        "meter": ~pending & a.tempos.any(1),
        "tempo": a.tempos[jnp.maximum(s.meter, 0)],
        "program": kit | (done & more & a.programs[slot]),
        "slot": done & complete & (a.drums != 0),
        "bar": done & complete & ((a.drums <= 0) | (s.drums > 0)),
    }


def _missing(s: State, a: Constraints) -> tuple[Any, Any]:
    """Returns the lowest slot that has not sounded, and whether it is due.

    Where time stands at the line of the bar, slots ascend: each can still enter, as long as none
    is passed by and time does not move on.
    """
    missing = s.declared & ~(s.sounded | a.sounded)
    lowest = jnp.argmax((missing >> jnp.arange(DRUM_SLOT + 1)) & 1)
    here = (s.position == 0) & (s.written != 0)  # between what is given and written is no bar
    return lowest, here & (s.bar >= a.deadline) & (missing != 0)


def strict(g: GrammarTables, s: State, a: Constraints, at: BarPlace, ok: Any, required: Any) -> Any:
    """Narrows the allowed tokens to those that end in a cadence and keep chords, key and density.

    The number of notes stays between `Constraints.least` and `Constraints.most` up to each moment,
    within a quarter; the least holds exactly at bar lines and in the last bar, the most at the end.
    A narrowing that would leave no token is left out.
    """
    close = cadence.close(s, a, at)
    ok = _narrowed(ok, _vector(g, {"pitch": cadence.tones(g, s, a, close)}, True))
    chord = s.controls["chord"]
    tones = a.tones[jnp.where(chord < 0, a.tones.shape[0] - 1, chord)]
    ok = _narrowed(ok, _vector(g, {"pitch": tones[_values(g, "pitch") % 128 % 12]}, True))
    quarter = g.codec.config.steps_per_beat
    line = a.steps + s.line
    now, notes = line + s.position, a.notes + s.notes
    end = now + at.after
    # In the last bar there must be a note, and perhaps another to close.
    before = at.after > at.steps - s.position
    kept = quarter * (before.astype(jnp.int32) + ((a.ending > 0) & ~close.final))
    # A last bar with a cadence has few notes: the bars before have to make up for them.
    body = jnp.where(a.ending > 0, jnp.maximum(end - at.steps, end // 2), end)

    def share(time: Any) -> Any:
        return jnp.minimum(time * (end / body), end)

    def room(time: Any) -> Any:
        return (notes + 1) * quarter <= jnp.minimum(
            a.most * (share(time) + quarter), a.most * end - kept
        )

    step = _values(g, "position") + 1
    then = line + step
    have = (notes + (close.here & ~close.final)) * quarter
    enough = have >= a.least * share(line + at.steps)
    due = share(then) - quarter * before
    by_kind = {
        "position": (room(then) | (close.here & (step == close.line))) & (have >= a.least * due),
        "slot": room(now),
        "pitch": room(now) | (s.kind == g.number["slot"]),
        "drum": room(now),
        "bar": enough,
        "eos": enough,
    }
    return _narrowed(ok, _vector(g, by_kind, True) | required | (s.bar == 0))


def _narrowed(ok: Any, gate: Any) -> Any:
    both = ok & gate
    return jnp.where(both.any(), both, ok)


def _values(g: GrammarTables, kind: str) -> Any:
    return jnp.arange(g.codec.vocabulary.length[kind])


def _vector(g: GrammarTables, by_kind: dict[str, Any], other: bool) -> Any:
    """Returns a mask, bool [vocabulary], from values for kinds of tokens; `other` for the rest."""

    def part(gate: Any, length: int) -> Any:
        # Meters and tempos have fewer values than ids.
        room = length - gate.shape[0] if jnp.ndim(gate) and gate.shape[0] > 1 else 0
        return jnp.pad(gate, (0, room)) if room else jnp.broadcast_to(gate, length)

    lengths = g.codec.vocabulary.length.items()
    return jnp.concatenate([part(by_kind.get(name, other), n) for name, n in lengths])
