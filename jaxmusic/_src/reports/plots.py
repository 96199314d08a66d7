"""Plots of a report and of a comparison, as addresses of the data that they consist of."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxmusic._src.evaluate import structure
from jaxmusic._src.formats import picture
from jaxmusic._src.music.grid import dequantise, quantise
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.reports.gather import Gathered
from jaxmusic._src.reports.sets import Song, Songs, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, REAL = "#b84a00", "#0a66a8"
SEVERAL = ("#b84a01", "#0a66a9", "#2f9e44", "#b5489a", "#c08a00", "#7a5c45")
"""Colours of several runs."""
DASHES = ("-", "--", ":", "-.")
MOST_BARS = 256
"""Bars of a piece of which a matrix is drawn."""
_BINS = (6, 24)
"""Bins of a histogram at least and at most: twice the root of the number of songs."""
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "jaxmusic",
    "font.size": 8,
    "axes.edgecolor": "#b0b4ba",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#d5d8dc",
    "legend.frameon": False,
}


def _plot(width: float, height: float) -> Callable[[Callable[..., None]], Callable[..., str]]:
    """Makes a plot of a function that draws on axes; empty where it draws nothing."""

    def decorate(draw: Callable[..., None]) -> Callable[..., str]:
        @functools.wraps(draw)
        def plot(*args: Any) -> str:
            import matplotlib
            from matplotlib.figure import Figure

            with matplotlib.rc_context(_STYLE):
                figure = Figure(figsize=(width, height), layout="constrained")
                axes = figure.add_subplot()
                draw(axes, *args)
                if not axes.has_data():
                    return ""
                data = io.BytesIO()
                figure.savefig(data, format="svg", metadata={"Date": None})
            return _address("image/svg+xml", data.getvalue())

        return plot

    return decorate


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def statistics(found: Gathered) -> dict[str, str]:
    """Draws how each statistic is distributed over both sets."""
    ours, real = (found.report["values"][side] for side in ("ours", "real"))
    return {
        name: shares(row) if row["kinds"] else distribution(ours[name], real[name], row["unit"])
        for name, row in found.report["statistics"].items()
    }


@_plot(3.2, 1.7)
def distribution(
    axes: Axes, ours: Sequence[float | None], real: Sequence[float | None], unit: str
) -> None:
    """Draws the values of a set, each as a mark, below a histogram of the reference's."""
    known = [np.array([v for v in side if v is not None], float) for side in (ours, real)]
    if not len(both := np.concatenate(known)):
        return
    low, high = both.min(), both.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    count = np.clip(round(2 * max(map(len, known)) ** 0.5), *_BINS)
    edges = np.linspace(low, high, int(count) + 1)
    top = 0.0
    for values, colour in ((known[1], REAL), (known[0], OURS)):
        if len(values) > 1:
            share = np.histogram(values, edges)[0] / len(values)
            top = max(top, share.max())
            axes.stairs(share, edges, color=colour, lw=1.4)
            if colour == REAL:
                axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
    top = top or 1.0
    axes.vlines(known[0], -0.1 * top, -0.03 * top, color=OURS, lw=0.8)
    axes.set(ylim=(-0.12 * top, 1.05 * top), xlabel=unit)
    _percent(axes, "share of songs")


@_plot(3.2, 2.1)
def shares(axes: Axes, row: dict[str, Any]) -> None:
    """Draws the mean shares of a set beside those of the reference."""
    at = np.arange(len(row["kinds"]))
    for name, colour, side in (("reference_mean", REAL, -0.2), ("mean", OURS, 0.2)):
        if row[name] is not None:
            axes.bar(at + side, row[name], 0.4, color=colour)
    axes.set_xticks(at, row["kinds"], rotation=90, size=6.5)
    _percent(axes, "share of notes")


def _percent(axes: Axes, label: str) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel(label)


def forms(found: Gathered) -> dict[str, list[tuple[str, str]]]:
    """Draws the self-similarity of bars of some songs of both sets, each with its name."""
    sides = {"ours": found.ours, "real": found.shown}
    return {
        side: [(song.name, matrix(song.notes)) for song in shown(found, songs)]
        for side, songs in sides.items()
    }


def shown(found: Gathered, songs: Songs) -> list[Song]:
    """Chooses a few songs of a set to draw and hear, the same each time."""
    return drawn(songs.songs, found.report["settings"]["shown"], 0)


@_plot(2.9, 2.9)
def matrix(axes: Axes, notes: Notes) -> None:
    """Draws how similar all bars are to all others: the stronger the colour, the more alike."""
    from matplotlib.ticker import MaxNLocator

    alike = structure.self_similarity(notes)[:MOST_BARS, :MOST_BARS]
    image = np.zeros((*alike.shape, 4), np.uint8)
    image[..., :3] = tuple(bytes.fromhex(REAL[1:]))
    image[..., 3] = np.rint(255 * alike)
    extent = (0.5, len(alike) + 0.5, len(alike) + 0.5, 0.5)
    axes.imshow(image, extent=extent, interpolation="none")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set(xlabel="bar", ylabel="bar")


def roll(notes: Notes, bars: int) -> str:
    """Draws the piano roll of the first bars of an aligned piece."""
    piece, _ = quantise(notes)
    if piece.bars > bars:
        notes = dequantise(piece.part(0, bars))
    return _address("image/png", picture.encoded(notes, ".png", ""))


