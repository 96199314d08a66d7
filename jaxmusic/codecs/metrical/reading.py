"""Tokens of the metrical codec to the piece that they stand for."""

from __future__ import annotations

import numpy as np

from jaxmusic.codecs.layout import BARS_LEFT, SECTION_ROOM, TASKS
from jaxmusic.codecs.metrical.events import events, marked_bars
from jaxmusic.codecs.metrical.layout import MetricalLayout
from jaxmusic.music.meters import TEMPOS
from jaxmusic.music.notes import SECTIONS
from jaxmusic.music.piece import DRUM_SLOT, Piece, canonical

_WRITTEN = ("bar", "chord", "position", "slot", "pitch", "hold", "note", "drum")
"""What may stand after the token for writing."""


def read(codec: MetricalLayout, stream: np.ndarray) -> tuple[Piece, int]:
    """The piece that a stream stands for, and the number of tokens that made no sense."""
    v = codec.vocabulary
    raw = np.asarray(stream, np.int64).ravel()
    tokens = raw[(raw > 0) & (raw < codec.vocab_size)].astype(np.int32)
    ends = np.flatnonzero(tokens == v.start["eos"])
    if len(ends):
        tokens = tokens[: ends[0]]
    nameless = np.arange(len(SECTIONS), SECTION_ROOM) + v.start["section"]
    tokens = tokens[~np.isin(tokens, nameless)]
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
        out = np.full(bars, -1, np.int64)
        out[bar[at]] = np.arange(len(at))
        out = np.maximum.accumulate(out)
        stated = np.concatenate([value[at], [unknown]])
        return stated[out].astype(np.int16)

    meter, tempo = by_bar("meter", 0), by_bar("tempo", int(np.argmin(abs(TEMPOS - 120))))
    lengths = codec.bar_lengths[meter]
    bar_step = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    inside = body & (place.position < lengths[bar])

    chord = np.full(2 * bars, -1, np.int16)
    at = np.flatnonzero(is_a("chord") & inside)
    late = place.position[at] > 0
    np.put(chord, 2 * bar[at] + late, value[at])
    known = np.maximum.accumulate(np.where(chord >= 0, np.arange(2 * bars), -1))
    chord = np.where(known >= 0, chord[np.maximum(known, 0)], -1).astype(np.int16)

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
    density = header[is_a("density")[header]]
    styles = value[header[is_a("style")[header]]]
    last = BARS_LEFT[value[given_bars[-1]]] if len(given_bars) else 0
    piece = Piece(
        **columns,
        programs=programs,
        bar_step=bar_step,
        meter=meter,
        tempo=tempo,
        key=by_bar("key", -1),
        section=by_bar("section", -1),
        chord=chord,
        styles=codec.style_names(styles),
        density=int(value[density[0]]) if len(density) else -1,
        bars_before=int(is_a("part").any()),
        # The end of a task stream is not that of the piece.
        bars_after=0 if len(ends) and write == len(tokens) else int(last),
        steps_per_beat=codec.config.steps_per_beat,
        velocities=levels,
    )
    return piece, dropped + duplicates


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
