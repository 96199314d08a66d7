"""What stands out in a report."""

from __future__ import annotations

from typing import Any

from jaxmusic.reports.text import interval, number, percent

NEAR = 2.5
"""A difference of at most this many times its floor counts as none: about 95 of 100 sets of real
songs are as near."""


def near(row: dict[str, Any]) -> bool | None:
    """Tells whether a statistic finds the songs like real ones; None where it is not defined."""
    away, floor = row["distance"]["difference"], row["floor"]["difference"]
    return None if away is None or floor is None else abs(away) <= NEAR * floor


def furthest(report: dict[str, Any], count: int = 3) -> list[dict[str, Any]]:
    """Returns the statistics in which the songs differ most from real ones."""
    told = [row for row in report["statistics"].values() if near(row) is False]
    return sorted(told, key=lambda row: -abs(row["distance"]["difference"]))[:count]


def in_short(report: dict[str, Any]) -> list[str]:
    """Returns the main findings as sentences."""
    known = [n for row in report["statistics"].values() if (n := near(row)) is not None]
    lines = []
    if known:
        lines.append(f"{known.count(False)} of {len(known)} statistics differ from real songs.")
    for row in furthest(report):
        away = row["distance"]["difference"]
        how = "different" if row["kinds"] else ("higher" if away > 0 else "lower")
        far = f"{number(abs(away), 2)} standard deviations {how}"
        lines.append(f"Far from real music: {row['title']}, {far}.")
    if report.get("likelihood"):
        bits = interval(report["likelihood"]["figures"]["bits_per_note"], separator=" ")
        lines.append(f"The model needs {bits} bits per note on songs that it has not seen.")
    ours, real = (report["endings"][side]["tonic"] for side in ("ours", "real"))
    lines.append(f"{percent(ours)} end on the tonic chord; of real songs {percent(real)}.")
    ours, real = (report["originality"][side]["copied"] for side in ("ours", "real"))
    lines.append(
        f"{percent(ours)} share a copied passage with the reference; of real songs {percent(real)}."
    )
    return lines
