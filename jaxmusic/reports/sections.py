"""Sections of a report that any set of songs has."""

from __future__ import annotations

from typing import Any

from jaxmusic.reports import page, plots
from jaxmusic.reports.gather import Gathered
from jaxmusic.reports.page import Section, escape, number, percent

NEAR = 2.5
"""A difference of at most so many times its floor counts as none: about 95 of 100 sets of real
songs would be so near."""


def near(row: dict[str, Any]) -> bool | None:
    """Whether a statistic does not tell the songs from real ones; None where it is not defined."""
    away, floor = row["distance"]["difference"], row["floor"]["difference"]
    return None if away is None or floor is None else abs(away) <= NEAR * floor


def furthest(report: dict[str, Any], count: int = 3) -> list[dict[str, Any]]:
    """The statistics that tell the songs from real ones most."""
    told = [row for row in report["statistics"].values() if near(row) is False]
    return sorted(told, key=lambda row: -abs(row["distance"]["difference"]))[:count]


def about(found: Gathered) -> Section:
    """What is compared with what, and the sum of it."""
    report = found.report
    rows = []
    for side, name in (("ours", page.ours("these songs")), ("real", page.real("real music"))):
        one = report["sets"][side]
        shortest, middle, longest = one["seconds"] or (None, None, None)
        lengths = [page.clock(x) for x in (shortest, middle, longest)]
        skipped = number(len(one["skipped"]))
        rows.append((name, number(one["songs"]), number(one["notes"]), *lengths, skipped))
    head = ("set", "songs", "notes", "shortest", "median", "longest", "skipped")
    body = f"<ul>{''.join(f'<li>{line}</li>' for line in in_short(report))}</ul>"
    body += page.table("The songs that are compared", head, rows)
    body += _skipped(report)
    return Section(
        "In short",
        "What was compared with what, and what stands out. All else on this page says how it was "
        "found.",
        body,
    )


def in_short(report: dict[str, Any]) -> list[str]:
    """What stands out, as lines of HTML."""
    known = [n for row in report["statistics"].values() if (n := near(row)) is not None]
    lines = []
    if known:
        lines.append(
            f"{known.count(False)} of {len(known)} statistics tell these songs from real ones."
        )
    for row in furthest(report):
        away = row["distance"]["difference"]
        how = "different" if row["kinds"] else ("higher" if away > 0 else "lower")
        lines.append(
            f"Far from real music: {escape(row['title'])}, {number(abs(away), 2)} standard "
            f"deviations {how}."
        )
    if report.get("likelihood"):
        bits = page.interval(report["likelihood"]["figures"]["bits_per_note"], beside=True)
        lines.append(f"The model needs {bits} bits for a note of a song that it has not seen.")
    ours, real = (report["endings"][side]["tonic"] for side in ("ours", "real"))
    lines.append(f"{percent(ours)} end on the home chord; of real songs {percent(real)}.")
    copied = [report["originality"][side]["copied"] for side in ("ours", "real")]
    lines.append(
        f"{percent(copied[0])} share a copied passage with the reference; of real songs "
        f"{percent(copied[1])}."
    )
    return lines


def _skipped(report: dict[str, Any]) -> str:
    rows = [
        (escape(file["name"]), side, escape(file["reason"]), escape(file["detail"]))
        for side, name in (("songs", "ours"), ("reference", "real"))
        for file in report["sets"][name]["skipped"]
    ]
    if not rows:
        return ""
    head = ("file", "of the", "reason", "detail")
    return page.table("Files that were skipped", head, rows, words=(1, 2, 3))


def statistics(found: Gathered) -> Section:
    """Statistics of songs, in a table and as plots."""
    rows, figures = [], []
    for name, row in found.report["statistics"].items():
        title = escape(row["title"]) + (f", {escape(row['unit'])}" if row["unit"] else "")
        means = ["see the plot"] * 2
        if not row["kinds"]:
            means = [_mean(row["mean"], row["deviation"])]
            means.append(_mean(row["reference_mean"], row["reference_deviation"]))
        pairs = [
            _beside(row["distance"][figure], row["floor"][figure])
            for figure in ("difference", "overlap", "divergence")
        ]
        told = {True: "no", False: "yes", None: number(None)}[near(row)]
        rows.append((f"{title}<small>{escape(row['meaning'])}</small>", *means, *pairs, told))
        figures.append(_distribution(found, name, row))
    head = (
        *("statistic", page.ours("these songs"), page.real("real music"), "difference"),
        *("overlap", "divergence", "told apart"),
    )
    legend = (
        f"<p>Below, {page.ours('these songs')} are drawn as a line with a mark for each song, and "
        f"{page.real('real music')} as an area.</p>"
    )
    how = (
        "<p>Each figure stands above its floor: what real music reaches against real music. "
        "<b>Difference</b> says by how many standard deviations of real songs the mean is away "
        "(0 is best), <b>overlap</b> how far songs are as near to real ones as these are to each "
        "other (1 is best), <b>divergence</b> likewise in nats (0 is best). They are <b>told "
        f"apart</b> if the difference is more than {NEAR:g} times its floor.</p>"
    )
    return Section(
        "Statistics",
        "A statistic is a property of one song, such as its tempo. None is better for being high "
        "or low: what counts is whether these songs spread as real songs do.",
        how
        + page.table("Means over songs, with standard deviations, and distances", head, rows)
        + legend
        + page.grid(figures),
    )


def _mean(mean: float | None, deviation: float | None) -> str:
    spread = "" if deviation is None else f"<small>± {number(deviation, 2)}</small>"
    return number(mean) + spread


def _beside(value: float | None, floor: float | None) -> str:
    return f"{number(value, 2)}<small>floor {number(floor, 2)}</small>"


def _distribution(found: Gathered, name: str, row: dict[str, Any]) -> str:
    title = f"<b>{escape(row['title'])}</b>. {escape(row['meaning'])}"
    if row["kinds"]:
        if row["mean"] is None and row["reference_mean"] is None:
            return page.figure(number(None), title)
        alt = f"{row['title']}: mean shares of these songs beside those of real ones."
        kinds = row["kinds"]
        return page.figure(plots.histogram(row["mean"], row["reference_mean"], kinds, alt), title)
    sides = [
        [float(v) for v in songs.values(name) if v is not None]
        for songs in (found.ours, found.real)
    ]
    if not any(sides):
        return page.figure(number(None), title)
    said = [f"{min(x):.3g} to {max(x):.3g}" if x else page.NOT_DEFINED for x in sides]
    alt = f"{row['title']}: these songs {said[0]}, real ones {said[1]}."
    return page.figure(plots.distribution(sides[0], sides[1], row["unit"], alt), title)
