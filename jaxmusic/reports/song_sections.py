"""Sections about the songs themselves: form, notes, repetition, endings, originality."""

from __future__ import annotations

import numpy as np

from jaxmusic.evaluate import structure
from jaxmusic.reports import page, plots
from jaxmusic.reports.figures import ENDINGS, LIKE, SHARES
from jaxmusic.reports.gather import Gathered
from jaxmusic.reports.page import Section, escape, number, percent
from jaxmusic.reports.sets import Song, Songs, drawn

MOST_BARS = 256
"""Bars of a piece of which a matrix is drawn."""
MOST_ROWS = 20
"""Songs whose longest passages are told, the longest ones."""


def structures(found: Gathered) -> Section:
    """Self-similarity matrices."""
    shown = found.report["settings"]["shown"]
    body = ""
    for title, songs in (("These songs", found.ours), ("Real songs", found.shown)):
        figures = [_matrix(song) for song in _some(songs, shown)]
        body += f"<h3>{title}</h3>" + (page.grid(figures) or number(None))
    return Section(
        "Form",
        "Each picture compares all bars of a song with all others: the stronger the colour, the "
        "more alike. Lines beside the diagonal are passages that come back; real songs have them.",
        body,
    )


def _matrix(song: Song) -> str:
    alike = structure.self_similarity(song.notes)[:MOST_BARS, :MOST_BARS]
    away = alike[~np.eye(len(alike), dtype=bool)]
    mean = f"{float(away.mean()):.2f}" if len(away) else page.NOT_DEFINED
    alt = f"Likeness of the {len(alike)} bars of {song.name}; two bars are {mean} alike on average."
    return page.figure(plots.matrix(alike, alt), escape(song.name))


def rolls(found: Gathered) -> Section:
    """Piano rolls."""
    settings, body = found.report["settings"], ""
    for title, songs in (("These songs", found.ours), ("Real songs", found.shown)):
        body += f"<h3>{title}</h3>"
        for song in _some(songs, settings["shown"]):
            alt = f"Piano roll of {song.name}: {len(song.notes)} notes in all."
            picture = plots.roll(song.notes, settings["shown_bars"], "", alt)
            body += page.figure(picture, escape(song.name), "paper")
        body += "" if len(songs) else number(None)
    return Section(
        "Notes",
        f"The first {settings['shown_bars']} bars of some songs: time runs from left to right, "
        "pitch from low to high, and each colour is an instrument.",
        body,
    )


def _some(songs: Songs, count: int) -> list[Song]:
    """A few songs, the same each time."""
    return drawn(songs.songs, count, 0)


def repetition(found: Gathered) -> Section:
    """Repetition and endings."""
    sides = found.report["repetition"]
    points = [
        [(int(lag), value) for lag, value in sides[side]["likeness"].items() if value is not None]
        for side in ("ours", "real")
    ]
    alt = "Likeness of bars by their distance: " + "; ".join(
        f"{name} " + (", ".join(f"{lag}: {v:.2f}" for lag, v in p) or page.NOT_DEFINED)
        for name, p in zip(("these songs", "real songs"), points)
    )
    curve = plots.lines(points[0], points[1], ("bars apart", "likeness"), alt)
    told = f"{page.ours('These songs')} (dots) and {page.real('real music')} (squares)."
    rows = [
        ("likeness of bars four apart", *(number(sides[s]["likeness"]["4"]) for s in sides)),
        ("likeness of bars eight apart", *(number(sides[s]["likeness"]["8"]) for s in sides)),
        ("most like bars in a row, in any song", *(number(sides[s]["longest_run"]) for s in sides)),
        (
            f"songs with more than {LIKE} like bars in a row",
            *(percent(sides[s]["stuck"]) for s in sides),
        ),
    ]
    head = ("", page.ours("these songs"), page.real("real music"))
    endings = found.report["endings"]
    ends = [
        (words, *((percent if name in SHARES else number)(endings[s][name]) for s in endings))
        for name, words in ENDINGS.items()
    ]
    return Section(
        "Repetition and endings",
        "Pop repeats itself after four and eight bars: a curve without peaks there wanders, one "
        "near 1 is stuck. A song that ends comes home and rests; one that just stops does not.",
        page.figure(curve, told, "wide")
        + page.table("Repetition", head, rows)
        + page.table("Endings: shares of songs, and medians", head, ends),
    )


def originality(found: Gathered) -> Section:
    """The longest passages that songs share with the reference."""
    said = found.report["originality"]
    lengths = [[song["telling"] for song in said[side]["songs"]] for side in ("ours", "real")]
    sides = {"ours": page.ours("these songs"), "real": page.real("real music")}
    rows = [
        [name]
        + [number(value) for value in (len(said[s]["songs"]), said[s]["median"], said[s]["most"])]
        + [percent(said[s]["copied"])]
        for s, name in sides.items()
    ]
    head = ("set", "songs", "median", "most", "copied")
    body = page.table("Telling notes of the longest passages", head, rows)
    if any(lengths):
        alt = "; ".join(
            f"{name}: " + (f"{min(x):.0f} to {max(x):.0f} telling notes" if x else page.NOT_DEFINED)
            for name, x in zip(("these songs", "real songs"), lengths)
        )
        dots = plots.passages(lengths[0], lengths[1], said["copied_from"], alt)
        body += page.figure(dots, "Each dot is a song.", "wide")
    longest = sorted(said["ours"]["songs"], key=lambda s: -s["telling"])[:MOST_ROWS]
    each = [
        [escape(s["name"]), number(s["telling"]), number(s["bars"]), page.clock(s["seconds"])]
        for s in longest
    ]
    for row, s in zip(each, longest):
        row += [percent(s["share"]), escape(s["of"])]
    columns = ("song", "telling notes", "bars", "length", "copied share", "shared with")
    body += page.table("The songs with the longest passages", columns, each, words=(5,))
    body += _longest(found)
    return Section(
        "Originality",
        "The longest passage that each song shares with a song of the reference, in any key and "
        f"tempo. Real songs share some with each other; from {said['copied_from']} telling notes "
        "on a passage counts as copied.",
        body,
    )


def _longest(found: Gathered) -> str:
    """The longest passage of all, beside where it is from."""
    known = [(name, match) for name, match in found.matches if match.passage and match.source]
    if not known:
        return ""
    name, match = max(known, key=lambda pair: pair[1].telling)
    body = f"<h3>The longest passage</h3><p>{escape(name)}: {escape(match.describe())}</p>"
    bars = found.report["settings"]["shown_bars"]
    for notes, of in ((match.passage, name), (match.source, match.name)):
        assert notes
        picture = plots.roll(notes, bars, "", f"Piano roll of the passage in {of}.")
        body += page.figure(picture, f"The passage in {escape(of)}", "paper")
    return body
