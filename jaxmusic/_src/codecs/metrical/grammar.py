"""The metrical codec as a grammar inside `jit`: which tokens may follow, and where each stands.

A `State` is what must be known of a stream so far. `advance` takes one token, `mask` gives the
tokens that may follow, in O(vocabulary), and `place` the event tensors of the last token. Any
stream that starts at `begin` and obeys the mask decodes without a token dropped; there is one
order only in which the notes of a piece can be written. Of a task stream what is given is taken on
trust, and what is written after it obeys the mask.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmusic._src.codecs.layout import BARS_LEFT, MAX_HOLD
from jaxmusic._src.codecs.metrical import constraints, task_grammar
from jaxmusic._src.codecs.metrical.grammar_tables import (
    FAR,
    HEADER_TWINS,
    OF_BARS,
    OF_HALVES,
    OF_SLOTS,
    BarPlace,
    Constraints,
    GrammarTables,
    State,
)
from jaxmusic._src.core.events import Events
from jaxmusic._src.music.controls import CONTROLS, of
from jaxmusic._src.music.piece import DRUM_PITCHES, DRUM_SLOT, PITCHED_SLOTS

_TRACKED = tuple(control for control in CONTROLS if control.place != "slot")
"""Controls whose values a state knows; those of slots are stated once, after the program."""
_HEADS = tuple(dict.fromkeys(kind for c in OF_BARS for kind in c.under))
"""Kinds of controls that others stand under: what opens a section or phrase."""


class Rules(NamedTuple):
    """What a stream must keep beyond the grammar (int32 scalars, if not said otherwise).

    Attributes:
      bars: bars from the first `bar` token on to the end of the piece.
      last_bar: steps in the last bar; 0 for a whole bar.
      silence: no more bars than this in a row may pass without an onset, and with a value under
        `FAR` the stream opens a piece, and its first and last bar each hold one.
      steady: 1 forbids changes of meter, tempo and key after the header.
      tokens: a bar with this many tokens closes as soon as it may.
      hole: where the writing stands in a task stream. The rules of `silence` for the ends of the
        piece do not count there.
      constraints: further constraints on the piece; None for none.
    """

    bars: Any
    last_bar: Any = 0
    silence: Any = FAR
    steady: Any = 0
    tokens: Any = FAR
    hole: task_grammar.Hole = task_grammar.Hole()
    constraints: Constraints | None = None


class Grammar(GrammarTables):
    """The grammar of one codec, as functions over its tables."""

    def begin(self) -> State:
        """Returns the state before a stream, to `advance` with the first token of its header."""
        zero = jnp.zeros((), jnp.int32)
        none = zero - 1
        unset = ["kind", "style", "meter", "tempo", "slot", "slot_here", "hit", "written"]
        values: dict[str, Any] = dict.fromkeys(State._fields, zero) | dict.fromkeys(unset, none)
        values["controls"] = {c.kind: zero + c.default for c in _TRACKED}
        return State(**values)

    def _phase(self, s: State) -> Any:
        """Returns 0 in the body, 1 in the header, 2 after the header's slot token."""
        return jnp.where(s.bar > 0, 0, jnp.where(s.kind == self.number["hslot"], 2, 1))

    def _bar_steps(self, s: State, rules: Rules) -> Any:
        """Steps in the bar that is open."""
        whole = self.bar_steps[jnp.maximum(s.meter, 0)]
        short = (s.bar >= rules.bars) & (jnp.asarray(rules.last_bar) > 0)
        return jnp.where(s.written > 0, rules.hole.steps, jnp.where(short, rules.last_bar, whole))

    def advance(self, s: State, token: Any, rules: Rules) -> State:
        """Returns the state after one more token (int32 scalar), which is not checked."""
        n, value = self.number, self.value[token]
        kind = self.twins[self._phase(s), self.kind[token]]

        def when(name: str, new: Any, old: Any) -> Any:
            return jnp.where(kind == n[name], new, old)

        bar, position = kind == n["bar"], kind == n["position"]
        moved = bar | position
        onset = (kind == n["pitch"]) | (kind == n["drum"])
        open_bar = s.bar > 0
        hit = when("drum", self.drum[token], jnp.where(moved, -1, s.hit))
        hold = (value + 1) * self.codec.half
        slot = when("pitch", value // 128, s.slot) if self.codec.fused else s.slot
        meter = when("meter", value, when("hmeter", value, s.meter))
        voice = when("drum", DRUM_SLOT, jnp.maximum(slot, 0))
        lowest, shortest = jnp.where(moved, 128, s.lowest), jnp.where(moved, FAR, s.shortest)
        new = State(
            kind=kind.astype(jnp.int32),
            token=jnp.asarray(token, jnp.int32),
            style=when("style", value, s.style),
            instruments=s.instruments + (kind == n["program"]),
            program=when("program", value, s.program),
            drums=when("kit", 1, s.drums),
            meter=meter,
            tempo=when("tempo", value, when("htempo", value, s.tempo)),
            controls=self._controls(s, kind, value),
            fresh=jnp.where(bar, 0, s.fresh | self._is_one_of(kind, _HEADS)),
            bar=s.bar + bar,
            line=jnp.where(bar & open_bar, s.line + self._bar_steps(s, rules), s.line),
            position=jnp.where(bar, 0, jnp.where(position, value + 1, s.position)),
            slot=when("slot", value, slot),
            slot_here=when("pitch", slot, jnp.where(moved, -1, s.slot_here)),
            pitch=when("pitch", value % 128, s.pitch),
            hit=hit,
            held=when("hold", s.held + hold, jnp.where(kind == n["pitch"], 0, s.held)),
            last_hold=when("hold", value + 1, 0),
            onsets=jnp.where(bar, 0, jnp.where(onset, 1, s.onsets)),
            silent=jnp.where(bar & open_bar, jnp.where(s.onsets > 0, 0, s.silent + 1), s.silent),
            tokens=jnp.where(bar, 1, s.tokens + 1),
            written=s.written,
            sounded=jnp.where(onset, s.sounded | (1 << voice), s.sounded),
            notes=s.notes + onset,
            lowest=when("pitch", jnp.minimum(lowest, value % 128), lowest),
            shortest=when("note", jnp.minimum(shortest, s.held + self.duration[token]), shortest),
        )
        return task_grammar.advance(s, new, kind == n["write"], bar, rules)

    def _controls(self, s: State, kind: Any, value: Any) -> dict[str, Any]:
        """Returns the values of controls after a token of some kind."""
        out = {}
        for control in _TRACKED:
            now = s.controls[control.kind]
            if control.under:
                now = jnp.where(self._is_one_of(kind, control.under), control.default, now)
            if control.many:  # the last of the set, whose values ascend in each bar
                now = jnp.where(kind == self.number["bar"], -1, now)
            names = (control.kind, HEADER_TWINS[control.kind]) if control.opens else (control.kind,)
            out[control.kind] = jnp.where(self._is_one_of(kind, names), value, now)
        return out

    def _is_one_of(self, kind: Any, names: tuple[str, ...]) -> Any:
        return jnp.any(jnp.stack([kind == self.number[name] for name in names]), axis=0)

    def _control_gates(self, s: State, may_change: Any, half_bar: Any) -> dict[str, Any]:
        """Masks the values that controls of bars and half bars may have."""
        value, gates = self.value, {}
        for control in (*OF_BARS, *OF_HALVES):
            now = s.controls[control.kind]
            gate = value > now if control.many else value != now
            if control.place == "half":
                gate &= half_bar
                for kind in control.under:
                    above = s.controls[kind]
                    gate &= (above >= 0) & (above != of(kind).none)
            elif control.under:
                gate &= s.fresh > 0
            if control.many:
                gate &= (s.declared >> value) & 1 > 0
            if control.opens:
                gate = (s.bar == 0) | (gate & (may_change if control.steady else True))
            gates[control.kind] = gate
        return gates

    def mask(self, s: State, rules: Rules) -> Any:
        """Masks the tokens that may follow, bool [vocabulary]."""
        is_a, value = self.is_a, self.value
        phase = self._phase(s)
        header = phase > 0
        ok = self.allowed[phase, s.kind]
        steps = self._bar_steps(s, rules)
        writing, hole = s.written >= 0, rules.hole
        playable = task_grammar.playable(s, hole)
        left = jnp.where(writing, hole.bars - s.written, rules.bars - s.bar)
        composing = (jnp.asarray(rules.silence) < FAR) & ~writing
        silent = jnp.where(s.onsets > 0, 0, s.silent + 1)
        outer = composing & ((s.bar == 1) | (left == 0)) & (s.onsets == 0)
        closes = (header | ~outer) & (header | (s.onsets > 0) | (silent <= rules.silence))
        closes |= writing & ((s.written == 0) | (playable == 0))
        bounds = jnp.asarray(BARS_LEFT)
        next_bar = (bounds <= jnp.where(writing, hole.next_left, left - 1)).sum() - 1
        remaining = steps - s.position + jnp.where(left > 0, self._steps_after(s, rules), 0)
        remaining = jnp.where(composing, remaining, FAR)
        ends = writing & (jnp.asarray(hole.end) > 0)
        remaining = jnp.where(ends, hole.end - s.line - s.position, remaining)
        total = s.held + self.duration
        untied = s.held == 0
        single = self.has_token[jnp.minimum(total, self.longest)]
        # Of a last bar that is short, too.
        half = jnp.where(writing, steps, self.bar_steps[jnp.maximum(s.meter, 0)]) // 2
        half_bar = (s.position == 0) | (s.position == half)
        # A piece closes: in its last eighth notes begin only on the line of its last half bar.
        rest = jnp.clip(steps // 2, 1, self.codec.config.steps_per_beat // 2)
        latest = steps - jnp.where(composing & (left == 0), rest, 1)
        # Voices, slot by slot and pitch by pitch, ascend at each position.
        voice = value if self.codec.fused else s.slot * 128 + value
        last_voice = jnp.where(s.slot_here < 0, -1, s.slot_here * 128 + s.pitch)
        # The header speaks for the first bar.
        may_change = (s.bar > 1) & (jnp.asarray(rules.steady) == 0) & ~writing
        chords = jnp.asarray(hole.chords) > 0
        plays = (self.slot_bit & playable) > 0
        gates = {
            "part": ~composing,
            "style": value > s.style,
            "meter": header | (may_change & (value != s.meter)),
            "tempo": header | (may_change & (value != s.tempo)),
            "program": (phase == 2)
            | ((s.instruments < PITCHED_SLOTS) & ((s.instruments == 0) | (value >= s.program))),
            **{c.kind: ~writing for c in OF_BARS if not c.opens},
            "bar": (left > 0) & (value == next_bar) & closes,
            "eos": (left == 0) & closes,
            "position": (value + 1 > s.position)
            & ((value + 1 <= latest) | ((value + 1 == half) & (half < steps)))
            & ((playable > 0) | (chords & (value + 1 == half))),
            "slot": jnp.where(
                header,
                value == DRUM_SLOT,
                (value != s.slot) & (value > s.slot_here) & plays,
            ),
            "pitch": (voice > last_voice) & (plays if self.codec.fused else s.slot >= 0),
            "hold": ((s.last_hold == 0) | (s.last_hold == MAX_HOLD))
            & (s.held + (value + 1) * self.codec.half < remaining),
            "note": (untied | ((self.duration <= self.codec.half) & ~single))
            & (total <= remaining),
            "drum": (playable >> DRUM_SLOT > 0) & (self.drum > s.hit),
        }
        for name, gate in self._control_gates(s, may_change, half_bar & chords).items():
            gates[name] = gates.get(name, True) & gate
        if jnp.ndim(hole.ringing):
            gates["pitch"] &= ~task_grammar.taken(s, hole)[jnp.clip(voice, 0, 2047)]
        for name, gate in gates.items():
            ok = ok & (~is_a[name] | gate)
        ending, wanted = is_a["bar"] | is_a["eos"], ok
        if rules.constraints is not None:
            at = BarPlace(steps, half, remaining, composing & (left == 0))
            may, required, cadence = constraints.gates(self, s, rules.constraints, at)
            ok = ok & may
            wanted = constraints.strict(self, s, rules.constraints, at, ok, required)
            ending = jnp.where((ok & ending).any(), ending, required | cadence)
        ending = ok & ending
        full = (s.tokens >= rules.tokens) & (s.bar > 0) & ending.any()
        return jnp.where(full, ending, wanted)

    def merge(self, logits: Any) -> Any:
        """Gives every bar token the likelihood of all of them together (float32 [vocabulary]).

        How many bars are left is known, not drawn. Masked alone, the one bar token that may follow
        would keep its own small share, and whatever else may follow would win over a new bar.
        """
        is_bar = self.is_a["bar"]
        together = jax.nn.logsumexp(jnp.where(is_bar, logits, -jnp.inf))
        return jnp.where(is_bar, together, logits)

    def _steps_after(self, s: State, rules: Rules) -> Any:
        """Steps after the open bar, if the meter stays."""
        whole = self.bar_steps[jnp.maximum(s.meter, 0)]
        last = jnp.where(jnp.asarray(rules.last_bar) > 0, rules.last_bar, whole)
        return (rules.bars - s.bar - 1) * whole + last

    def place(self, s: State) -> Events:
        """Returns the event tensors of the last token, int32 scalars, as `MetricalCodec.events`."""
        n = self.number
        body = (s.bar > 0) & (s.written != 0)
        is_drum = s.kind == n["drum"]
        sounding = (s.kind == n["pitch"]) | (s.kind == n["hold"]) | (s.kind == n["note"])
        voiced = sounding | (s.kind == n["slot"])
        slot = jnp.where(voiced & (s.slot >= 0), s.slot, 16)
        of_slot = self._is_one_of(s.kind, ("program", *(c.kind for c in OF_SLOTS)))
        slot = jnp.where(of_slot, s.instruments - 1, slot)
        drum_slot = is_drum | (s.kind == n["hslot"]) | (s.kind == n["kit"])
        pitch = jnp.where(sounding, s.pitch, 128)
        return Events(
            token=s.token,
            time=jnp.where(body, s.line + s.position, 0),
            position=jnp.where(body, s.position, 144),
            bar=jnp.where(body, s.bar - 1, 0),
            slot=jnp.where(drum_slot, DRUM_SLOT, slot),
            pitch=jnp.where(is_drum, self.drum[s.token] + DRUM_PITCHES[0], pitch),
        )
