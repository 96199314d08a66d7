"""State, constraints and vocabulary tables of the metrical grammar."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.music import meters
from jaxmusic._src.music.controls import CONTROLS, stated_at
from jaxmusic._src.music.meters import METERS
from jaxmusic._src.music.piece import DRUM_SLOT, PITCHED_SLOTS

FAR = 1 << 20
"""More bars than any piece has."""

# The places at which a stream states controls; what the header states has a kind of its own there.
IN_HEADER = tuple(c for c in CONTROLS if c.place == "piece" or c.opens)
OF_SLOTS, OF_BARS, OF_HALVES = map(stated_at, ("slot", "bar", "half"))
HEADER_TWINS = {kind: f"h{kind}" for kind in ("meter", "tempo", "slot")}
HEADER_TWINS |= {control.kind: f"h{control.kind}" for control in CONTROLS if control.opens}


def _follows() -> dict[str, set[str]]:
    """Lists the kinds of tokens that may follow each kind."""
    bar_end = {"bar", "eos"}
    new_note = {"slot", "pitch", "drum"}  # a fused pitch needs no slot
    header = [*(HEADER_TWINS.get(c.kind, c.kind) for c in IN_HEADER), "hmeter"]
    slots = [c.kind for c in OF_SLOTS]
    bars = ["meter", "tempo", *(c.kind for c in OF_BARS)]
    halves = [c.kind for c in OF_HALVES]
    music = {*halves, "position", *new_note, *bar_end}
    out = {
        "bos": {"part", "style", *header},
        "part": {"style", *header},
        "style": {"style", *header},
        "task": {"part", "style", *header},
        "hmeter": {"htempo"},
        "htempo": {"program", "hslot"},
        "program": {*slots, "program", "hslot", "bar"},
        "hslot": {"kit"},
        "kit": {"bar"},
        "bar": {*bars, *music},
        "hole": {*bars, *music},
        "position": {*halves, *new_note},
        "slot": {"pitch"},
        "pitch": {"hold", "note"},
        "hold": {"hold", "note"},
        "note": {"position", *new_note, *bar_end},
        "drum": {"drum", "position", *bar_end},
        "write": bar_end,
        "eos": set(),
    }
    for i, kind in enumerate(header[:-1], 1):
        out[kind] = set(header[i:])
    for i, kind in enumerate(slots, 1):
        out[kind] = {*slots[i:], "program", "hslot", "bar"}
    for i, kind in enumerate(bars, 1):
        out[kind] = {*bars[i:], *music}
    for i, kind in enumerate(halves, 1):
        out[kind] = {*halves[i:], "position", *new_note, *bar_end}
    for control in OF_BARS:
        out[control.kind] |= {control.kind} if control.many else set()
    return out


FOLLOWS = _follows()


class State(NamedTuple):
    """What is known of a stream after its last token (int32 scalars)."""

    kind: Any  # kind of the last token, header twins apart
    token: Any
    style: Any  # last style in the header
    instruments: Any  # pitched slots declared
    program: Any  # program of the last of them
    drums: Any  # 1 where there is a drum slot
    meter: Any
    tempo: Any
    controls: dict[str, Any]  # value of each control that is in force, by kind
    fresh: Any  # 1 where this bar opens a section or phrase
    bar: Any  # bars opened
    line: Any  # step of the last bar line
    position: Any
    slot: Any  # of the last pitched note
    slot_here: Any  # last slot that has a note at this position, -1 for none
    pitch: Any  # last pitch; it bounds the next one if slot_here == slot
    hit: Any  # last drum at this position, -1 for none
    held: Any  # steps of the hold tokens before a note
    last_hold: Any
    onsets: Any  # 1 where this bar has an onset
    silent: Any  # bars in a row that ended without one
    tokens: Any  # tokens of this bar
    written: Any  # bars opened after the token for writing, -1 before it
    sounded: Any  # a bit for each slot that has a note
    notes: Any  # onsets in all bars
    lowest: Any  # pitch at this position, 128 for none
    shortest: Any  # duration at this position, FAR for none

    @property
    def declared(self) -> Any:
        """Bit s is set where the header declares slot s (int32)."""
        return ((1 << self.instruments) - 1) | (self.drums << DRUM_SLOT)


class Constraints(NamedTuple):
    """Constraints on one piece beyond its length (int32 scalars, if not said otherwise).

    Attributes:
      styled: 1 where the prompt has all styles and no other may follow.
      header: value of each control in the header, by kind; -1 for any or none.
      slots: [15], value of each control of a slot, by kind; -1 for any or none.
      tempos: bool [M, K], the meters and tempos of the header.
      pitched: number of pitched instruments, -1 for any.
      drums: 1 for drums, 0 for none, -1 for either.
      programs: bool [15, 128], programs that each pitched slot may have.
      bars: [S], value of each control of each bar of the piece, by kind; -1 for any or none.
      halves, loop: [H], values of the controls of half bars, by kind, the first `loop` of which are
        repeated to the end of the piece; 0 for any or none.
      tones: bool [C, 12], pitch classes that go with each chord, last those without a chord.
      least, most: float32, notes in a quarter note on average.
      first, steps, notes: bars, steps and notes of the piece before the stream.
      sounded: a bit for each slot that sounds before the stream.
      deadline: bar of the stream, from 1, at the line of which the last instruments enter.
      given: bars at the start of the stream that come as they are.
      ending: 1 where the last bar ends with a cadence, see `codecs.metrical.cadence`.
    """

    styled: Any
    header: dict[str, Any]
    slots: dict[str, Any]
    tempos: Any
    pitched: Any
    drums: Any
    programs: Any
    bars: dict[str, Any]
    halves: dict[str, Any]
    loop: Any
    tones: Any
    least: Any
    most: Any
    first: Any
    steps: Any
    notes: Any
    sounded: Any
    deadline: Any
    given: Any
    ending: Any


class BarPlace(NamedTuple):
    """Where a stream stands in its bar (int32 scalars)."""

    steps: Any  # in the open bar
    half: Any  # step at which the second half of the bar begins
    after: Any  # steps of the piece after the last position
    last: Any  # whether the open bar is the last of a piece that is composed


class GrammarTables:
    """Tables over the vocabulary of one codec.

    Attributes:
      codec: the codec.
      number: number of each kind of token by name, header twins included.
      allowed: bool [3, kinds, vocabulary], what may follow a kind in the body, in the header, and
        after the header's slot token.
      kind, value: int32 [vocabulary].
    """

    def __init__(self, codec: MetricalCodec):
        """Lays the codec's rules out in arrays over the vocabulary."""
        self.codec = codec
        v, beat = codec.vocabulary, codec.config.steps_per_beat
        names = [*v.names, *HEADER_TWINS.values(), "kit", "hole", "write"]
        self.number = {name: i for i, name in enumerate(names)}
        number = self.number
        table = np.zeros((len(names), len(names)), bool)
        for name, following in FOLLOWS.items():
            table[number[name], [number[f] for f in sorted(following)]] = True
        if codec.fused:
            table[:, number["slot"]] = False
        twin = np.arange(len(names))
        for name, header in HEADER_TWINS.items():
            twin[number[name]] = number[header]
        after_slot = twin.copy()
        after_slot[number["program"]] = number["kit"]
        # Kind of each kind of token in the body, in the header, and after the header's slot token.
        twins = np.stack([np.arange(len(names)), twin, after_slot])
        kind = v.kind.copy()
        kind[codec.hole], kind[codec.write] = number["hole"], number["write"]
        self.twins = jnp.asarray(twins)
        follows = np.stack([table[:, kinds[kind]] for kinds in twins])
        self.allowed = jnp.asarray(follows & codec.meaningful)
        self.kind, self.value = jnp.asarray(kind), jnp.asarray(v.value)
        self.is_a = {name: jnp.asarray(v.kind == v.kinds[name]) for name in v.names}
        self.bar_steps = jnp.asarray([meters.bar_length(m, beat) for m in range(len(METERS))])
        levels = codec.config.velocities
        durations = codec.durations[np.minimum(v.value // levels, len(codec.durations) - 1)]
        self.duration = jnp.asarray(np.where(v.kind == v.kinds["note"], durations, 0))
        self.has_token = jnp.asarray(np.append(codec.duration_index >= 0, False))
        self.longest = len(codec.duration_index)
        self.drum = jnp.asarray(v.value // levels)
        named = np.where(v.kind == v.kinds["slot"], v.value, PITCHED_SLOTS)
        if codec.fused:
            named = np.where(v.kind == v.kinds["pitch"], v.value // 128, named)
        # The bit of the pitched slot that a note's token names, 0 where it names none.
        self.slot_bit = jnp.asarray(np.where(named < PITCHED_SLOTS, 1 << named, 0))
