"""Piano rolls, laid out like a score: systems of bars under each other."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath
from tqdm.auto import tqdm

from jaxmusic.core.errors import UserError
from jaxmusic.formats.instruments import drum_name, track_names
from jaxmusic.formats.layout import Layout, lay_out
from jaxmusic.formats.saving import save
from jaxmusic.formats.symbols import chord_symbols, form, key_name
from jaxmusic.music.notes import Notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#332288", "#7a5c45", "#999933"),
    *("#56b4e9", "#882255", "#44aa99", "#cc6677", "#117733", "#aa4499", "#777777"),
)
"""Colours of tracks: the palettes of Okabe and Ito (without its yellow) and of Paul Tol, which
people who do not see red or green can tell apart; after 15 tracks they come again."""

_WIDTH = 15.0  # inches, as are the lengths that follow
_LEFT, _RIGHT, _GAP = 0.75, 0.3, 0.62
_SEMITONE = 0.055
_DOTS_PER_INCH = 110
_INK, _PALE, _FAINT = "#333333", "#8a8a8a", "#d8d8d8"
_BLACK_KEYS = (1, 3, 6, 8, 10)


def draw(notes: Notes, path: str | os.PathLike[str], title: str = "") -> None:
    """Draws a piano roll: PNG, SVG or PDF by the path's suffix.

    Bars are numbered below each system and seconds above it. A track is a colour, the louder the
    note the stronger; drums have rows of their own at the bottom. Chords, sections and key are
    shown where the labels know them. Align the notes first, see `music.beats.align`, or the
    bars are those of the file.

    Raises:
      UserError: the suffix is another, or the path cannot be written to.
    """
    suffix = epath.Path(path).suffix.lower()
    if suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"{path} cannot be drawn: choose a name that ends in .png, .svg or .pdf.")
    save(path, encoded(notes, suffix, title))


def encoded(notes: Notes, suffix: str = ".png", title: str = "") -> bytes:
    """The file that `draw` writes."""
    data = io.BytesIO()
    _figure(notes, title).savefig(data, format=suffix[1:], dpi=_DOTS_PER_INCH)
    return data.getvalue()


def _figure(notes: Notes, title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout = lay_out(notes)
    labelled = len(notes.labels.chord) or form(notes.labels)
    above = 0.25 + (0.35 if labelled else 0)
    body = (layout.high + 1 - layout.bottom) * _SEMITONE
    names = track_names(notes.program[~notes.drum].tolist())
    columns = 5
    header = 0.85 + 0.25 * -(-(len(names) + notes.drum.any()) // columns)
    systems = len(layout.first) - 1
    height = header + systems * (above + body + _GAP)
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    _header(figure, notes, layout, title, names, columns)
    longest = max(layout.bar[b] - layout.bar[a] for a, b in zip(layout.first, layout.first[1:]))
    top = height - header
    pairs = list(zip(layout.first, layout.first[1:]))
    for a, b in tqdm(pairs, desc="picture", unit="system", disable=systems < 8):
        share = (layout.bar[b] - layout.bar[a]) / longest
        box = (_LEFT, top - above - body, (_WIDTH - _LEFT - _RIGHT) * share, body)
        scale = np.array([_WIDTH, height, _WIDTH, height])
        axes = figure.add_axes(tuple(np.array(box) / scale))
        _system(axes, notes, layout, a, b, box[2])
        top -= above + body + _GAP
    return figure


def _header(
    figure: Figure, notes: Notes, layout: Layout, title: str, names: list[str], columns: int
) -> None:
    from matplotlib.patches import Patch

    height = figure.get_figheight()
    tempos = notes.tempo_qpm[notes.tempo_tick < max(notes.end, 1)]
    slow, fast = round(tempos.min()), round(tempos.max())
    minutes, seconds = divmod(round(float(notes.seconds(notes.end))), 60)
    facts = [
        f"♩ = {slow}" if slow == fast else f"♩ = {slow}–{fast}",
        "{}/{}".format(*layout.meter[0]),
        f"{len(layout.meter)} bars",
        f"{minutes}:{seconds:02d}",
        f"{len(notes):,} notes",
    ]
    if len(notes.labels.key):
        key = int(notes.labels.key[0])
        facts.insert(0, key_name(key))
    left = _LEFT / _WIDTH
    name = title or notes.labels.song
    if name:
        figure.text(left, 1 - 0.3 / height, name, size=17, weight="bold", color=_INK, va="center")
    facts_at = 0.6 if name else 0.35
    figure.text(left, 1 - facts_at / height, "  ·  ".join(facts), size=10, color=_PALE, va="center")
    patches = [Patch(color=COLOURS[i % len(COLOURS)], label=n) for i, n in enumerate(names)]
    if notes.drum.any():
        patches.append(Patch(color=_INK, label="Drums"))
    # A legend fills its columns from top to bottom; instruments are read from left to right.
    rows = -(-len(patches) // columns)
    patches = [p for c in range(columns) for p in patches[c::columns][:rows]]
    figure.legend(
        handles=patches,
        loc="upper left",
        bbox_to_anchor=(left, 1 - (facts_at + 0.14) / height),
        ncols=columns,
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        fontsize=9,
        labelcolor=_INK,
        handlelength=1.1,
        handleheight=0.8,
    )


def _system(axes: Axes, notes: Notes, layout: Layout, a: int, b: int, width: float) -> None:
    """Draws bars a to b (b excluded) on axes that are `width` inches wide."""
    start, stop = int(layout.bar[a]), int(layout.bar[b])
    axes.set_xlim(start, stop)
    axes.set_ylim(layout.bottom, layout.high + 1)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, labelsize=7.5, colors=_PALE, pad=3)
    _background(axes, notes, layout, a, b)
    _notes(axes, notes, layout, start, stop)
    _drums(axes, notes, layout, start, stop)
    _seconds(axes, notes, start, stop, width)
    _labels(axes, notes, start, stop, width)


def _background(axes: Axes, notes: Notes, layout: Layout, a: int, b: int) -> None:
    """Keys, bar lines and beats, and what the axes say of them."""
    from matplotlib.collections import PolyCollection

    start, stop = int(layout.bar[a]), int(layout.bar[b])
    keys = np.arange(layout.low, layout.high + 1)
    black = keys[np.isin(keys % 12, _BLACK_KEYS)].astype(float)
    ends = np.full(len(black), start), np.full(len(black), stop)
    shading = PolyCollection(list(_boxes(*ends, black, black + 1)), facecolors="#f4f4f4", zorder=0)
    axes.add_collection(shading, autolim=False)
    octaves = [p for p in range(layout.low, layout.high + 1) if p % 12 == 0]
    axes.hlines(octaves, start, stop, color=_FAINT, lw=0.6, zorder=0.5)
    rows = [layout.drum_row(name) for name in layout.drums]
    axes.hlines(rows, start, stop, color="#ececec", lw=0.6, zorder=0.5)
    axes.set_yticks(
        [*rows, *(p + 0.5 for p in octaves)], [*layout.drums, *(f"C{p // 12 - 1}" for p in octaves)]
    )
    if layout.drums and layout.high > layout.low:
        axes.axhline(layout.low - 0.25, color=_FAINT, lw=0.8)
    beats = [
        np.arange(layout.bar[k], layout.bar[k + 1], 4 * notes.ticks_per_beat / layout.meter[k][1])
        for k in range(a, b)
    ]
    low, high = layout.bottom, layout.high + 1
    axes.vlines(np.concatenate(beats), low, high, color="#ececec", lw=0.4, zorder=0.6)
    bars = layout.bar[a:b]
    axes.vlines(bars, low, high, color="#b5b5b5", lw=0.7, zorder=0.7)
    final = b == len(layout.meter)
    axes.vlines([stop], low, high, color=_INK, lw=2.5 if final else 0.7, clip_on=False)
    every = 1 if b - a <= 32 else -(-(b - a) // 128) * 4
    # Numbers stand at their bar line, on which they begin.
    axes.set_xticks(bars[::every], [f"{k + 1}" for k in range(a, b, every)], ha="left")
    for k in range(max(a, 1), b):
        if layout.meter[k] != layout.meter[k - 1]:
            text = "{}\n{}".format(*layout.meter[k])
            axes.annotate(
                text,
                (layout.bar[k], high),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                size=8,
                weight="bold",
                color=_INK,
                linespacing=0.9,
            )


def _boxes(left: np.ndarray, right: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Corners of rectangles, [N, 4, 2]."""
    x = np.stack([left, right, right, left], axis=1)
    y = np.stack([low, low, high, high], axis=1)
    return np.stack([x, y], axis=2).astype(float)


