"""A comparison, and the sum of a report, as text for a terminal."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import Any

from jaxmusic.reports.compare import Entry, tables
from jaxmusic.reports.summary import in_short

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
    """Returns the main findings of a report, one on a line."""
    return "\n".join(f"  {line}" for line in in_short(report))


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, numbers to the right; a column is as wide as its widest cell."""
    cells = [[_on_one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*cells, fillvalue="")]
    lines = []
    for first, *rest in cells:
        line = "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:]))])
        lines.append("  " + line.rstrip())
    return "\n".join(lines)


def _on_one_line(cell: str) -> str:
    first, *rest = cell.split("\n")
    return first if not rest else f"{first} ({', '.join(rest)})"
