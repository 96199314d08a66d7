"""Where in the music each token of the metrical codec stands."""

from __future__ import annotations

import numpy as np

from jaxmusic._src.codecs.metrical.layout import MetricalLayout
from jaxmusic._src.core.events import Events
from jaxmusic._src.music.piece import DRUM_PITCHES, DRUM_SLOT


def events(codec: MetricalLayout, tokens: np.ndarray) -> Events:
    """Returns the event tensors of a stream with a header, see `core.events.Events`."""
    tokens = np.asarray(tokens, np.int32)
    v, count = codec.vocabulary, len(tokens)
    # Whole indices and a byte for each kind: several times faster than what they stand for.
    index = tokens.astype(np.intp)
    kind, value = codec.kind.take(index), v.value.take(index)
    pitch_token, drum, position, slot_token, program = (
        kind == v.kinds[name] for name in ("pitch", "drum", "position", "slot", "program")
    )
    bars = np.flatnonzero(kind == v.kinds["bar"])
    head = int(bars[0]) if len(bars) else count
    moves = position.copy()
    moves[bars] = True
    moves = np.flatnonzero(moves)
    place = carried(moves, (value[moves] + 1) * position[moves], count, 0)
    # A meter token counts for the bar it stands in; the line of the next bar follows from it.
    meters_at = np.flatnonzero(kind == v.kinds["meter"])
    stated = np.searchsorted(meters_at, bars[1:])
    meter = np.concatenate([[0], value[meters_at]])[stated]
    line = np.concatenate([[0], np.cumsum(codec.bar_lengths[meter])])[: len(bars)]
    number = np.arange(len(bars))
    slot_set = pitch_token if codec.fused else slot_token
    set_at = np.flatnonzero(slot_set[head:]) + head
    current = carried(set_at, value[set_at] // 128 if codec.fused else value[set_at], count, 16)
    # As in the header, so from the token for writing to the first bar to be written.
    outside = [slice(0, head)]
    of_task = count > 1 and kind[1] == v.kinds["task"]
    if of_task and len(writes := np.flatnonzero(tokens[head:] == codec.write)):
        write = head + int(writes[0])
        outside.append(slice(write, _next(bars, write, count)))
        number = _true_numbers(codec, tokens, bars, write)
        line = line[number]
        current[write : _next(set_at, write, count)] = 16
    time = carried(bars, line, count, 0) + place
    bar = carried(bars, number, count, 0)
    for there in outside:
        time[there], place[there], bar[there] = 0, 144, 0
    slot = np.where(codec.voiced.take(index), current, np.int32(16))
    slot[drum] = DRUM_SLOT
    # In the header each program is an instrument: in order, or the drums after slot 15.
    named = np.flatnonzero(program[:head])
    kit = slot_token[named - 1] & (named > 0)
    slot[:head] = 16
    slot[named] = np.where(kit, DRUM_SLOT, np.minimum(np.arange(len(named)), DRUM_SLOT))
    slot[:head][slot_token[:head]] = DRUM_SLOT
    # A control of a slot speaks of the slot of the program before it.
    of_slot = np.flatnonzero(codec.of_slot.take(index[:head]))
    slot[of_slot] = slot[
        np.maximum.accumulate(np.where(program[:head], np.arange(head), 0))[of_slot]
    ]
    pitches = np.flatnonzero(pitch_token)
    pitch = carried(pitches, value[pitches] % 128, count, 128)
    pitch[~codec.sounding.take(index)] = 128
    pitch[drum] = value[drum] // codec.config.velocities + DRUM_PITCHES[0]
    return Events(token=tokens, time=time, position=place, bar=bar, slot=slot, pitch=pitch)


def marked_bars(codec: MetricalLayout, tokens: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """Numbers (int [W]) of those bars, given by the places of their tokens, that have a hole."""
    return np.flatnonzero(tokens[np.minimum(bars + 1, len(tokens) - 1)] == codec.hole)


def _true_numbers(
    codec: MetricalLayout, tokens: np.ndarray, bars: np.ndarray, write: int
) -> np.ndarray:
    """Numbers the bars (int [B]); those after token `write` are the marked bars again.

    Where there are too many of them, they stand at the last marked bar.
    """
    told = int(np.searchsorted(bars, write))
    marked = marked_bars(codec, tokens, bars[:told])
    if not len(marked):
        marked = np.array([told - 1])
    again = np.minimum(np.arange(len(bars) - told), len(marked) - 1)
    return np.concatenate([np.arange(told), marked[again]])


def _next(places: np.ndarray, after: int, count: int) -> int:
    """Returns the first of ascending places after a place, or count."""
    return int(places[places > after].min(initial=count))


def carried(at: np.ndarray, values: np.ndarray, count: int, before: int) -> np.ndarray:
    """Spreads values over int32 [count]: values[i] from at[i] on, `before` until at[0]."""
    if not len(at):
        return np.full(count, before, np.int32)
    runs, lengths = np.empty(len(at) + 1, np.int32), np.empty(len(at) + 1, np.int64)
    runs[0], runs[1:] = before, values
    lengths[0], lengths[1:-1], lengths[-1] = at[0], at[1:] - at[:-1], count - at[-1]
    return np.repeat(runs, lengths)
