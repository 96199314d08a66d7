"""Tokens of the metrical codec to the piece that they stand for."""

from __future__ import annotations

import numpy as np

from jaxmusic._src.codecs.layout import BARS_LEFT, TASKS
from jaxmusic._src.codecs.metrical.events import carried, events, marked_bars
from jaxmusic._src.codecs.metrical.layout import MetricalLayout
from jaxmusic._src.music.controls import CONTROLS, Control, stated_at
from jaxmusic._src.music.meters import TEMPOS
from jaxmusic._src.music.piece import DRUM_SLOT, Piece, canonical, changes

_HALVES = tuple(control.kind for control in stated_at("half"))
_WRITTEN = ("bar", *_HALVES, "position", "slot", "pitch", "hold", "note", "drum")
"""What may stand after the token for writing."""


def read(codec: MetricalLayout, tokens: np.ndarray) -> tuple[Piece, int]:
    """Decodes a stream; returns the piece and the number of invalid tokens.

    Of a task stream that is the whole piece: what is given, untouched, and what is written.
    Never raises: what has no meaning where it stands is left out and counted.
    """
    v = codec.vocabulary
    stream, dropped, ended = codec.known_tokens(tokens)
    known = stream[codec.meaningful[stream]].astype(np.int32)
    tokens, write = _task(codec, known)
    dropped += len(stream) - len(tokens)
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
        """Returns the value of each bar [bars]: the last one stated in it or before it."""
        at = np.flatnonzero(is_a(name))
        return carried(bar[at], value[at], bars, unknown).astype(np.int16)

    meter, tempo = by_bar("meter", 0), by_bar("tempo", int(np.argmin(abs(TEMPOS - 120))))
    lengths = codec.bar_lengths[meter]
    bar_step = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    inside = body & (place.position < lengths[bar])

    controls: dict[str, np.ndarray] = {}
    begun: dict[str, np.ndarray] = {}
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
            resets = np.concatenate([np.zeros(0, int), *(begun[k] for k in control.under)])
            found = _timeline(control, places, value[at], scale * bars, resets)
            controls[control.kind] = found
            # Restating a section changes nothing. A restated chord begins again: in a task stream
            # a written chord may equal the one before it, and has a bass of its own.
            goes_on = control.place == "bar"
            begun[control.kind] = np.flatnonzero(changes(found, -1)) if goes_on else places

    pitch_token, note, hold, drum = (is_a(n) for n in ("pitch", "note", "hold", "drum"))
    opens = np.maximum.accumulate(np.where(~hold, np.arange(len(tokens)), -1))
    before = np.concatenate([[-1], opens[:-1]])[: len(tokens)]
    legal = note & inside & (before >= 0) & (place.slot < DRUM_SLOT)
    legal &= pitch_token[np.maximum(before, 0)]
    legal &= programs[np.minimum(place.slot, 15)] >= 0
    held = np.cumsum(np.where(hold, value + 1, 0))
    levels = codec.config.velocities
    duration = codec.durations[np.minimum(value // levels, len(codec.durations) - 1)]
    duration = duration + (held - held[np.maximum(before, 0)]) * codec.half
    duration = np.where(drum, 1, duration)
    hits = drum & inside & (programs[DRUM_SLOT] >= 0)
    dropped += int((note & ~legal).sum() + (drum & ~hits).sum())
    dropped += int(max(pitch_token.sum() - legal.sum(), 0))
    keep = np.flatnonzero(legal | hits)
    voice = place.slot.astype(np.int64) * 128 + place.pitch
    free = _free(voice[keep], place.time[keep], duration[keep], keep < write)
    dropped += int((~free).sum())
    keep = keep[free]
    columns, duplicates, _ = canonical(
        place.time[keep],
        duration[keep],
        place.pitch[keep],
        (value % levels)[keep],
        place.slot[keep],
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
        bars_after=0 if ended and write == len(tokens) else int(last),
        steps_per_beat=codec.config.steps_per_beat,
        velocities=levels,
    )
    return piece, dropped + duplicates


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
    """Removes tokens that are invalid in tasks; returns the others and the place of ``WRITE``.

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
    """Masks notes that cut no given one, bool [N]: given, or begun while none sounds."""
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
