"""The order in which the bars of a score are played: movements, repeats, endings and jumps."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Callable, Sequence

from jaxmusic._src.core.errors import UserError

MOST_BARS = 20_000
"""Bars that a score may have, on paper or played: four times those of the longest operas."""


@dataclasses.dataclass
class Signs:
    """What stands at one bar's lines and above it and says where to play on.

    Attributes:
      forward: a repeat begins with this bar.
      backward: how many times a repeat that ends with this bar is played; 0 for no repeat.
      ending: numbers of the ending (the bracket) that this bar belongs to.
      opens: whether that ending begins here.
      segno, coda: names of the marks here.
      jump: mark to go on from after this bar, ``""`` for the beginning.
      to_coda: coda to leave for after this bar, once a jump was made.
      fine: the movement ends after this bar, once a jump was made.
      numbered: the numbering of bars begins again with this bar.
      heading: a title, or a tempo that the score has not had yet, stands where this bar begins.
      final, double: the line that this bar ends with, where no repeat does.
      verses: this bar is sung with several verses.
    """

    forward: bool = False
    backward: int = 0
    ending: frozenset[int] = frozenset()
    opens: bool = False
    segno: str | None = None
    coda: str | None = None
    jump: str | None = None
    to_coda: str | None = None
    fine: bool = False
    numbered: bool = False
    heading: bool = False
    final: bool = False
    double: bool = False
    verses: bool = False


def play_order(signs: Sequence[Signs]) -> list[int]:
    """Numbers of the bars [B], from 0, in the order in which they are played.

    Repeats are played as often as they say, each time with the ending of that number. After a
    jump (da capo, dal segno) repeats are not played again and the last ending is taken; each jump
    is made once. Repeats and jumps stay inside of their movement, see `movements`.

    Raises:
      UserError: the repeats go on for more than `MOST_BARS`.
    """
    signs = _whole_endings(signs)
    out: list[int] = []
    for start, stop in itertools.pairwise([*movements(signs), len(signs)]):
        out += [start + bar for bar in _movement(signs[start:stop], MOST_BARS - len(out))]
    return out


def movements(signs: Sequence[Signs]) -> list[int]:
    """Numbers of the bars that movements begin with, from 0 on.

    A movement begins where the numbering of bars begins again, after a final bar line, where a new
    title or tempo follows a double one, and at a line after a jump back to a Fine; but not between
    signs that belong together.
    """
    starts, fine = [0], False
    candidates: list[int] = []
    for bar, (before, here) in enumerate(itertools.pairwise(signs), 1):
        fine |= before.fine
        line = before.final or before.double or before.backward
        returned = fine and before.jump is not None
        fine &= not returned
        if here.numbered or before.final or (before.double and here.heading) or (returned and line):
            candidates.append(bar)
    together = _together(signs)
    for bar, stop in itertools.pairwise([*candidates, len(signs)]):
        # A sign may be needed from further back than the last line, but not over new numbers.
        first = next((i for i in reversed(range(len(starts))) if signs[starts[i]].numbered), 0)
        needed = (i for i in reversed(range(first, len(starts))) if together(starts[i], bar, stop))
        if (of := next(needed, None)) is None:
            starts.append(bar)
        else:
            del starts[of + 1 :]
    return starts


def _together(signs: Sequence[Signs]) -> Callable[[int, int, int], bool]:
    """A test whether signs of the bars start to bar and bar to stop belong together."""
    marks = ("segno", "coda", "to_coda", "jump", "fine", "verses")
    counts = {
        mark: [0, *itertools.accumulate(getattr(s, mark) not in (None, False) for s in signs)]
        for mark in marks
    }
    repeats = [bar for bar, s in enumerate(signs) if s.forward or s.backward]

    def together(start: int, bar: int, stop: int) -> bool:
        before = {mark for mark in marks if counts[mark][bar] > counts[mark][start]}
        after = {mark for mark in marks if counts[mark][stop] > counts[mark][bar]}
        jumps = {s.jump for s in signs[bar:stop]} - {None}
        back = "" in jumps and not after & {"fine", "to_coda"}
        k = bisect.bisect_left(repeats, bar)
        led_back = k < len(repeats) and repeats[k] < stop and not signs[repeats[k]].forward
        repeated = k and repeats[k - 1] >= start
        opened = not signs[repeats[k - 1]].backward if repeated else "verses" in before
        weak = not signs[bar].numbered and not signs[bar - 1].final
        return bool(
            (opened and led_back and weak)
            or (signs[bar - 1].ending and signs[bar].ending)
            or ("to_coda" in before and "coda" in after - before)
            or (any(jumps) and "segno" in before - after)
            # The da capo of a trio, say, whose minuet ends at the line.
            or (back and not signs[bar].numbered)
            or (back and "fine" in before and "jump" not in before)
        )

    return together


def _movement(signs: Sequence[Signs], most: int) -> list[int]:
    """The order of the bars of one movement, see `play_order`, up to a number of bars."""
    out: list[int] = []
    made: set[int] = set()
    groups, passes = _endings(signs)
    bar, begin, turn, inside = 0, 0, 1, 0
    while bar < len(signs):
        if len(out) >= most:
            raise UserError(f"repeats for more than {MOST_BARS:,} bars: take some repeats out.")
        here = signs[bar]
        before = groups[bar - 1] if bar else 0
        left = before not in (0, inside, groups[bar])
        if bar != begin and (here.forward or left):
            # A repeat may begin with the last ending of the one before.
            inside = before if before == groups[bar] and turn in here.ending else inside
            begin, turn = bar, 1
        number = passes[bar] if made else turn
        if groups[bar] and groups[bar] != inside and number not in here.ending:
            bar += 1
            continue
        out.append(bar)
        if made and here.fine:
            break
        if made and here.to_coda is not None and (to := _find(signs, "coda", here.to_coda)) > bar:
            bar = begin = to
            continue
        if here.backward and not made and turn < (passes[bar] or here.backward):
            turn += 1
            bar = begin
            continue
        if here.jump is not None and bar not in made:
            to = 0 if here.jump == "" else _find(signs, "segno", here.jump)
            if 0 <= to <= bar:
                made.add(bar)
                bar, begin, inside = to, to, 0
                continue
        bar += 1
        if here.backward and not groups[bar - 1]:
            begin, turn = bar, 1
    return out


def _whole_endings(signs: Sequence[Signs]) -> list[Signs]:
    """Lengthens a bracket that stops before the jump back after which the next ending begins."""
    out, bracket, since = list(signs), frozenset[int](), 0  # 0 stands for no bracket
    for bar, here in enumerate(signs):
        if here.forward or (since and signs[bar - 1].jump is not None and not here.opens):
            since = 0
        if here.ending:
            if since and signs[bar - 1].jump is not None and not bracket & here.ending:
                for i in range(since, bar):
                    out[i] = dataclasses.replace(signs[i], ending=bracket)
            bracket, since = here.ending, bar + 1
        if here.backward or (here.ending and here.jump is not None):
            since = 0
    return out


def _endings(signs: Sequence[Signs]) -> tuple[list[int], list[int]]:
    """For each bar the run of endings that it is in, from 1, and how often one comes to it.

    Both are 0 for a bar that is in no ending, and where nothing leads back, so that all is played
    once. A lone first ending with a repeat is followed by a second one that has no bracket.
    """
    group, passes = [0] * len(signs), [0] * len(signs)
    bar, count = 0, 0
    while bar < len(signs):
        stop, numbers = bar, frozenset[int]()
        while stop < len(signs) and signs[stop].ending:
            # The same number once more belongs to the next repeat.
            if signs[stop].opens and signs[stop].ending & numbers:
                break
            numbers |= signs[stop].ending
            stop += 1
        back = any(s.backward or s.jump is not None for s in signs[bar:stop])
        if back:
            count += 1
            lone = signs[stop - 1].backward and signs[bar].ending == numbers
            for i in range(bar, stop):
                group[i], passes[i] = count, max(numbers) + bool(lone)
        bar = max(stop, bar + 1)
    return group, passes


def _find(signs: Sequence[Signs], kind: str, name: str) -> int:
    """The bar with the mark of this name, else with any; -1 where there is none."""
    have = [(i, mark) for i, s in enumerate(signs) if (mark := getattr(s, kind)) is not None]
    named = [i for i, mark in have if mark == name]
    return next(iter(named or [i for i, _ in have]), -1)
