"""Plots of a report: each an element of HTML, with what it shows in words."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxmusic.formats import picture
from jaxmusic.music.grid import dequantise, quantise
from jaxmusic.music.notes import Notes
from jaxmusic.reports.drawing import INK, OURS, REAL, Plot
from jaxmusic.reports.page import escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEVERAL = ("#b84a01", "#0a66a9", "#2f9e44", "#b5489a", "#c08a00", "#7a5c45")
"""Colours of several runs."""
DASHES = ("-", "--", ":", "-.")
_PAPER = (10, 102, 168)
"""Red, green and blue of likeness in a matrix."""
_BINS = (6, 24)
"""Bins of a histogram at least and at most: twice the root of the number of songs."""


def distribution(ours: Sequence[float], real: Sequence[float], unit: str, alt: str) -> str:
    """How values of a set spread, each as a mark, above a histogram of the reference's."""
    with Plot(3.2, 1.7) as plot:
        axes = plot.axes
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
    return plot.svg(alt)


def histogram(
    ours: Sequence[float] | None, real: Sequence[float] | None, kinds: Sequence[str], alt: str
) -> str:
    """Mean shares of a set beside those of the reference."""
    with Plot(3.2, 2.1) as plot:
        at = np.arange(len(kinds))
        for values, colour, side in ((real, REAL, -0.2), (ours, OURS, 0.2)):
            if values is not None:
                plot.axes.bar(at + side, values, 0.4, color=colour)
        plot.axes.set_xticks(at, kinds, rotation=90, size=6.5)
        _shares(plot.axes, "share of notes")
    return plot.svg(alt)


def lines(
    ours: Sequence[tuple[float, float]],
    real: Sequence[tuple[float, float]],
    labels: tuple[str, str],
    alt: str,
) -> str:
    """Two curves over whole numbers: the set's and the reference's."""
    with Plot(5.0, 2.4) as plot:
        for points, colour, mark in ((real, REAL, "s"), (ours, OURS, "o")):
            if points:
                plot.axes.plot(*zip(*points), color=colour, marker=mark, ms=4, lw=1.5)
        if not ours and not real:
            plot.axes.text(0.5, 0.5, "not defined", transform=plot.axes.transAxes, ha="center")
        plot.axes.set_xlabel(labels[0])
        plot.axes.set_ylabel(labels[1])
        plot.axes.grid(axis="y", lw=0.5)
    return plot.svg(alt)


def banded(rows: Sequence[tuple[str, float, float | None, float | None]], label: str, alt: str):
    """Values with intervals, one after another."""
    with Plot(5.0, 2.4) as plot:
        at = np.arange(len(rows))
        value = np.array([row[1] for row in rows], float)
        ends = [[value[i] if x is None else x for i, x in enumerate(c)] for c in zip(*rows)][2:]
        low, high = (np.array(end, float) for end in ends) if rows else (value, value)
        plot.axes.fill_between(at, low, high, color=OURS, alpha=0.25, lw=0)
        plot.axes.plot(at, value, color=OURS, marker="o", ms=4, lw=1.5)
        plot.axes.set_xticks(at, [row[0] for row in rows])
        plot.axes.set_ylabel(label)
        plot.axes.set_ylim(bottom=0)
        plot.axes.grid(axis="y", lw=0.5)
    return plot.svg(alt)


def bars(rows: Sequence[tuple[str, float]], label: str, alt: str) -> str:
    """Values beside one another, the first on top."""
    with Plot(5.0, 0.5 + 0.22 * max(len(rows), 1)) as plot:
        at = np.arange(len(rows))
        plot.axes.barh(at, [value for _, value in rows], color=OURS)
        plot.axes.set_yticks(at, [name for name, _ in rows])
        plot.axes.invert_yaxis()
        plot.axes.set_xlabel(label)
    return plot.svg(alt)


def curves(
    named: dict[str, tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]]], alt: str
) -> str:
    """Learning curves: for each name [step, loss] pairs of training and of validation."""
    with Plot(5.0, 2.8) as plot:
        losses = []
        for i, (name, (training, validation)) in enumerate(named.items()):
            colour = SEVERAL[i % len(SEVERAL)] if len(named) > 1 else REAL
            other = colour if len(named) > 1 else OURS
            dash = DASHES[i // len(SEVERAL) % len(DASHES)]
            if training:
                label = None if len(named) > 1 else "training"
                plot.axes.plot(*zip(*training), color=colour, lw=0.8, alpha=0.6, label=label)
            if validation:
                label = name if len(named) > 1 else "validation"
                plot.axes.plot(
                    *zip(*validation), dash, color=other, marker="o", ms=4, lw=1.6, label=label
                )
            losses += [loss for _, loss in [*training, *validation]]
        if losses:
            low, high = min(losses), float(np.quantile(losses, 0.98))
            plot.axes.set_ylim(low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
            plot.axes.legend()
        plot.axes.set_xlabel("step")
        plot.axes.set_ylabel("loss, nats per token")
        plot.axes.grid(axis="y", lw=0.5)
    return plot.svg(alt)


def passages(ours: Sequence[float], real: Sequence[float], limit: float, alt: str) -> str:
    """The longest passages of two sets of songs, and the length from which one counts as copied."""
    with Plot(5.0, 1.8) as plot:
        rng = np.random.default_rng(0)
        for values, colour, row in ((real, REAL, 0), (ours, OURS, 1)):
            off = row + rng.uniform(-0.25, 0.25, len(values))
            plot.axes.scatter(values, off, s=14, color=colour, alpha=0.8, lw=0)
        plot.axes.axvline(limit, color=INK, lw=1, ls="--")
        plot.axes.text(limit, 1.45, " copied from here on", va="top", size=7)
        plot.axes.set_yticks([0, 1], ["real", "these"])
        plot.axes.set_ylim(-0.5, 1.5)
        plot.axes.set_xlim(0, max([*ours, *real, limit]) * 1.25)
        plot.axes.set_xlabel("telling notes of the longest passage shared with the reference")
    return plot.svg(alt)


def matrix(alike: np.ndarray, alt: str) -> str:
    """A self-similarity matrix [B, B], 0 to 1: the stronger the colour, the more alike."""
    from matplotlib.ticker import MaxNLocator

    with Plot(2.9, 2.9) as plot:
        image = np.zeros((*alike.shape, 4), np.uint8)
        image[..., :3] = _PAPER
        image[..., 3] = np.rint(255 * alike)
        extent = (0.5, len(alike) + 0.5, len(alike) + 0.5, 0.5)
        plot.axes.imshow(image, extent=extent, interpolation="none")
        for axis in (plot.axes.xaxis, plot.axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
        plot.axes.set_xlabel("bar")
        plot.axes.set_ylabel("bar")
    return plot.svg(alt)


def roll(notes: Notes, bars: int, title: str, alt: str) -> str:
    """The piano roll of the first bars of an aligned piece, as an element of HTML."""
    piece, _ = quantise(notes)
    if piece.bars > bars:
        notes = dequantise(piece.part(0, bars))
    data = base64.b64encode(picture.encoded(notes, ".png", title)).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'


def _shares(axes: Axes, label: str) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel(label)
