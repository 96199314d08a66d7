"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxmusic.evaluate import structure
from jaxmusic.reports import plots
from jaxmusic.reports.gather import Gathered
from jaxmusic.reports.plots import Picture
from jaxmusic.reports.sets import Song, Songs, drawn
from jaxmusic.reports.text import NOT_DEFINED

MOST_BARS = 256
"""Bars of a piece of which a matrix is drawn."""
NOTHING = Picture("", NOT_DEFINED)


def statistics(found: Gathered) -> list[Picture]:
    """Draws how each statistic is distributed over both sets."""
    rows = found.report["statistics"].items()
    return [
        _statistic(found, name, row)._replace(title=row["title"], caption=row["meaning"])
        for name, row in rows
    ]


def _statistic(found: Gathered, name: str, row: dict[str, Any]) -> Picture:
    if row["kinds"]:
        if row["mean"] is None and row["reference_mean"] is None:
            return NOTHING
        alt = f"{row['title']}: mean shares of these songs beside those of real ones."
        return plots.histogram(row["mean"], row["reference_mean"], row["kinds"], alt)
    sides = [
        [float(v) for v in songs.values(name) if v is not None]
        for songs in (found.ours, found.real)
    ]
    if not any(sides):
        return NOTHING
    spans = [f"{min(x):.3g} to {max(x):.3g}" if x else NOT_DEFINED for x in sides]
    alt = f"{row['title']}: these songs {spans[0]}, real ones {spans[1]}."
    return plots.distribution(sides[0], sides[1], row["unit"], alt)


def _some(found: Gathered, songs: Songs) -> list[Song]:
    """Returns a few songs, the same each time."""
    return drawn(songs.songs, found.report["settings"]["shown"], 0)


def forms(found: Gathered) -> dict[str, list[Picture]]:
    """Draws the self-similarity of bars of some songs of both sets."""
    sides = {"ours": found.ours, "real": found.shown}
    return {side: [_matrix(song) for song in _some(found, songs)] for side, songs in sides.items()}


def _matrix(song: Song) -> Picture:
    alike = structure.self_similarity(song.notes)[:MOST_BARS, :MOST_BARS]
    away = alike[~np.eye(len(alike), dtype=bool)]
    mean = f"{float(away.mean()):.2f}" if len(away) else NOT_DEFINED
    alt = f"Similarity of the {len(alike)} bars of {song.name}; of two bars on average {mean}."
    return plots.matrix(alike, alt, song.name)


def rolls(found: Gathered) -> dict[str, list[Picture]]:
    """Draws piano rolls of the first bars of some songs of both sets."""
    bars = found.report["settings"]["shown_bars"]
    return {
        side: [
            plots.roll(
                song.notes,
                bars,
                f"Piano roll of {song.name}: {len(song.notes)} notes in all.",
                song.name,
            )
            for song in _some(found, songs)
        ]
        for side, songs in {"ours": found.ours, "real": found.shown}.items()
    }


def repetition(found: Gathered) -> Picture:
    """Draws how similar bars are at each distance."""
    sides = found.report["repetition"]
    points = [
        [(int(lag), value) for lag, value in sides[side]["likeness"].items() if value is not None]
        for side in ("ours", "real")
    ]
    alt = "Similarity of bars by their distance: " + "; ".join(
        f"{name} " + (", ".join(f"{lag}: {v:.2f}" for lag, v in p) or NOT_DEFINED)
        for name, p in zip(("these songs", "real songs"), points)
    )
    caption = "These songs (dots) and real music (squares)."
    return plots.lines(points[0], points[1], ("bars apart", "similarity"), alt, caption)


def passages(found: Gathered) -> Picture | None:
    """Draws the length of the longest passage that each song shares with the reference."""
    said = found.report["originality"]
    lengths = [[song["telling"] for song in said[side]["songs"]] for side in ("ours", "real")]
    if not any(lengths):
        return None
    alt = "; ".join(
        f"{name}: " + (f"{min(x):.0f} to {max(x):.0f} telling notes" if x else NOT_DEFINED)
        for name, x in zip(("these songs", "real songs"), lengths)
    )
    limit = said["copied_from"]
    return plots.passages(lengths[0], lengths[1], limit, alt, "Each dot is a song.")


def longest(found: Gathered) -> list[Picture]:
    """Draws the longest shared passage of all, beside where it is from."""
    known = [(name, match) for name, match in found.matches if match.passage and match.source]
    if not known:
        return []
    name, match = max(known, key=lambda pair: pair[1].telling)
    bars = found.report["settings"]["shown_bars"]
    out = []
    for notes, of in ((match.passage, name), (match.source, match.name)):
        assert notes
        alt = f"Piano roll of the passage in {of}."
        out.append(plots.roll(notes, bars, alt, f"The passage in {of}"))
    return out


def positions(found: Gathered) -> Picture | None:
    """Draws bits per note by place in the song."""
    said = found.report.get("likelihood") or {"by_position": ()}
    rows = [row for row in said["by_position"] if row["bits_per_note"] is not None]
    if not rows:
        return None
    points = [(_span(r), r["bits_per_note"], r["low"], r["high"]) for r in rows]
    alt = f"Bits per note by place in the song, in {said['unit']}: " + ", ".join(
        f"{name}: {value:.2f}" for name, value, *_ in points
    )
    caption = (
        "The further into a song, the more context the model has. The band is the 95 % interval "
        f"over songs. Places are {said['unit']}."
    )
    return plots.banded(points, "bits per note", alt, caption)


def _span(row: dict[str, Any]) -> str:
    first, last = row["first_bar"], row["last_bar"]
    return f"{first}" if first == last else f"{first}–{last}"


def kinds(found: Gathered) -> Picture | None:
    """Draws the share of each kind of token in all bits."""
    by_kind = (found.report.get("likelihood") or {"by_kind": {}})["by_kind"]
    if not by_kind:
        return None
    rows = sorted(by_kind.items(), key=lambda pair: -(pair[1]["share"] or 0))
    shares = [(name, 100 * (kind["share"] or 0)) for name, kind in rows]
    alt = "Share of all bits by kind of token: " + ", ".join(f"{n} {s:.0f} %" for n, s in shares)
    caption = "Which decisions are hardest to predict: the share of each kind of token in all bits."
    return plots.bars(shares, "percent of all bits", alt, caption)


def curves(found: Gathered) -> Picture | None:
    """Draws the learning curves of the run."""
    run = found.report.get("run")
    if not run or not (run["training"] or run["validation"]):
        return None
    alt = f"Loss over {run['steps']} steps; "
    alt += f"validation {run['validation'][0][1]:.3g} at first, " if run["validation"] else ""
    alt += f"best {run['best']:.3g}." if run["best"] is not None else "no validation."
    caption = "Training loss and validation loss."
    return plots.curves({run["name"]: (run["training"], run["validation"])}, alt, caption)


MAKERS: dict[str, Callable[[Gathered], Any]] = {
    make.__name__: make
    for make in (
        *(statistics, forms, rolls, repetition, passages, longest),
        *(positions, kinds, curves),
    )
}
"""Pictures by their names in the template."""
