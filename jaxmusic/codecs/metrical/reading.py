"""Tokens of the metrical codec to the piece that they stand for."""

from __future__ import annotations

import numpy as np

from jaxmusic.codecs.layout import BARS_LEFT, TASKS
from jaxmusic.codecs.metrical.events import events, marked_bars
from jaxmusic.codecs.metrical.layout import MetricalLayout
from jaxmusic.music.controls import CONTROLS, Control
from jaxmusic.music.meters import TEMPOS
from jaxmusic.music.piece import DRUM_SLOT, Piece, canonical

_HALVES = tuple(control.kind for control in CONTROLS if control.place == "half")
_WRITTEN = ("bar", *_HALVES, "position", "slot", "pitch", "hold", "note", "drum")
"""What may stand after the token for writing."""


def read(codec: MetricalLayout, stream: np.ndarray) -> tuple[Piece, int]:
    """The piece that a stream stands for, and the number of tokens that made no sense."""
    v = codec.vocabulary
    raw = np.asarray(stream, np.int64).ravel()
    tokens = raw[(raw > 0) & (raw < codec.vocab_size)].astype(np.int32)
    ends = np.flatnonzero(tokens == v.start["eos"])
    if len(ends):
        tokens = tokens[: ends[0]]
    tokens = tokens[codec.meaningful[tokens]]
    tokens, write = _task(codec, tokens)
    dropped = int((raw != codec.PAD).sum()) - len(tokens) - (len(ends) > 0)
    kinds, value, place = v.kind[tokens], v.value[tokens], events(codec, tokens)

    def is_a(name: str) -> np.ndarray:
        return kinds == v.kinds[name]

    bar_line = is_a("bar")
    given_bars = np.flatnonzero(bar_line[:write])
    body = place.position < 144
    header = np.flatnonzero(np.cumsum(bar_line) == 0)
    bar, bars = place.bar, max(len(given_bars), 1)

    programs = np.full(16, -1, np.int16)
    named = header[is_a("program")[header]]
    programs[place.slot[named]] = value[named]

    def by_bar(name: str, unknown: int) -> np.ndarray:
        """Value of each bar [bars]: the last one stated in it or before it."""
        at = np.flatnonzero(is_a(name))
        return carried(bar[at], value[at], bars, unknown).astype(np.int16)

    meter, tempo = by_bar("meter", 0), by_bar("tempo", int(np.argmin(abs(TEMPOS - 120))))
    lengths = codec.bar_lengths[meter]
    bar_step = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    inside = body & (place.position < lengths[bar])

    controls: dict[str, np.ndarray] = {}
    stated: dict[str, np.ndarray] = {}
    for control in CONTROLS:
        at = is_a(control.kind)
        if control.place == "slot":
            controls[control.kind] = control.unknown(bars)
            # It follows the program of its slot.
            at = header[at[header] & (place.slot[header] < DRUM_SLOT)]
            controls[control.kind][place.slot[at]] = value[at]
        elif control.place == "piece":
            at = header[at[header]]
            first = value[at[:1]] if len(at) else [-1]
            controls[control.kind] = np.array(first[0], np.int16)
        else:
            at = np.flatnonzero(at & inside if control.place == "half" else at)
            scale = 2 if control.place == "half" else 1
            places = scale * bar[at] + (scale > 1) * (place.position[at] > 0)
            stated[control.kind] = places
            resets = np.concatenate([np.zeros(0, int), *(stated[k] for k in control.under)])
            controls[control.kind] = _timeline(control, places, value[at], scale * bars, resets)

    drum, levels = is_a("drum"), codec.config.velocities
    playable = np.append(programs, -1)[place.slot] >= 0
    sounding = inside & playable
    pitched, told, lost = _notes(codec, kinds, value, place.slot, write)
    keep = np.flatnonzero(sounding & (drum | (told >= 0)))
    dropped += lost + int((~sounding & (drum | pitched)).sum())
    dropped += len(set(told[pitched & ~sounding].tolist()) - {-1})
    at = np.where(drum, np.arange(len(tokens)), told)[keep]
    duration = np.where(drum[keep], 1, _durations(codec, kinds, value)[at])
    voice = place.slot.astype(np.int64) * 128 + place.pitch
    free = _free(voice[keep], place.time[keep], duration, keep < write)
    dropped += int((~free).sum())
    columns, duplicates, _ = canonical(
        place.time[keep][free],
        duration[free],
        place.pitch[keep][free],
        (value[at] % levels)[free],
        place.slot[keep][free],
        int(bar_step[-1]),
    )
    styles = value[header[is_a("style")[header]]]
    last = BARS_LEFT[value[given_bars[-1]]] if len(given_bars) else 0
    piece = Piece(
        **columns,
        programs=programs,
        bar_step=bar_step,
        meter=meter,
        tempo=tempo,
        controls=controls,
        styles=codec.style_names(styles),
        bars_before=int(is_a("part").any()),
        # The end of a task stream is not that of the piece.
        bars_after=0 if len(ends) and write == len(tokens) else int(last),
        steps_per_beat=codec.config.steps_per_beat,
        velocities=levels,
    )
    return piece, dropped + duplicates


