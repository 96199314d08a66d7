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


def in_short(report: dict[str, Any], furthest: int = 3) -> list[str]:
    """Returns the main findings as sentences, with the statistics that differ most."""
    told = [(near(row), row) for row in report["statistics"].values()]
    known = [row for found, row in told if found is not None]
    apart = [row for found, row in told if found is False]
    lines = [f"{len(apart)} of {len(known)} statistics differ from real songs."] if known else []
    apart.sort(key=lambda row: -abs(row["distance"]["difference"]))
    for row in apart[:furthest]:
        away = row["distance"]["difference"]
        how = "different" if row["kinds"] else ("higher" if away > 0 else "lower")
        far = f"{number(abs(away), 2)} standard deviations {how}"
        lines.append(f"Far from real music: {row['title']}, {far}.")
    if report.get("likelihood"):
        bits = interval(report["likelihood"]["figures"]["bits_per_note"], separator=" ")
        lines.append(f"The model needs {bits} bits per note on songs that it has not seen.")
    ours, real = (percent(report["endings"][side]["tonic"]) for side in ("ours", "real"))
    lines.append(f"{ours} end on the tonic chord; of real songs {real}.")
    ours, real = (percent(report["originality"][side]["copied"]) for side in ("ours", "real"))
    lines.append(f"{ours} share a copied passage with the reference; of real songs {real}.")
    return lines
