"""Compares runs: their settings, learning curves and reports."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from etils import epath

from jaxmusic._src.core import outside, paths
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.evaluate import likelihood
from jaxmusic._src.reports import contents, plots, runs, text
from jaxmusic._src.reports.gather import VERSION
from jaxmusic._src.reports.writing import JSON, LIKELIHOOD, render
from jaxmusic._src.runs.folder import EXPERIMENT

REPORT = "report"
"""Folder in a run in which its report is looked for."""
NOTHING, NONE = text.NOT_DEFINED, "no report"
WIDTH = 100
"""Columns of text on a terminal."""
LEADS = {
    "Training": "Size, time, and the loss on songs that were held out, in nats per token: "
    "lower is better, among runs with the same codec and data.",
    "Settings": "Settings that differ; all others are equal.",
    "Likelihood": "How surprised each is by the same held-out songs, with 95 % intervals: fewer "
    "bits are better.",
    "Statistics": "How many standard deviations of real songs the mean is from theirs, with the "
    "floor that real music has; 0 is best.",
    "Songs": "Endings, repetition and the longest passages that songs share with the reference.",
    "Control": "Whether the pieces have what was requested.",
}
"""Explanations of the tables."""
_LIKELIHOOD = ("report", "likelihood")


class Entry(NamedTuple):
    """A run or report in a comparison.

    Attributes:
      name: unique in the comparison.
      run: see `runs.about`; None for songs that no run composed.
      report: its report, or None.
    """

    name: str
    run: dict[str, Any] | None
    report: dict[str, Any] | None


Place = tuple[str, ...]
"""Names that lead to a figure of an entry, such as ``("run", "parameters")``."""
Show = Callable[[Any], str]
Figure = tuple[str, Place, Show]
"""A figure to compare: name, place in an entry, and how it is written."""
Row = tuple[str, ...]
"""Text of a row: its name, and a cell for each entry."""


class Table(NamedTuple):
    """A table of the comparison: title, explanation, rows and a note."""

    title: str
    lead: str
    rows: Sequence[Row]
    note: str = ""


def entries(sources: Sequence[str]) -> list[Entry]:
    """Reads runs and reports.

    Args:
      sources: folders of runs, which may have a report in their folder `REPORT`, and folders of
        reports.

    Raises:
      UserError: there are fewer than two, or one of them is neither.
    """
    if len(sources) < 2:
        raise UserError("Name at least two runs or reports to compare.")
    found = [_entry(source) for source in sources]
    names = [entry.name for entry in found]
    # Those of one name go by their folders.
    names = [
        source.rstrip("/") if names.count(name) > 1 else name
        for name, source in zip(names, sources)
    ]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"Name each run once: {twice[0]} is named twice.")
    return [entry._replace(name=name) for entry, name in zip(found, names)]


def _entry(source: str) -> Entry:
    path = paths.absolute(source)
    if (path / EXPERIMENT).exists():
        kept = path / REPORT / JSON
        return Entry(path.name, runs.about(source), read(kept) if kept.exists() else None)
    file = path if path.suffix == ".json" else path / JSON
    if not file.exists():
        raise UserError(
            f"Name folders of runs or of reports: {source} holds neither {EXPERIMENT} nor {JSON}."
        )
    report = read(file)
    run = report.get("run")
    return Entry(run["name"] if run else file.parent.name, run, report)


def read(file: epath.Path) -> dict[str, Any]:
    """Reads a report; raises UserError where it is none that this library can read."""
    remedy = "Make the report again with jaxmusic evaluate"
    report = outside.read(file, dict[str, Any], remedy)
    if report.get("version") != VERSION:
        raise UserError(f"{remedy}: {file} is of another version.")
    return outside.checked(report, contents.Report, file, remedy)


def tables(found: Sequence[Entry]) -> list[Table]:
    """Returns the tables of a comparison, without empty ones."""
    said = {entry.name: one for entry in found if (one := _at(entry, _LIKELIHOOD))}
    note, figures = "", _figures(found)
    try:
        likelihood.check_comparable(said)
    except UserError as error:
        note = f"Not comparable. {error}"
        figures["Likelihood"] = [("bits", _LIKELIHOOD, lambda _: "not comparable")]
    rows = {title: _rows(found, some) for title, some in figures.items()}
    rows["Settings"] = [row for row in rows["Settings"] if len(set(row[1:])) > 1]
    return [
        Table(title, LEADS[title], some, note if title == "Likelihood" else "")
        for title, some in rows.items()
        if some and (title != "Likelihood" or said)
    ]


def _figures(found: Sequence[Entry]) -> dict[str, list[Figure]]:
    """Lists the figures of each table, by title."""

    def named(*place: str, title: Callable[[str, Any], str], show: Show) -> list[Figure]:
        """Returns a figure for each name that any entry has in a place."""
        values = {n: v for e in reversed(found) for n, v in (_at(e, place) or {}).items()}
        order = dict.fromkeys(name for entry in found for name in _at(entry, place) or {})
        return [(title(name, values[name]), (*place, name), show) for name in order]

    return {
        "Training": [
            ("parameters", ("run", "parameters"), text.number),
            ("steps made", ("run", "steps"), text.number),
            ("time of training", ("run", "seconds"), text.clock),
            ("best validation loss", ("run", "best"), lambda loss: text.number(loss, 4)),
            ("last validation loss", ("run", "last"), lambda loss: text.number(loss, 4)),
            ("dataset", ("run", "dataset"), str),
        ],
        "Settings": named(
            "run", "settings", title=lambda name, _: name, show=lambda value: str(value) or "empty"
        ),
        "Likelihood": [
            (name, (*_LIKELIHOOD, "figures", key), text.interval)
            for key, name in LIKELIHOOD.items()
        ],
        "Statistics": [
            ("told from real music by", ("report", "statistics"), _told),
            *named("report", "statistics", title=lambda _, row: row["title"], show=_away),
        ],
        "Songs": [
            (name, ("report", *place.split()), show)
            for name, place, show in (
                ("songs", "sets ours songs", text.number),
                ("end on the home chord", "endings ours tonic", text.percent),
                ("end cut off", "endings ours cut_off", text.percent),
                ("bars four apart alike", "repetition ours likeness 4", text.number),
                ("bars eight apart alike", "repetition ours likeness 8", text.number),
                ("stuck in one bar", "repetition ours stuck", text.percent),
                ("with a copied passage", "originality ours copied", text.percent),
                ("telling notes, median", "originality ours median", text.number),
                ("telling notes, most", "originality ours most", text.number),
            )
        ],
        "Control": named(
            "report",
            "adherence",
            "controls",
            title=lambda name, part: f"{name}: {_first(part)['name']}",
            show=_asked,
        ),
    }


def _told(statistics: dict[str, Any]) -> str:
    told = [text.near(row) for row in statistics.values()]
    return f"{told.count(False)} of {len(told) - told.count(None)}"


def _away(row: dict[str, Any]) -> str:
    floor = text.number(row["floor"]["difference"], 2)
    return f"{text.number(row['distance']['difference'], 2)}\nfloor {floor}"


def _first(part: dict[str, Any]) -> dict[str, Any]:
    return next(iter(part["figures"]), {"name": NOTHING, "asked": None, "not_asked": None})


def _asked(part: dict[str, Any]) -> str:
    first = _first(part)
    return f"{text.number(first['asked'])}\nnot asked {text.number(first['not_asked'])}"


def _rows(found: Sequence[Entry], figures: Sequence[Figure]) -> list[Row]:
    """Returns rows of figures; none if no entry has the run or report that holds them."""
    here = [figure for figure in figures if any(_at(entry, figure[1][:1]) for entry in found)]
    return [(name, *(_cell(entry, place, show) for entry in found)) for name, place, show in here]


def _cell(entry: Entry, place: Place, show: Show) -> str:
    if (value := _at(entry, place)) is not None:
        return show(value)
    return NONE if place[0] == "report" and entry.report is None else NOTHING


def _at(entry: Entry, place: Place) -> Any:
    """Returns the value at a place of an entry, or None."""
    value: Any = entry._asdict()
    for name in place:
        value = None if value is None else value.get(name)
    return value


def as_html(found: Sequence[Entry]) -> str:
    """Returns the comparison as a page."""
    runs = [{**e.run, "name": e.name} for e in found if e.run]
    return render(
        "compare.html.j2",
        names=[entry.name for entry in found],
        tables=tables(found),
        curves=plots.learning(runs),
    )


def as_text(found: Sequence[Entry]) -> str:
    """Returns the comparison for a terminal: tables with a column for each entry."""
    out = []
    for table in tables(found):
        rows = _aligned([("", *(entry.name for entry in found)), *table.rows])
        parts = [f"{table.title}\n{textwrap.fill(table.lead, WIDTH)}", rows]
        out.append("\n\n".join(parts + [textwrap.fill(table.note, WIDTH)] * bool(table.note)))
    return "\n\n\n".join(out)


def _aligned(rows: Sequence[Row]) -> str:
    """Columns of text, numbers to the right; a second line of a cell stands in brackets."""
    parts = [[cell.split("\n") for cell in row] for row in rows]
    cells = [[a if not b else f"{a} ({', '.join(b)})" for a, *b in row] for row in parts]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for first, *rest in cells:
        line = "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:]))])
        lines.append("  " + line.rstrip())
    return "\n".join(lines)
