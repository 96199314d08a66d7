"""Drawing: SVG that takes its colours from the page it stands in."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from jaxmusic.reports.page import NAME, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that nobody else uses, which become the page's own.
INK, LINE, OURS, REAL = "#010203", "#d4d5d7", "#b84a01", "#0a66a9"
_PAGE = {INK: "currentColor", LINE: "var(--line)", OURS: "var(--ours)", REAL: "var(--real)"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "jaxmusic",
    "font.size": 8,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "grid.color": LINE,
    "legend.frameon": False,
}


class Plot:
    """A plot in the making: ``with Plot(width, height) as plot`` draws on `plot.axes`."""

    axes: Axes

    def __init__(self, width: float, height: float):
        """Takes the size in inches."""
        self._size = (width, height)

    def __enter__(self) -> Plot:
        """Opens the plot."""
        import matplotlib
        from matplotlib.figure import Figure

        self._context = matplotlib.rc_context(_SETTINGS)
        self._context.__enter__()
        self._figure = Figure(figsize=self._size, layout="constrained", facecolor="none")
        self.axes = self._figure.add_subplot(facecolor="none")
        return self

    def __exit__(self, *error: Any) -> None:
        """Draws it."""
        try:
            if error[0] is None:
                data = io.StringIO()
                self._figure.savefig(data, format="svg", metadata={"Date": None})
                self._svg = data.getvalue()
        finally:
            self._context.__exit__(*error)

    def svg(self, alt: str) -> str:
        """The plot as an element of HTML, with what it shows in words."""
        body = self._svg[self._svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
        box = re.findall('viewBox="[^"]*"', body)[0]
        body = re.sub("^<svg[^>]*>", f'<svg {box} role="img" aria-label="{escape(alt)}">', body)
        body = re.sub('<g id="[^"]*"', "<g", body)  # nothing refers to a group
        body = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{NAME}", body)
        for colour, name in _PAGE.items():
            body = body.replace(colour, name)
        return body
