"""A comparison, and the sum of a report, as text for a terminal."""

from __future__ import annotations

import html
import itertools
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from jaxmusic.reports.compare import Entry, tables
from jaxmusic.reports.sections import in_short
from jaxmusic.runs.status_text import sparkline

WIDTH = 100
CURVE = 24


def compared(found: Sequence[Entry], unicode: bool = True) -> str:
    """Tables with a column for each run, and learning curves."""
    out = []
    for table in tables(found):
        rows = [("", *(e.name for e in found)), *((r.name, *r.cells) for r in table.rows)]
        if table.title == "Training":
            rows += _curves(found, unicode)
        out.append(f"{table.title}\n{textwrap.fill(table.lead, WIDTH)}\n\n{_aligned(rows)}")
        if table.note:
            out[-1] += f"\n\n{textwrap.fill(table.note, WIDTH)}"
    return "\n\n\n".join(out)


def summed(report: dict[str, Any]) -> str:
    """What stands out in a report, as lines."""
    return "\n".join(f"  {plain(line)}" for line in in_short(report))


def plain(text: str) -> str:
    """HTML as text."""
    spaced = re.sub(r"\s*<small>", " (", text).replace("</small>", ")")
    return html.unescape(re.sub(r"<[^>]*>", "", spaced))


def _curves(found: Sequence[Entry], unicode: bool) -> list[tuple[str, ...]]:
    rows = []
    for kind in ("training", "validation"):
        losses = [[loss for _, loss in (e.run or {}).get(kind, [])] for e in found]
        cells = [sparkline(values, CURVE, unicode) or "not defined" for values in losses]
        if any(losses):
            rows.append((f"{kind} loss", *cells))
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, numbers to the right; a column is as wide as its widest cell."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*cells, fillvalue="")]
    lines = []
    for first, *rest in cells:
        line = "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:]))])
        lines.append("  " + line.rstrip())
    return "\n".join(lines)
