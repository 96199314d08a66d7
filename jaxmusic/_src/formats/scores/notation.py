"""How notes are written down: voices, note values, ties, tuplets and beams.

Times are whole steps, 12 to the quarter note, so that sixteenths and triplets have a value.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

BEAT = 12
"""Steps in a quarter note."""
VOICES = 4
"""Most voices on a staff; what is more is written in the last of them, with ties."""
_SLIVER = 2  # steps of a rest, or of an overlap, that is not worth writing
_SHORT = 3  # steps of a rest that is not worth writing after a note twice as long

_TYPES = {"breve": 96, "whole": 48, "half": 24, "quarter": 12, "eighth": 6, "16th": 3}
_PLAIN = {steps: (name, 0) for name, steps in _TYPES.items()} | {
    steps * 3 // 2: (name, 1) for name, steps in _TYPES.items() if steps % 2 == 0
}
# Three in the time of two.
_TRIPLET = {8: ("quarter", 0), 4: ("eighth", 0), 2: ("16th", 0), 1: ("32nd", 0)}
_TRIPLET |= {6: ("eighth", 1), 3: ("16th", 1)}
_BEAMS = {"eighth": 1, "16th": 2, "32nd": 3}


class Head(NamedTuple):
    """A note of a chord: its row, whether it is tied from before, and on to what follows."""

    row: int
    tied: bool = False
    ties: bool = False


class Event(NamedTuple):
    """A chord of one voice, in steps from the start of the piece; a rest has no heads."""

    start: int
    end: int
    heads: tuple[Head, ...]


class Bar(NamedTuple):
    """A bar: first step, steps, and time signature; whether it is a pick-up."""

    start: int
    length: int
    num: int
    den: int
    pickup: bool = False

    @property
    def beat(self) -> int:
        """Steps of what is beamed together: a quarter, or a dotted one in 6/8 and its like."""
        return 18 if self.den == 8 and self.num % 3 == 0 else BEAT


@dataclasses.dataclass
class Symbol:
    """A chord or rest with one note value.

    Attributes:
      start, length: steps from the start of the piece, and how many.
      heads: its notes; none in a rest.
      type, dots: note value in MusicXML's words; "" for a rest of a whole bar.
      triplet: whether it is one of three in the time of two.
      bracket: ``start``, ``stop``, or nothing, of the bracket over a triplet.
      beams: ``begin``, ``continue``, ``end``, ``forward hook`` or ``backward hook`` by level.
    """

    start: int
    length: int
    heads: tuple[Head, ...]
    type: str
    dots: int = 0
    triplet: bool = False
    bracket: str = ""
    beams: list[str] = dataclasses.field(default_factory=list)


def written_ends(onset: np.ndarray, end: np.ndarray, last: int, drums: bool) -> np.ndarray:
    """Where notes end on paper (int [N]), a little off where they end in sound.

    Scores show neither the short rest before a following note nor the short overlap of a legato:
    both notes meet. Other ends go to the nearest sixteenth, or to triplets where notes begin on
    such. A drum's hit lasts to the next one, within the beat.

    Args:
      onset, end: steps [N] of the notes of a staff, sorted by onset.
      last: end of the piece.
      drums: whether they are drums.
    """
    places = np.unique(onset)
    following = np.append(places, np.iinfo(np.int64).max)[np.searchsorted(places, onset, "right")]
    if drums:
        beats = (onset // BEAT + 1) * BEAT
        return np.maximum(np.minimum(np.minimum(following, beats), last), onset + 1)
    fine = np.isin(end // BEAT, np.unique(onset[onset % 3 != 0] // BEAT))
    unit = np.where(fine, 2, 3)
    near = (end + unit // 2) // unit * unit
    near = np.where(near > onset, near, (onset // unit + 1) * unit)
    near = np.where(end <= following, np.minimum(near, following), near)
    gap = following - end
    meet = (np.abs(gap) <= _SLIVER) | ((gap == _SHORT) & (end - onset >= 2 * _SHORT))
    near = np.where(meet, following, near)
    return np.where(end <= last, np.minimum(near, last), near)


def voices(
    onset: np.ndarray, end: np.ndarray, pitch: np.ndarray, row: np.ndarray
) -> list[list[Event]]:
    """Divides the notes of a staff (all [N]) into voices without overlaps.

    Notes that begin and end together are a chord. Each goes to the first voice that is free. The
    heads carry the number in `row`.
    """
    chords: dict[tuple[int, int], list[int]] = {}
    for i in np.lexsort((-pitch, onset)).tolist():
        chords.setdefault((int(onset[i]), int(end[i])), []).append(int(row[i]))
    out: list[list[Event]] = []
    for (start, stop), rows in chords.items():
        event = Event(start, stop, tuple(Head(row) for row in rows))
        free = next((v for v in out if v[-1].end <= start), None)
        if free is not None:
            free.append(event)
        elif len(out) < VOICES:
            out.append([event])
        else:
            out[-1].append(event)
    if len(out) == VOICES:
        out[-1] = _untangled(out[-1])
    return out


def _untangled(events: list[Event]) -> list[Event]:
    """Overlapping chords as chords one after the other, with ties."""
    if all(a.end <= b.start for a, b in itertools.pairwise(events)):
        return events
    out = []
    times = sorted({time for e in events for time in (e.start, e.end)})
    sounding: list[Event] = []
    waiting = sorted(events, reverse=True)
    for start, stop in itertools.pairwise(times):
        sounding = [e for e in sounding if e.end > start]
        while waiting and waiting[-1].start == start:
            sounding.append(waiting.pop())
        heads = [head for event in sounding for head in _cut(event, start, stop)]
        if heads:
            out.append(Event(start, stop, tuple(heads)))
    return out


def by_bar(events: Sequence[Event], bars: Sequence[Bar]) -> list[list[Event]]:
    """The events of a voice that sound in each bar."""
    out: list[list[Event]] = [[] for _ in bars]
    starts = np.array([bar.start for bar in bars])
    for event in events:
        first = int(np.searchsorted(starts, event.start, "right")) - 1
        for k in range(first, int(np.searchsorted(starts, event.end))):
            out[k].append(event)
    return out


def in_bar(events: Sequence[Event], bar: Bar, whole: bool) -> list[Symbol]:
    """The symbols of a voice in one bar, without gaps; ties lead over its lines.

    Args:
      events: what there is of the voice in the bar.
      bar: the bar.
      whole: whether a voice that is silent gets a rest; else it has no symbols.
    """
    stop = bar.start + bar.length
    if not events and not whole:
        return []
    if not events and bar.length * bar.den == 4 * BEAT * bar.num:
        return [Symbol(bar.start, bar.length, (), "")]
    filled: list[Event] = []
    now = bar.start
    for event in [*events, Event(stop, stop, ())]:
        if event.start > now:
            filled.append(Event(now, event.start, ()))
        start, end = max(event.start, bar.start), min(event.end, stop)
        if end > start:
            filled.append(Event(start, end, _cut(event, start, end)))
        now = max(now, end)
    cells = _cells(filled, bar)
    symbols = [s for event in filled for s in _values(event, cells, bar)]
    _brackets(symbols, cells)
    _beams(symbols, bar)
    return symbols


class _Cell(NamedTuple):
    """A stretch of a bar whose values are all plain or all triplets."""

    start: int
    end: int
    triplet: bool


def _cells(events: Sequence[Event], bar: Bar) -> list[_Cell]:
    """Beats, and what is divided into three in them."""
    edges = {time for event in events for time in (event.start, event.end)}
    fine = [time for time in edges if (time - bar.start) % 3]
    out: list[_Cell] = []
    now, stop = bar.start, bar.start + bar.length
    while now < stop:
        end = min(now + bar.beat - (now - bar.start) % bar.beat, stop)
        if any(now < time < end for time in fine):
            # A half beat may be divided alone; so may the eighths of a dotted one.
            halved = bar.beat != BEAT or now + 6 in edges
            spans = (6, 3) if halved else (12, 6, 3)
            end = now + next((n for n in spans if now + n <= end), end - now)
        out.append(_Cell(now, end, any(now < time < end for time in fine)))
        now = end
    return out


def _values(event: Event, cells: Sequence[_Cell], bar: Bar) -> Iterator[Symbol]:
    """An event in note values that can be written, the longest that show the beats."""
    now = event.start
    while now < event.end:
        k = next(i for i, cell in enumerate(cells) if cell.end > now)
        cell = cells[k]
        stop = min(event.end, cell.end)
        if cell.triplet:
            size = max(n for n in _TRIPLET if n <= stop - now)
            value = _TRIPLET[size]
        else:
            plain = list(itertools.takewhile(lambda cell: not cell.triplet, cells[k:]))
            lengths = [c.end - now for c in plain if now == cell.start and c.end <= event.end]
            # Dotted quarters on a beat and quarters half a beat after one need no tie.
            usual = (event.end - now, now - cell.start) in ((18, 0), (BEAT, 6))
            if usual and event.heads and len(plain) > 1 and bar.beat == BEAT:
                lengths.append(event.end - now)
            lengths.append(max((n for n in _PLAIN if n <= stop - now), default=0))
            size = max((n for n in lengths if n in _PLAIN), default=0)
            value = _PLAIN.get(size, ("32nd", 0))
            size = size or stop - now
        yield Symbol(now, size, _cut(event, now, now + size), *value, cell.triplet)
        now += size


def _cut(event: Event, start: int, end: int) -> tuple[Head, ...]:
    """The heads of a part of a chord, with the ties that lead to it and on from it."""
    before, after = event.start < start, event.end > end
    return tuple(Head(h.row, h.tied or before, h.ties or after) for h in event.heads)


def _brackets(symbols: Sequence[Symbol], cells: Sequence[_Cell]) -> None:
    for cell in cells:
        inside = [s for s in symbols if cell.triplet and cell.start <= s.start < cell.end]
        if len(inside) > 1:
            inside[0].bracket, inside[-1].bracket = "start", "stop"


def _beams(symbols: Sequence[Symbol], bar: Bar) -> None:
    """Joins eighths and shorter notes that stand side by side in one beat."""

    def beat(symbol: Symbol) -> int | None:
        beamed = symbol.heads and symbol.type in _BEAMS
        return (symbol.start - bar.start) // bar.beat if beamed else None

    for place, group in ((place, list(group)) for place, group in itertools.groupby(symbols, beat)):
        if place is None or len(group) == 1:
            continue
        counts = [_BEAMS[symbol.type] for symbol in group]
        for i, symbol in enumerate(group):
            for level in range(1, counts[i] + 1):
                left = i > 0 and counts[i - 1] >= level
                right = i + 1 < len(group) and counts[i + 1] >= level
                alone = "forward hook" if i == 0 else "backward hook"
                joined = "continue" if left and right else "end" if left else "begin"
                symbol.beams.append(joined if left or right else alone)
