"""Piano rolls, laid out like a score: systems of bars under each other."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from jaxmusic._src.formats.chord_line import Change, chord_line
from jaxmusic._src.formats.instruments import drum_name, track_names
from jaxmusic._src.formats.layout import Layout, lay_out
from jaxmusic._src.formats.symbols import form, key_name
from jaxmusic._src.music.meters import first_number
from jaxmusic._src.music.notes import Notes

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
_COLUMNS = 5  # of the legend
_DOTS_PER_INCH = 110
_LETTER = 0.07  # of a chord
_ASKED = "#b84a00"
_INK, _PALE, _FAINT = "#333333", "#8a8a8a", "#d8d8d8"
_BLACK_KEYS = (1, 3, 6, 8, 10)


def encoded(notes: Notes, suffix: str = ".png", title: str = "") -> bytes:
    """Draws a piano roll: the bytes of a PNG, SVG or PDF file.

    Bars are numbered below each system and seconds above it. A track is a colour, the louder the
    note the stronger; drums have rows of their own at the bottom. Chords are those that sound, and
    in brackets those that the labels ask for where they differ, see `chord_line`; sections and key
    are shown where the labels know them. Align the notes first, see `music.beats.align`, or the
    bars are those of the file.
    """
    data = io.BytesIO()
    _figure(notes, title).savefig(data, format=suffix[1:], dpi=_DOTS_PER_INCH)
    return data.getvalue()


def _figure(notes: Notes, title: str) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout = lay_out(notes)
    chords = chord_line(notes)
    above = 0.6 if chords or form(notes.labels) else 0.25
    body = (layout.high + 1 - layout.bottom) * _SEMITONE
    names = [name for name, drum in zip(track_names(notes), notes.drum) if not drum]
    header = 0.85 + 0.25 * -(-(len(names) + notes.drum.any()) // _COLUMNS)
    systems = list(itertools.pairwise(layout.first))
    height = header + len(systems) * (above + body + _GAP)
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)
    _header(figure, notes, layout, title, names, any(change.asked for change in chords))
    longest = max(layout.bar[b] - layout.bar[a] for a, b in systems)
    bottom = height - header
    for a, b in tqdm(systems, desc="picture", unit="system", disable=len(systems) < 8):
        bottom -= above + body
        width = (_WIDTH - _LEFT - _RIGHT) * (layout.bar[b] - layout.bar[a]) / longest
        box = (_LEFT / _WIDTH, bottom / height, width / _WIDTH, body / height)
        axes = figure.add_axes(box)
        axes.set(xlim=layout.bar[[a, b]], ylim=(layout.bottom, layout.high + 1))
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=7.5, colors=_PALE, pad=3)
        _background(axes, notes, layout, a, b)
        start, stop = int(layout.bar[a]), int(layout.bar[b])
        _notes(axes, notes, layout, start, stop)
        _seconds(axes, notes, start, stop, width)
        _labels(axes, notes, chords, start, stop, width)
        bottom -= _GAP
    return figure


def _header(
    figure: Figure, notes: Notes, layout: Layout, title: str, names: list[str], differ: bool
) -> None:
    from matplotlib.patches import Patch

    left, inch = _LEFT / _WIDTH, 1 / figure.get_figheight()
    tempos = notes.tempo_qpm[notes.tempo_tick < max(notes.end, 1)]
    slow, fast = round(tempos.min()), round(tempos.max())
    minutes, seconds = divmod(round(float(notes.seconds(notes.end))), 60)
    facts = [
        *(key_name(int(key)) for key in notes.labels.key[:1]),
        f"♩ = {slow}" if slow == fast else f"♩ = {slow}–{fast}",
        "{}/{}".format(*layout.meter[0]),
        f"{len(layout.meter)} bars",
        f"{minutes}:{seconds:02d}",
        f"{len(notes):,} notes",
        *(["chords that sound [asked for]"] if differ else []),
    ]
    name = title or notes.labels.song
    if name:
        figure.text(left, 1 - 0.3 * inch, name, size=17, weight="bold", color=_INK, va="center")
    top = 0.6 if name else 0.35
    figure.text(left, 1 - top * inch, "  ·  ".join(facts), size=10, color=_PALE, va="center")
    patches = [Patch(color=COLOURS[i % len(COLOURS)], label=n) for i, n in enumerate(names)]
    if notes.drum.any():
        patches.append(Patch(color=_INK, label="Drums"))
    # A legend fills its columns from top to bottom; instruments are read from left to right.
    rows = -(-len(patches) // _COLUMNS)
    figure.legend(
        handles=[p for c in range(_COLUMNS) for p in patches[c::_COLUMNS][:rows]],
        loc="upper left",
        bbox_to_anchor=(left, 1 - (top + 0.14) * inch),
        ncols=_COLUMNS,
        **dict[str, Any](frameon=False, borderaxespad=0, borderpad=0, fontsize=9),
        **dict[str, Any](labelcolor=_INK, handlelength=1.1, handleheight=0.8),
    )


def _background(axes: Axes, notes: Notes, layout: Layout, a: int, b: int) -> None:
    """Keys, bar lines and beats of bars a to b (b excluded), and what the axes say of them."""
    start, stop = int(layout.bar[a]), int(layout.bar[b])
    low, high = layout.bottom, layout.high + 1
    keys = np.arange(layout.low, high)
    black, octaves = keys[np.isin(keys % 12, _BLACK_KEYS)], keys[keys % 12 == 0]
    _boxes(axes, np.full(len(black), start), stop - start, black, black + 1, "#f4f4f4", 0)
    rows = [layout.drum_row(name) for name in layout.drums]
    axes.hlines(octaves, start, stop, color=_FAINT, lw=0.6, zorder=0.5)
    axes.hlines(rows, start, stop, color="#ececec", lw=0.6, zorder=0.5)
    names = [*layout.drums, *(f"C{pitch // 12 - 1}" for pitch in octaves)]
    axes.set_yticks([*rows, *(octaves + 0.5)], names)
    if layout.drums and layout.high > layout.low:
        axes.axhline(layout.low - 0.25, color=_FAINT, lw=0.8)
    for k in range(a, b):
        beat = 4 * notes.ticks_per_beat / layout.meter[k][1]
        beats = np.arange(layout.bar[k], layout.bar[k + 1], beat)
        axes.vlines(beats, low, high, color="#ececec", lw=0.4, zorder=0.6)
        if k and layout.meter[k] != layout.meter[k - 1]:
            at, meter = (layout.bar[k], high), "{}\n{}".format(*layout.meter[k])
            style: dict[str, Any] = dict(size=8, weight="bold", color=_INK, linespacing=0.9)
            style |= dict(xytext=(3, -3), textcoords="offset points", va="top")
            axes.annotate(meter, at, **style)
    axes.vlines(layout.bar[a:b], low, high, color="#b5b5b5", lw=0.7, zorder=0.7)
    final = b == len(layout.meter)
    axes.vlines([stop], low, high, color=_INK, lw=2.5 if final else 0.7, clip_on=False)
    number = first_number(notes)
    every = 1 if b - a <= 32 else -(-(b - a) // 128) * 4
    # Numbers stand at their bar line, on which they begin.
    axes.set_xticks(layout.bar[a:b:every], [f"{k + number}" for k in range(a, b, every)], ha="left")


def _boxes(
    axes: Axes,
    left: np.ndarray,
    width: np.ndarray | float,
    low: np.ndarray,
    high: np.ndarray,
    colours: Any,
    zorder: int = 3,
) -> None:
    """Draws rectangles (all [N])."""
    from matplotlib.collections import PolyCollection

    x, y = np.stack([left, left, left + width, left + width]), np.stack([low, high, high, low])
    corners = list(np.stack([x, y]).T.astype(float))
    axes.add_collection(
        PolyCollection(corners, facecolors=colours, lw=0, zorder=zorder), autolim=False
    )


def _notes(axes: Axes, notes: Notes, layout: Layout, start: int, stop: int) -> None:
    """Draws notes and drum hits; the louder, the less transparent."""
    from matplotlib.colors import to_rgb

    beat, end = notes.ticks_per_beat, notes.onset + notes.duration

    def shades(colour: str, rows: np.ndarray) -> list[tuple[float, ...]]:
        return [(*to_rgb(colour), 0.4 + 0.6 * v / 127) for v in notes.velocity[rows].tolist()]

    # The first track, often the melody, is drawn last and lies on top.
    for i, track in reversed(list(enumerate(np.flatnonzero(~notes.drum)))):
        rows = np.flatnonzero((notes.onset < stop) & (end > start) & (notes.track == track))
        low = notes.pitch[rows].astype(float)
        # A gap parts repeated notes: an eighth of a note, at most that of a 16th.
        length = notes.duration[rows] - np.minimum(notes.duration[rows], beat / 4) / 8
        colours = shades(COLOURS[i % len(COLOURS)], rows)
        _boxes(axes, notes.onset[rows], length, low + 0.05, low + 0.95, colours)
    rows = np.flatnonzero(notes.is_drum & (notes.onset >= start) & (notes.onset < stop))
    middle = np.array([layout.drum_row(drum_name(p)) for p in notes.pitch[rows]])
    # Hits have no length: all are drawn a sixth of a beat long, so that 16ths stand apart.
    _boxes(axes, notes.onset[rows], beat / 6, middle - 0.9, middle + 0.9, shades(_INK, rows))


def _seconds(axes: Axes, notes: Notes, start: int, stop: int, width: float) -> None:
    """Minutes and seconds along the top."""
    ticks = np.unique([*notes.tempo_tick, 0, start, stop])
    first, last = notes.seconds(np.array([start, stop])).tolist()
    step = next((s for s in (1, 2, 5, 10, 15, 30, 60) if s >= (last - first) / width), 300)
    marks = np.arange(np.ceil(first / step) * step, last, step)
    places = np.interp(marks, notes.seconds(ticks), ticks)
    top = axes.secondary_xaxis("top")
    top.set_xticks(places, [f"{s // 60:.0f}:{s % 60:02.0f}" for s in marks])
    top.tick_params(length=2, width=0.5, labelsize=6.5, colors="#b0b0b0", pad=1)
    top.spines["top"].set_visible(False)


def _labels(
    axes: Axes, notes: Notes, chords: list[Change], start: int, stop: int, width: float
) -> None:
    """Chords and sections above the seconds; the chord that still sounds is said again.

    A chord that would run into the one before stands a line higher.
    """

    def write(tick: int, text: str, up: float, right: float = 1.0, **style: Any) -> None:
        style |= dict(xytext=(right, up), textcoords="offset points", annotation_clip=False)
        axes.annotate(text, (tick, 1), xycoords=axes.get_xaxis_transform(), **style)

    before = max(sum(change.tick <= start for change in chords) - 1, 0)
    free = [start, start]
    for tick, symbol, asked in chords[before:]:
        if tick < stop:
            tick = max(tick, start)
            line = 0 if tick >= free[0] else 1
            asked = f"[{asked}]" if asked else ""
            letters = len(symbol) + len(asked)
            free[line] = tick + round(_LETTER * (letters + 0.5) / width * (stop - start))
            up, size = 11 + 8.5 * line, 7.5
            write(tick, symbol, up, size=size, color=_INK)
            if asked:
                right = 1 + 72 * _LETTER * (len(symbol) + 0.25)
                write(tick, asked, up, right=right, size=size, color=_ASKED)
    for tick, name in form(notes.labels):
        if start <= tick < stop:
            write(tick, name, 30, size=9, weight="bold", color="#0072b2")
