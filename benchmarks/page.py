"""Results as text: tables for the terminal, and the page of all results."""

from __future__ import annotations

import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from benchmarks import runner

INTRODUCTION = """# Benchmarks

Every figure that the documentation quotes is measured by `python -m benchmarks NAME`, which also
writes this page. [benchmarks/README.md](../benchmarks/README.md) says how to run and add one;
[results](results.md) keeps the findings of finished studies, one line each.

## Goals and results

Goals are written down before the measurement. "2 of 4" means that only some of the figures reach
the goal. Tables, machines and full commands follow in [details](#details).
"""
DETAILS = """## Details

Each result names its machine below its tables. `benchmarks/results` holds all digits and
the versions of all packages."""


def markdown(columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """Formats a table for the page."""
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[runner.show(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def goals(records: Sequence[dict[str, Any]]) -> str:
    """Makes the table of goals; figures with the same goal share a row."""
    rows = []
    for record in records:
        for goal, equal in itertools.groupby(record["goals"], lambda goal: goal["goal"]):
            same = list(equal)
            reached = sum(g["reached"] for g in same)
            mixed = f"**{reached} of {len(same)}**" if reached else "**no**"
            measured = "; ".join(g["measured"] for g in same)
            command = f"`python -m benchmarks {record['name'].split('-')[0]}`"
            if label := record["name"].partition("-")[2]:
                command += f" ({label})"
            rows.append((goal, measured, "yes" if reached == len(same) else mixed, command))
    return markdown(("goal", "measured", "reached", "command"), rows)


def details(records: Sequence[dict[str, Any]]) -> str:
    """Makes the section of one benchmark, with all its results."""
    parts = [f"### {records[0]['title']}"]
    for record in records:
        on, label = record["machine"], record["name"].partition("-")[2]
        device = f"{on['devices']}, " if on["devices"] else ""
        parts += [
            f"{f'**{label}**: ' if label else ''}`{record['command']}`",
            *(markdown(table["columns"], table["rows"]) for table in record["tables"]),
            "\n".join(f"- {note}" for note in record["notes"]),
            f"{record['date']}, {record['seconds']:g} s, {device}{on['cpu']}, {on['cores']} cores, "
            f"{on['memory_gib']} GiB, jax {on['packages']['jax']}.",
        ]
    return "\n\n".join(part for part in parts if part)


def render(out: pathlib.Path) -> None:
    """Writes the page of all results."""
    paths = sorted(runner.RESULTS.glob("*.json"), key=lambda path: path.stem)
    records = [json.loads(path.read_text()) for path in paths]
    grouped = itertools.groupby(records, lambda record: record["title"])
    sections = [details(list(of)) for _, of in grouped]
    parts = [INTRODUCTION + "\n" + goals(records), DETAILS, *sections]
    out.write_text("\n\n".join(parts) + "\n")
