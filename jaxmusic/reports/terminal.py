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

WIDTH = 100


def compared(found: Sequence[Entry]) -> str:
    """Returns tables with a column for each run."""
    out = []
    for table in tables(found):
        rows = [("", *(e.name for e in found)), *((r.name, *r.cells) for r in table.rows)]
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


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, numbers to the right; a column is as wide as its widest cell."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*cells, fillvalue="")]
    lines = []
    for first, *rest in cells:
        line = "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:]))])
        lines.append("  " + line.rstrip())
    return "\n".join(lines)