def _shades(colour: str, velocity: np.ndarray) -> np.ndarray:
    """Colours [N, 4] whose opacity is the loudness."""
    from matplotlib.colors import to_rgba

    shades = np.tile(to_rgba(colour), (len(velocity), 1))
    shades[:, 3] = 0.4 + 0.6 * velocity / 127
    return shades


def _notes(axes: Axes, notes: Notes, layout: Layout, start: int, stop: int) -> None:
    from matplotlib.collections import PolyCollection

    seen = (notes.onset < stop) & (notes.onset + notes.duration > start)
    pitched, beat = np.flatnonzero(~notes.drum), notes.ticks_per_beat
    # The first track, often the melody, is drawn last and lies on top.
    for i, track in reversed(list(enumerate(pitched.tolist()))):
        rows = np.flatnonzero(seen & (notes.track == track))
        onset, low = notes.onset[rows], notes.pitch[rows].astype(float)
        # A gap parts repeated notes: an eighth of a note, at most that of a 16th.
        length = notes.duration[rows] - np.minimum(notes.duration[rows], beat / 4) / 8
        boxes = _boxes(onset, onset + length, low + 0.05, low + 0.95)
        shades = _shades(COLOURS[i % len(COLOURS)], notes.velocity[rows].astype(float))
        axes.add_collection(
            PolyCollection(list(boxes), facecolors=shades, lw=0, zorder=3), autolim=False
        )


