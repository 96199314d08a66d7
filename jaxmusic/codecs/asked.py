"""What is asked of a piece beyond its length, as gates of the metrical grammar (in `jit`).

What is asked for as tokens (styles, key, density, meter, tempo, instruments, sections, chords) is
forced: at its place nothing else may stand, and its place cannot be passed by. That each instrument
sounds is forced too. Which notes keep key, chords and density is left to the model, unless a strict
mask is asked for, which gives way where it would leave nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp

from jaxmusic.codecs import closing
from jaxmusic.music.piece import DRUM_SLOT, PITCHED_SLOTS

if TYPE_CHECKING:
    from jaxmusic.codecs.grammar import Grammar, State


class Asked(NamedTuple):
    """What is asked of one piece (int32 scalars, if not said otherwise).

    Attributes:
      styled: 1 where the prompt has all styles and no other may follow.
      key, density: values in the header, -1 for any or none.
      tempos: bool [M, K], the meters and tempos of the header.
      pitched: number of pitched instruments, -1 for any.
      drums: 1 for drums, 0 for none, -1 for either.
      programs: bool [15, 128], programs that each pitched slot may have.
      sections: [S], section of each bar of the piece, -1 for any or none.
      chords, loop: [H], chords of half bars, the first `loop` of which are repeated to the end of
        the piece; 0 for any or none.
      tones: bool [86, 12], pitch classes that go with each chord, last those without a chord.
      least, most: float32, notes in a quarter note on average.
      first, steps, notes: bars, steps and notes of the piece before the stream.
      sounded: a bit for each slot that sounds before the stream.
      deadline: bar of the stream, from 1, at the line of which the last instruments enter.
      given: bars at the start of the stream that come as they are.
      ending: 1 where the last bar has to come to rest, see `jaxmusic.codecs.closing`.
    """

    styled: Any
    key: Any
    density: Any
    tempos: Any
    pitched: Any
    drums: Any
    programs: Any
    sections: Any
    chords: Any
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


class Place(NamedTuple):
    """Where a stream stands in its bar (int32 scalars)."""

    steps: Any  # in the open bar
    half: Any  # step at which the second half of the bar begins
    after: Any  # steps of the piece after the last position
    last: Any  # whether the open bar is the last of a piece that is composed


def gates(g: Grammar, s: State, a: Asked, at: Place) -> tuple[Any, Any, Any]:
    """The tokens that what is asked leaves where a stream stands, and those that pay a debt.

    Returns:
      Bool [vocabulary] three times. A debt is what a bar still needs before it may close: a chord
      in its second half, an instrument that has to enter; and, apart from these, the last notes.
    """
    bar = a.first + s.bar - 1
    section = a.sections[jnp.clip(bar, 0, a.sections.shape[0] - 1)]
    enters = (section >= 0) & (section != s.section)
    late = s.position >= at.half
    halves = a.chords[(2 * bar + jnp.arange(2)) % jnp.maximum(a.loop, 1)]
    chord, chorded = jnp.where(late, halves[1], halves[0]), a.loop > 0
    changes = chorded & ~enters & (chord != s.chord)
    ahead = chorded & ~late & (halves[1] != halves[0]) & (at.half < at.steps)
    lowest, waits = _missing(s, a)
    free = ~enters & ~changes
    step, slot, value = (_values(g, kind) for kind in ("position", "slot", "pitch"))
    pitch_slot = value // 128 if g.codec.fused else s.slot
    body = {
        "section": (section < 0) | (enters & (_values(g, "section") == section)),
        "chord": jnp.where(chorded, changes & (_values(g, "chord") == chord), ~enters),
        "position": free & ~waits & (~ahead | (step < at.half)),
        "slot": free & (~waits | (slot <= lowest)),
        "pitch": free & (~waits | (pitch_slot <= lowest)),
        "drum": free & (~waits | (lowest == DRUM_SLOT)),
        "bar": free & ~waits & ~ahead,
        "eos": free & ~waits & ~ahead,
    }
    debts = {
        "position": ahead & ~waits & (step + 1 == at.half),
        "slot": waits & (slot == lowest),
        "pitch": waits & (pitch_slot == lowest) & g.codec.fused,
        "drum": waits & (lowest == DRUM_SLOT),
    }
    close = closing.close(s, a, at)
    body_ends = _vector(g, closing.gates(g, s, a, at, close), True)
    written = (_vector(g, body, True) & body_ends) | (s.bar <= a.given)
    may = jnp.where(s.bar > 0, written, _vector(g, _header(g, s, a), True))
    drawn, last = s.bar > a.given, closing.debts(g, close)
    return may, _vector(g, debts, False) & drawn, _vector(g, last, False) & drawn


def _header(g: Grammar, s: State, a: Asked) -> dict[str, Any]:
    """What may stand in the header, by kind."""
    key_first = (a.key >= 0) & (s.key < 0)
    density_first = (a.density >= 0) & (s.kind != g.number["density"])
    more = (a.pitched < 0) | (s.instruments < a.pitched)
    complete = (a.pitched < 0) | (s.instruments == a.pitched)
    slot = jnp.minimum(s.instruments, PITCHED_SLOTS - 1)
    return {
        "style": a.styled == 0,
        "key": (a.key < 0) | (_values(g, "key") == a.key),
        "density": ~key_first & ((a.density < 0) | (_values(g, "density") == a.density)),
        "meter": ~key_first & ~density_first & a.tempos.any(1),
        "tempo": a.tempos[jnp.maximum(s.meter, 0)],
        "program": (s.kind == g.number["hslot"]) | (more & a.programs[slot]),
        "slot": complete & (a.drums != 0),
        "bar": complete & ((a.drums <= 0) | (s.drums > 0)),
    }


def _missing(s: State, a: Asked) -> tuple[Any, Any]:
    """The lowest slot that has not sounded, and whether now is its time.

    Where time stands at the line of the bar, slots ascend: each can still enter, as long as none
    is passed by and time does not move on.
    """
    declared = (1 << s.instruments) - 1 + s.drums * (1 << DRUM_SLOT)
    missing = declared & ~(s.sounded | a.sounded)
    lowest = jnp.argmax((missing >> jnp.arange(DRUM_SLOT + 1)) & 1)
    here = (s.position == 0) & (s.written != 0)  # between what is given and written is no bar
    return lowest, here & (s.bar >= a.deadline) & (missing != 0)


def strict(g: Grammar, s: State, a: Asked, at: Place, ok: Any, debts: Any) -> Any:
    """Of the tokens that may follow, those that close, keep chords and key, and then the density.

    The number of notes is held between what `Asked.least` and `Asked.most` allow up to each
    moment, give or take a quarter, and at the least at each bar line and in the last bar, and at
    the most at the end.
    A step that would leave nothing is not taken.
    """
    close = closing.close(s, a, at)
    ok = _narrowed(ok, _vector(g, {"pitch": closing.tones(g, s, a, close)}, True))
    tones = a.tones[jnp.where(s.chord < 0, a.tones.shape[0] - 1, s.chord)]
    ok = _narrowed(ok, _vector(g, {"pitch": tones[_values(g, "pitch") % 128 % 12]}, True))
    quarter = g.codec.config.steps_per_beat
    line = a.steps + s.line
    now, notes = line + s.position, a.notes + s.notes
    end = now + at.after
    # In the last bar there must be a note, and perhaps another to close.
    before = at.after > at.steps - s.position
    kept = quarter * (before.astype(jnp.int32) + ((a.ending > 0) & ~close.final))
    # A last bar that comes to rest has few notes: those before have to make up for them.
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
    return _narrowed(ok, _vector(g, by_kind, True) | debts | (s.bar == 0))


def _narrowed(ok: Any, gate: Any) -> Any:
    both = ok & gate
    return jnp.where(both.any(), both, ok)


def _values(g: Grammar, kind: str) -> Any:
    return jnp.arange(g.codec.vocabulary.length[kind])


def _vector(g: Grammar, by_kind: dict[str, Any], other: bool) -> Any:
    """Bool [vocabulary] from what holds for each kind of token, `other` for all that is absent."""
    length = g.codec.vocabulary.length
    parts = [jnp.broadcast_to(by_kind.get(name, other), n) for name, n in length.items()]
    return jnp.concatenate(parts)
