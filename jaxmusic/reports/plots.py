"""Plots of a report, each with what it shows in words."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxmusic.formats import picture
from jaxmusic.music.grid import dequantise, quantise
from jaxmusic.music.notes import Notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, REAL = "#b84a00", "#0a66a8"
SEVERAL = ("#b84a01", "#0a66a9", "#2f9e44", "#b5489a", "#c08a00", "#7a5c45")
"""Colours of several runs."""
DASHES = ("-", "--", ":", "-.")
_PAPER = (10, 102, 168)
"""Red, green and blue of similarity in a matrix."""
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


class Picture(NamedTuple):
    """A picture on a page.

    Attributes:
      source: address of the data that it consists of; empty where nothing is defined.
      alt: what it shows, in words.
      caption, title: what stands below it.
    """

    source: str
    alt: str
    caption: str = ""
    title: str = ""


@contextlib.contextmanager
def _plot(width: float, height: float) -> Iterator[tuple[Axes, list[str]]]:
    """Makes axes of a size in inches; the list has the address of the plot afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    made: list[str] = []
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure.add_subplot(), made
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None})
    made.append(_address("image/svg+xml", data.getvalue()))


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def distribution(
    ours: Sequence[float], real: Sequence[float], unit: str, alt: str, caption: str = ""
) -> Picture:
    """Draws the values of a set, each as a mark, below a histogram of the reference's."""
    with _plot(3.2, 1.7) as (axes, made):
        known = np.array([*ours, *real], float)
        low, high = float(known.min()), float(known.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        count = round(2 * max(len(ours), len(real)) ** 0.5)
        edges = np.linspace(low, high, int(np.clip(count, *_BINS)) + 1)
        top = 0.0
        for values, colour, filled in ((real, REAL, True), (ours, OURS, False)):
            if len(values) < 2:
                continue
            share = np.histogram(values, edges)[0] / len(values)
            top = max(top, float(share.max()))
            axes.stairs(
                share, edges, fill=filled, color=colour, alpha=0.35 if filled else 1, lw=1.4
            )
            if filled:
                axes.stairs(share, edges, color=colour, lw=0.8)
        top = top or 1.0
        axes.vlines(ours, -0.1 * top, -0.03 * top, color=OURS, lw=0.8)
        axes.set_ylim(-0.12 * top, 1.05 * top)
        _shares(axes, "share of songs")
        if unit:
            axes.set_xlabel(unit)
    return Picture(made[0], alt, caption)


def histogram(
    ours: Sequence[float] | None,
    real: Sequence[float] | None,
    kinds: Sequence[str],
    alt: str,
    caption: str = "",
) -> Picture:
    """Draws the mean shares of a set beside those of the reference."""
    with _plot(3.2, 2.1) as (axes, made):
        at = np.arange(len(kinds))
        for values, colour, side in ((real, REAL, -0.2), (ours, OURS, 0.2)):
            if values is not None:
                axes.bar(at + side, values, 0.4, color=colour)
        axes.set_xticks(at, kinds, rotation=90, size=6.5)
        _shares(axes, "share of notes")
    return Picture(made[0], alt, caption)


def lines(
    ours: Sequence[tuple[float, float]],
    real: Sequence[tuple[float, float]],
    labels: tuple[str, str],
    alt: str,
    caption: str = "",
) -> Picture:
    """Draws two curves over whole numbers: the set's and the reference's."""
    with _plot(5.0, 2.4) as (axes, made):
        for points, colour, mark in ((real, REAL, "s"), (ours, OURS, "o")):
            if points:
                axes.plot(*zip(*points), color=colour, marker=mark, ms=4, lw=1.5)
        if not ours and not real:
            axes.text(0.5, 0.5, "not defined", transform=axes.transAxes, ha="center")
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.grid(axis="y", lw=0.5)
    return Picture(made[0], alt, caption)


def banded(
    rows: Sequence[tuple[str, float, float | None, float | None]],
    label: str,
    alt: str,
    caption: str = "",
) -> Picture:
    """Draws values with intervals, one after another."""
    with _plot(5.0, 2.4) as (axes, made):
        at = np.arange(len(rows))
        value = np.array([row[1] for row in rows], float)
        ends = [[value[i] if x is None else x for i, x in enumerate(c)] for c in zip(*rows)][2:]
        low, high = (np.array(end, float) for end in ends) if rows else (value, value)
        axes.fill_between(at, low, high, color=OURS, alpha=0.25, lw=0)
        axes.plot(at, value, color=OURS, marker="o", ms=4, lw=1.5)
        axes.set_xticks(at, [row[0] for row in rows])
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", lw=0.5)
    return Picture(made[0], alt, caption)


def bars(rows: Sequence[tuple[str, float]], label: str, alt: str, caption: str = "") -> Picture:
    """Draws values as bars, the first on top."""
    with _plot(5.0, 0.5 + 0.22 * max(len(rows), 1)) as (axes, made):
        at = np.arange(len(rows))
        axes.barh(at, [value for _, value in rows], color=OURS)
        axes.set_yticks(at, [name for name, _ in rows])
        axes.invert_yaxis()
        axes.set_xlabel(label)
    return Picture(made[0], alt, caption)


def curves(
    named: dict[str, tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]],
    alt: str,
    caption: str = "",
) -> Picture:
    """Draws learning curves: for each name [step, loss] pairs of training and of validation."""
    with _plot(5.0, 2.8) as (axes, made):
        losses = []
        for i, (name, (training, validation)) in enumerate(named.items()):
            colour = SEVERAL[i % len(SEVERAL)] if len(named) > 1 else REAL
            other = colour if len(named) > 1 else OURS
            dash = DASHES[i // len(SEVERAL) % len(DASHES)]
            if training:
                label = None if len(named) > 1 else "training"
                axes.plot(*zip(*training), color=colour, lw=0.8, alpha=0.6, label=label)
            if validation:
                label = name if len(named) > 1 else "validation"
                axes.plot(
                    *zip(*validation), dash, color=other, marker="o", ms=4, lw=1.6, label=label
                )
            losses += [loss for _, loss in [*training, *validation]]
        if losses:
            low, high = min(losses), float(np.quantile(losses, 0.98))
            axes.set_ylim(low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
            axes.legend()
        axes.set_xlabel("step")
        axes.set_ylabel("loss, nats per token")
        axes.grid(axis="y", lw=0.5)
    return Picture(made[0], alt, caption)


def passages(
    ours: Sequence[float], real: Sequence[float], limit: float, alt: str, caption: str = ""
) -> Picture:
    """Draws the longest passages of two sets, and the length from which one counts as copied."""
    with _plot(5.0, 1.8) as (axes, made):
        rng = np.random.default_rng(0)
        for values, colour, row in ((real, REAL, 0), (ours, OURS, 1)):
            off = row + rng.uniform(-0.25, 0.25, len(values))
            axes.scatter(values, off, s=14, color=colour, alpha=0.8, lw=0)
        axes.axvline(limit, color="black", lw=1, ls="--")
        axes.text(limit, 1.45, " copied from here on", va="top", size=7)
        axes.set_yticks([0, 1], ["real", "these"])
        axes.set_ylim(-0.5, 1.5)
        axes.set_xlim(0, max([*ours, *real, limit]) * 1.25)
        axes.set_xlabel("telling notes of the longest passage shared with the reference")
    return Picture(made[0], alt, caption)


def matrix(alike: np.ndarray, alt: str, caption: str = "") -> Picture:
    """Draws a self-similarity matrix [B, B], 0 to 1: the stronger the colour, the more alike."""
    from matplotlib.ticker import MaxNLocator

    with _plot(2.9, 2.9) as (axes, made):
        image = np.zeros((*alike.shape, 4), np.uint8)
        image[..., :3] = _PAPER
        image[..., 3] = np.rint(255 * alike)
        extent = (0.5, len(alike) + 0.5, len(alike) + 0.5, 0.5)
        axes.imshow(image, extent=extent, interpolation="none")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("bar")
        axes.set_ylabel("bar")
    return Picture(made[0], alt, caption)


def roll(notes: Notes, bars: int, alt: str, caption: str = "") -> Picture:
    """Draws the piano roll of the first bars of an aligned piece."""
    piece, _ = quantise(notes)
    if piece.bars > bars:
        notes = dequantise(piece.part(0, bars))
    return Picture(_address("image/png", picture.encoded(notes, ".png", "")), alt, caption)


def _shares(axes: Axes, label: str) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel(label)
