"""Figures of a report as text, a second line in a cell being smaller."""

from __future__ import annotations

from typing import Any

NOT_DEFINED = "not defined"
NEAR = 2.5
"""A difference of at most this many times its floor counts as none: about 95 of 100 sets of real
songs are as near."""


def number(value: float | None, digits: int = 3) -> str:
    """Returns a number in a few digits."""
    if value is None:
        return NOT_DEFINED
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:,.0f}".replace("-", "−")
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = f"{value:.{digits}f}".rstrip("0").rstrip(".").replace("-0", "0")
    return text.replace("-", "−")


def percent(value: float | None) -> str:
    """Returns a share in percent."""
    return NOT_DEFINED if value is None else f"{100 * value:.0f} %"


def clock(seconds: float | None) -> str:
    """Returns seconds as minutes and seconds, or hours and minutes."""
    if seconds is None:
        return NOT_DEFINED
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 60}:{whole % 60:02} min"


def interval(found: dict[str, Any], digits: int = 3, separator: str = "\n") -> str:
    """Returns a value with its 95 % interval."""
    value = number(found["value"], digits)
    if found["low"] is None or found["high"] is None:
        return value
    bounds = f"{number(found['low'], digits)} to {number(found['high'], digits)}"
    return f"{value}\n{bounds}" if separator == "\n" else f"{value} ({bounds})"


def readable(text: object) -> str:
    """Returns text that UTF-8 can hold, whatever a file name consists of."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def near(row: dict[str, Any]) -> bool | None:
    """Tells whether a statistic finds the songs like real ones; None where it is not defined."""
    away, floor = row["distance"]["difference"], row["floor"]["difference"]
    return None if away is None or floor is None else abs(away) <= NEAR * floor
