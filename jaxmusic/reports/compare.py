"""Comparing runs: what differs between them, how they learned, and what their reports say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from etils import epath

from jaxmusic.core import paths
from jaxmusic.core.errors import UserError
from jaxmusic.evaluate import likelihood
from jaxmusic.reports import page, plots, runs, text
from jaxmusic.reports.gather import VERSION
from jaxmusic.reports.summary import near
from jaxmusic.reports.writing import JSON, LIKELIHOOD
from jaxmusic.runs.folder import EXPERIMENT

REPORT = "report"
"""Folder in a run in which its report is looked for."""
NOTHING = text.NOT_DEFINED
NONE = "no report"


class Entry(NamedTuple):
    """One of those that are compared.

    Attributes:
      name: what it is called; no other has the same name.
      run: what `runs.about` tells of it, None for songs of other makers.
      report: its report, None where there is none.
    """

    name: str
    run: dict[str, Any] | None
    report: dict[str, Any] | None


class Row(NamedTuple):
    """A row of a table: a name, and text for each entry."""

    name: str
    cells: tuple[str, ...]


class Table(NamedTuple):
    """A table of the comparison: a title, what it says, its rows, and what is to be noted."""

    title: str
    lead: str
    rows: tuple[Row, ...]
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
        raise UserError("Name two runs or reports or more, to compare them.")
    found = [_entry(source) for source in sources]
    named = []
    for entry, source in zip(found, sources):
        alike = sum(other.name == entry.name for other in found) > 1
        named.append(entry._replace(name=source.rstrip("/")) if alike else entry)
    for i, entry in enumerate(named):
        if any(other.name == entry.name for other in named[:i]):
            raise UserError(f"Name each run once: {entry.name} is named twice.")
    return named


def _entry(source: str) -> Entry:
    path = paths.absolute(source)
    if (path / EXPERIMENT).exists():
        kept = path / REPORT / JSON
        report = read(kept) if kept.exists() else None
        return Entry(path.name, runs.about(source), report)
    file = path if path.suffix == ".json" else path / JSON
    if not file.exists():
        raise UserError(
            f"Name folders of runs or of reports: {source} holds neither {EXPERIMENT} nor {JSON}."
        )
    report = read(file)
    run = report.get("run")
    name = run["name"] if run else file.parent.name
    return Entry(name, run, report)


def read(file: epath.Path) -> dict[str, Any]:
    """Reads a report; raises UserError where it is none that this library can read."""
    try:
        report = json.loads(file.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"Make {file} again with jaxmusic evaluate: it is no JSON.") from error
    if not isinstance(report, dict) or report.get("version") != VERSION:
        raise UserError(f"Make {file} again with jaxmusic evaluate: it is of another version.")
    return report


def tables(found: Sequence[Entry]) -> list[Table]:
    """All tables of a comparison; those of which nothing is known are left out."""
    made = [_training(found), _settings(found), _likelihood(found), _statistics(found)]
    made += [_songs(found), _control(found)]
    return [table for table in made if table.rows]


def _training(found: Sequence[Entry]) -> Table:
    kinds: list[tuple[str, str, Callable[[Any], str]]] = [
        ("parameters", "parameters", text.number),
        ("steps made", "steps", text.number),
        ("time of training", "seconds", text.clock),
        ("best validation loss", "best", lambda x: text.number(x, 4)),
        ("last validation loss", "last", lambda x: text.number(x, 4)),
        ("dataset", "dataset", lambda x: x or NOTHING),
    ]
    rows = [
        Row(name, tuple(show((e.run or {}).get(key)) for e in found)) for name, key, show in kinds
    ]
    return Table(
        "Training",
        "Size, time, and the loss on songs that were held out, in nats for a token: the lower, "
        "the better, among runs with the same codec and data.",
        tuple(rows) if any(e.run for e in found) else (),
    )


def _settings(found: Sequence[Entry]) -> Table:
    known = [e.run["settings"] if e.run and e.run["settings"] else {} for e in found]
    names = list(dict.fromkeys(name for values in known for name in values))
    rows = []
    for name in names:
        cells = [text.readable(values[name]) if name in values else NOTHING for values in known]
        if len(set(cells)) > 1:
            rows.append(Row(name, tuple(cell or "empty" for cell in cells)))
    return Table("Settings", "Settings in which they differ; all others are the same.", tuple(rows))


def _likelihood(found: Sequence[Entry]) -> Table:
    known = {
        e.name: e.report["likelihood"] for e in found if e.report and e.report.get("likelihood")
    }
    note = ""
    try:
        likelihood.check_comparable(known)
    except UserError as error:
        note = f"Not comparable. {error}"
    rows = []
    for key, title in LIKELIHOOD.items() if known and not note else ():
        cells = [known[e.name]["figures"][key] if e.name in known else None for e in found]
        rows.append(
            Row(title, tuple(text.interval(c) if c else missing(e) for c, e in zip(cells, found)))
        )
    if note:
        rows = [
            Row("bits", tuple("not comparable" if e.name in known else missing(e) for e in found))
        ]
    return Table(
        "Likelihood",
        "How surprised each is by the same held-out songs, with 95 % intervals: fewer bits are "
        "better.",
        tuple(rows),
        note,
    )


def _statistics(found: Sequence[Entry]) -> Table:
    reports = [e.report for e in found]
    names = list(dict.fromkeys(n for r in reports if r for n in r["statistics"]))
    rows = []
    for name in names:
        known = [r["statistics"].get(name) if r else None for r in reports]
        title = next(k["title"] for k in known if k)
        rows.append(Row(title, tuple(_away(k) if k else missing(e) for k, e in zip(known, found))))
    told = [[near(k) for k in r["statistics"].values()] if r else [] for r in reports]
    counts = [f"{t.count(False)} of {len(t) - t.count(None)}" if t else NONE for t in told]
    if rows:
        rows.insert(0, Row("told from real music by", tuple(counts)))
    return Table(
        "Statistics",
        "How many standard deviations of real songs the mean is from theirs, with the floor that "
        "real music has; 0 is best.",
        tuple(rows),
    )


def _away(row: dict[str, Any]) -> str:
    away, floor = row["distance"]["difference"], row["floor"]["difference"]
    return f"{text.number(away, 2)}\nfloor {text.number(floor, 2)}"


def _songs(found: Sequence[Entry]) -> Table:
    kinds: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("songs", lambda r: text.number(r["sets"]["ours"]["songs"])),
        ("end on the home chord", lambda r: text.percent(r["endings"]["ours"]["tonic"])),
        ("end cut off", lambda r: text.percent(r["endings"]["ours"]["cut_off"])),
        ("bars four apart alike", lambda r: text.number(r["repetition"]["ours"]["likeness"]["4"])),
        ("bars eight apart alike", lambda r: text.number(r["repetition"]["ours"]["likeness"]["8"])),
        ("stuck in one bar", lambda r: text.percent(r["repetition"]["ours"]["stuck"])),
        ("with a copied passage", lambda r: text.percent(r["originality"]["ours"]["copied"])),
        ("telling notes, median", lambda r: text.number(r["originality"]["ours"]["median"])),
        ("telling notes, most", lambda r: text.number(r["originality"]["ours"]["most"])),
    ]
    rows = [
        Row(name, tuple(show(e.report) if e.report else NONE for e in found))
        for name, show in kinds
    ]
    return Table(
        "Songs",
        "Endings, repetition and the longest passages that songs share with the reference.",
        tuple(rows) if any(e.report for e in found) else (),
    )


def _control(found: Sequence[Entry]) -> Table:
    parts = [(e.report or {}).get("adherence", {}).get("controls", {}) for e in found]
    rows = []
    for control in dict.fromkeys(name for part in parts for name in part):
        known = [part[control]["figures"][0] if control in part else None for part in parts]
        title = f"{control}: {next(k['name'] for k in known if k)}"
        cells = [
            f"{text.number(k['asked'])}\nnot asked {text.number(k['not_asked'])}"
            if k
            else missing(e)
            for k, e in zip(known, found)
        ]
        rows.append(Row(title, tuple(cells)))
    return Table("Control", "Whether what was asked for was played.", tuple(rows))


def missing(entry: Entry) -> str:
    """What stands for a figure that an entry has not."""
    return NOTHING if entry.report else NONE


def html(found: Sequence[Entry]) -> str:
    """Returns the comparison as a page."""
    made = tables(found)
    names = ", ".join(entry.name for entry in found)
    return page.render(
        "compare.html.j2",
        title="Comparison",
        lead=f"Side by side: {names}.",
        sections=[table.title for table in made],
        head=("", *(entry.name for entry in found)),
        tables=[
            table._asdict() | {"rows": [(row.name, *row.cells) for row in table.rows]}
            for table in made
        ],
        curves=_curves(found),
    )


def _curves(found: Sequence[Entry]) -> plots.Picture | None:
    known = {
        e.name: (e.run["training"], e.run["validation"])
        for e in found
        if e.run and (e.run["training"] or e.run["validation"])
    }
    if not known:
        return None
    last = ((name, both[1][-1][1] if both[1] else None) for name, both in known.items())
    alt = "Learning curves; last validation loss: " + ", ".join(
        f"{name} {NOTHING if loss is None else f'{loss:.4g}'}" for name, loss in last
    )
    return plots.curves(known, alt, "Loss by step: thin lines are training, dots validation.")