def _notes(
    codec: MetricalLayout, kinds: np.ndarray, value: np.ndarray, slot: np.ndarray, write: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Finds what says how long and loud each pitched note is.

    Returns:
      Which tokens are pitches (bool [T]); for each of them the place of the note token that counts,
      its own or else the last one in its slot, -1 for none (int [T]); and the number of hold and
      note tokens that belong to no pitch and of pitches without any note token.
    """
    number = codec.vocabulary.kinds
    count, pitch = len(kinds), kinds == number["pitch"]
    hold, note = kinds == number["hold"], kinds == number["note"]
    # The token that a chain of holds with a note at its end follows.
    opens = np.maximum.accumulate(np.where(~hold, np.arange(count), -1))
    before = np.concatenate([[-1], opens[:-1]])[:count]
    ends = np.flatnonzero(note & (before >= 0) & pitch[np.maximum(before, 0)])
    own = np.full(count, -1)
    own[before[ends]] = ends
    at = np.flatnonzero(pitch)
    broken = (own[at] < 0) & np.append(hold, False)[at + 1]
    group = slot[at].astype(np.int64) + 32 * (at > write)
    order = np.argsort(group, kind="stable")
    known = np.where(own[at][order] >= 0, np.arange(len(at)), -1)
    last = np.maximum.accumulate(known) if len(at) else known
    there = (last >= 0) & (group[order] == group[order][last])
    told = np.full(count, -1)
    told[at[order]] = np.where(there & ~broken[order], own[at][order][last], -1)
    lost = int(note.sum()) - len(ends) + int((told[at] < 0).sum())
    return pitch, told, lost


def _durations(codec: MetricalLayout, kinds: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Steps of the note that each note token ends, with the holds before it (int [T])."""
    hold = kinds == codec.vocabulary.kinds["hold"]
    held = np.cumsum(np.where(hold, value + 1, 0))
    opens = np.maximum.accumulate(np.where(~hold, np.arange(len(kinds)), 0))
    before = np.concatenate([[0], opens[:-1]])[: len(kinds)]
    index = np.minimum(value // codec.config.velocities, len(codec.durations) - 1)
    return codec.durations[index] + (held - held[before]) * codec.half


def carried(places: np.ndarray, values: np.ndarray, count: int, before: int) -> np.ndarray:
    """Returns the last value at or before each place, `before` until the first (int32 [count])."""
    last = np.full(count, -1, np.int64)
    last[places] = np.arange(len(places))
    return np.append(values, before)[np.maximum.accumulate(last)].astype(np.int32)


def _timeline(
    control: Control,
    places: np.ndarray,
    values: np.ndarray,
    count: int,
    resets: np.ndarray,
) -> np.ndarray:
    """Returns a control's value at each bar or half bar.

    Args:
      control: a control of bars or of half bars.
      places: int [N], bar or half bar of each of its tokens.
      values: int [N].
      count: number of bars or half bars.
      resets: int [R], places at which it falls back to its default.
    """
    if control.many:
        kept = np.zeros((count, control.values), bool)
        kept[places, values] = True
        bits = (kept << np.arange(control.values)).sum(1)
        places = np.unique(places)
        values = bits[places]
    # What is stated at a place holds there, and not the value that it falls back to.
    places = np.concatenate([resets, places])
    values = np.concatenate([np.full(len(resets), control.default), values])
    order = np.argsort(places, kind="stable")
    found = carried(places[order], values[order], count, control.default)
    return found.astype(control.dtype)


def _task(codec: MetricalLayout, tokens: np.ndarray) -> tuple[np.ndarray, int]:
    """The tokens without those that make no sense for tasks' sake, and the place of ``WRITE``.

    That is the number of tokens where nothing is written. Tokens for tasks mean something in a
    task stream alone; there, no more bars are written than are marked, and music alone.
    """
    v = codec.vocabulary
    kind = v.kind[tokens]
    of_tasks = np.flatnonzero(kind == v.kinds["task"])
    if not len(of_tasks):
        return tokens, len(tokens)
    keep = kind != v.kinds["task"]
    opens = tokens[0] == v.start["bos"] and 1 in of_tasks and v.value[tokens[1]] < len(TASKS)
    if not opens:
        return tokens[keep], int(keep.sum())
    bars = np.flatnonzero(kind == v.kinds["bar"])
    writes = np.flatnonzero((tokens == codec.write) & (np.cumsum(kind == v.kinds["bar"]) > 0))
    write = int(writes[0]) if len(writes) else len(tokens)
    told, again = bars[bars < write], bars[bars > write]
    marked = marked_bars(codec, tokens, told)
    keep[1] = True
    keep[told[marked] + 1] = True
    keep[write:] &= np.isin(kind[write:], [v.kinds[name] for name in _WRITTEN])
    keep[write : (again[0] if len(again) else len(tokens))] = False
    keep[write : write + 1] = True
    if len(again) > len(marked):
        keep[again[len(marked)] :] = False
    return tokens[keep], int(keep[:write].sum())


def _free(
    voice: np.ndarray, onset: np.ndarray, duration: np.ndarray, given: np.ndarray
) -> np.ndarray:
    """Bool [N]: notes that do not cut a given one: none, or given, or begun while it is silent."""
    free = np.ones(len(voice), bool)
    if given.all():
        return free
    moment = (voice << 32) + onset
    told = np.flatnonzero(given)
    told = told[np.argsort(moment[told], kind="stable")]
    written = np.flatnonzero(~given)
    last = np.searchsorted(moment[told], moment[written], side="right") - 1
    before = told[np.maximum(last, 0)] if len(told) else written
    same = (last >= 0) & (voice[before] == voice[written])
    free[written] = ~same | (onset[before] + duration[before] <= onset[written])
    return free