def _drums(axes: Axes, notes: Notes, layout: Layout, start: int, stop: int) -> None:
    from matplotlib.collections import PolyCollection

    rows = np.flatnonzero(notes.is_drum & (notes.onset >= start) & (notes.onset < stop))
    middle = np.array([layout.drum_row(drum_name(p)) for p in notes.pitch[rows]])
    onset = notes.onset[rows]
    # Hits have no length: all are drawn a sixth of a beat long, so that 16ths stand apart.
    boxes = _boxes(onset, onset + notes.ticks_per_beat / 6, middle - 0.9, middle + 0.9)
    shades = _shades(_INK, notes.velocity[rows].astype(float))
    axes.add_collection(
        PolyCollection(list(boxes), facecolors=shades, lw=0, zorder=3), autolim=False
    )


def _seconds(axes: Axes, notes: Notes, start: int, stop: int, width: float) -> None:
    """Minutes and seconds along the top."""
    ticks = np.unique(np.concatenate([notes.tempo_tick, [0, start, stop]]))
    at = notes.seconds(ticks)
    first, last = float(notes.seconds(start)), float(notes.seconds(stop))
    per_inch = (last - first) / width
    step = next((s for s in (1, 2, 5, 10, 15, 30, 60) if s >= per_inch), 300)
    marks = np.arange(np.ceil(first / step) * step, last, step)
    top = axes.secondary_xaxis("top")
    top.set_xticks(np.interp(marks, at, ticks), [f"{s // 60:.0f}:{s % 60:02.0f}" for s in marks])
    top.tick_params(length=2, width=0.5, labelsize=6.5, colors="#b0b0b0", pad=1)
    top.spines["top"].set_visible(False)


def _labels(axes: Axes, notes: Notes, start: int, stop: int, width: float) -> None:
    """Chords and sections above the seconds; the chord that still sounds is said again.

    A chord that would run into the one before stands a line higher.
    """
    labels = notes.labels
    place = axes.get_xaxis_transform()

    def write(tick: int, text: str, up: float, **style: Any) -> None:
        axes.annotate(
            text,
            (tick, 1),
            xycoords=place,
            xytext=(1, up),
            textcoords="offset points",
            annotation_clip=False,
            **style,
        )

    ticks, symbols = chord_symbols(labels)
    before = max(int(np.searchsorted(ticks, start, side="right")) - 1, 0)
    last, free = None, [start, start]
    for tick, symbol in zip(ticks[before:].tolist(), symbols[before:]):
        if tick >= stop:
            break
        if symbol != last:
            tick = max(tick, start)
            line = 0 if tick >= free[0] else 1
            free[line] = tick + round(0.07 * (len(symbol) + 0.5) / width * (stop - start))
            write(tick, symbol, 11 + 8.5 * line, size=7.5, color=_INK)
        last = symbol
    for tick, name in form(labels):
        if start <= tick < stop:
            write(tick, name, 30, size=9, weight="bold", color="#0072b2")
