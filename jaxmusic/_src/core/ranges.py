"""Ranges of numbers, written as intervals: ``[0, 1)`` is at least 0 and less than 1."""

from __future__ import annotations

import functools
import numbers
import re
from typing import NamedTuple

from jaxmusic._src.core.errors import UserError

_INTERVAL = re.compile(r"([\[(])(\S+), (\S+)([\])])")


class Interval(NamedTuple):
    """The numbers between two ends; infinity and NaN are in none.

    Attributes:
      low, high: the ends.
      above, below: whether the ends themselves are left out.
    """

    low: float
    high: float
    above: bool
    below: bool

    def has(self, number: float) -> bool:
        """Returns whether a number is in the interval."""
        over = number > self.low if self.above else number >= self.low
        return over and (number < self.high if self.below else number <= self.high)

    def __str__(self) -> str:
        """Describes the interval, as in "more than 0 and at most 1"."""
        low, high = (_text(end) for end in (self.low, self.high))
        if high == "inf":
            return f"more than {low}" if self.above else f"{low} or more"
        if not self.above and not self.below:
            return f"{low} to {high}"
        most = f"{'less than' if self.below else 'at most'} {high}"
        return f"{'more than' if self.above else 'at least'} {low} and {most}"


@functools.cache
def interval(text: str) -> Interval:
    """Reads an interval in mathematical notation, such as ``[0, 1)`` or ``(0, inf)``."""
    match = _INTERVAL.fullmatch(text)
    assert match, text
    return Interval(float(match[2]), float(match[3]), match[1] == "(", match[4] == ")")


def check(name: str, value: object, allowed: str, whole: bool = False) -> None:
    """Checks a setting that is a number.

    Args:
      name: of the setting, for the message.
      value: what it is set to.
      allowed: its interval.
      whole: whether it has to be an integer.

    Raises:
      UserError: the value is no such number.
    """
    kind = numbers.Integral if whole else numbers.Real
    number = isinstance(value, kind) and not isinstance(value, bool)
    if not number or not interval(allowed).has(value):  # type: ignore[arg-type]
        one = "" if number else f"a{' whole' * whole} number, "
        shown = str(value) if number else repr(value)
        raise UserError(f"{name} must be {one}{interval(allowed)}, not {shown}.")


def _text(end: float) -> str:
    return str(int(end)) if end.is_integer() else str(end)