def longest(found: Gathered) -> dict[str, Any]:
    """Draws the longest shared passage of all, beside where it is from, and tells about it."""
    known = [(name, match) for name, match in found.matches if match.passage and match.source]
    if not known:
        return {}
    name, match = max(known, key=lambda pair: pair[1].telling)
    assert match.passage and match.source
    bars = found.report["settings"]["shown_bars"]
    rolls = [(name, roll(match.passage, bars)), (match.name, roll(match.source, bars))]
    return {"sentence": match.describe(), "rolls": rolls}


@_plot(5.0, 2.4)
def repetition(axes: Axes, found: Gathered) -> None:
    """Draws how similar bars are at each distance."""
    for side, colour, mark in (("real", REAL, "s"), ("ours", OURS, "o")):
        likeness = found.report["repetition"][side]["likeness"]
        if points := [(int(lag), value) for lag, value in likeness.items() if value is not None]:
            axes.plot(*zip(*points), color=colour, marker=mark, ms=4, lw=1.5)
    axes.set(xlabel="bars apart", ylabel="similarity")
    axes.grid(axis="y", lw=0.5)


@_plot(5.0, 1.8)
def passages(axes: Axes, found: Gathered) -> None:
    """Draws the length of the longest passage that each song shares with the reference."""
    said = found.report["originality"]
    ours, real = ([song["telling"] for song in said[side]["songs"]] for side in ("ours", "real"))
    if not ours and not real:
        return
    rng, limit = np.random.default_rng(0), said["copied_from"]
    for values, colour, row in ((real, REAL, 0), (ours, OURS, 1)):
        off = row + rng.uniform(-0.25, 0.25, len(values))
        axes.scatter(values, off, s=14, color=colour, alpha=0.8, lw=0)
    axes.axvline(limit, color="black", lw=1, ls="--")
    axes.text(limit, 1.45, " copied from here on", va="top", size=7)
    axes.set_yticks([0, 1], ["real", "these"])
    axes.set(xlim=(0, max([*ours, *real, limit]) * 1.25), ylim=(-0.5, 1.5))
    axes.set_xlabel("telling notes of the longest passage shared with the reference")


@_plot(5.0, 2.4)
def positions(axes: Axes, found: Gathered) -> None:
    """Draws bits per note by place in the song, with intervals."""
    rows = (found.report.get("likelihood") or {"by_position": ()})["by_position"]
    if not (rows := [row for row in rows if row["bits_per_note"] is not None]):
        return
    value, low, high = (
        np.array([row["bits_per_note"] if row[key] is None else row[key] for row in rows])
        for key in ("bits_per_note", "low", "high")
    )
    at = np.arange(len(rows))
    axes.fill_between(at, low, high, color=OURS, alpha=0.25, lw=0)
    axes.plot(at, value, color=OURS, marker="o", ms=4, lw=1.5)
    spans = [sorted({row["first_bar"], row["last_bar"]}) for row in rows]
    axes.set_xticks(at, ["–".join(map(str, span)) for span in spans])
    axes.set_ylabel("bits per note")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", lw=0.5)


@_plot(5.0, 0.5)
def kinds(axes: Axes, found: Gathered) -> None:
    """Draws the share of each kind of token in all bits, the largest on top."""
    by_kind = (found.report.get("likelihood") or {"by_kind": {}})["by_kind"]
    shares = {name: 100 * (kind["share"] or 0) for name, kind in by_kind.items()}
    rows = sorted(shares.items(), key=lambda row: row[1])
    figure = axes.get_figure(root=True)
    assert figure
    figure.set_figheight(0.5 + 0.22 * len(rows))
    axes.barh([name for name, _ in rows], [share for _, share in rows], color=OURS)
    axes.set_xlabel("percent of all bits")


def curves(found: Gathered) -> str:
    """Draws the learning curves of the run."""
    return learning([found.report["run"]] if "run" in found.report else [])


@_plot(5.0, 2.8)
def learning(axes: Axes, runs: Sequence[dict[str, Any]]) -> None:
    """Draws losses of training and validation: of one run, or of several by name."""
    runs = [run for run in runs if run["training"] or run["validation"]]
    if not runs:
        return
    several = len(runs) > 1
    losses = []
    for i, run in enumerate(runs):
        colours = (SEVERAL[i % len(SEVERAL)],) * 2 if several else (REAL, OURS)
        labels = (None, run["name"]) if several else ("training", "validation")
        dash = DASHES[i // len(SEVERAL) % len(DASHES)]
        if run["training"]:
            axes.plot(*zip(*run["training"]), color=colours[0], lw=0.8, alpha=0.6, label=labels[0])
        if run["validation"]:
            style: dict[str, Any] = {"color": colours[1], "marker": "o", "ms": 4, "lw": 1.6}
            axes.plot(*zip(*run["validation"]), dash, **style, label=labels[1])
        losses += [loss for _, loss in [*run["training"], *run["validation"]]]
    low, high = min(losses), float(np.quantile(losses, 0.98))
    axes.set_ylim(low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
    axes.legend()
    axes.set(xlabel="step", ylabel="loss, nats per token")
    axes.grid(axis="y", lw=0.5)


PLOTS: dict[str, Callable[[Gathered], Any]] = {
    plot.__name__: plot
    for plot in (statistics, forms, repetition, passages, longest, positions, kinds, curves)
}
"""Plots of a report by their names in the template."""
