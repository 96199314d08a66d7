"""Writes a report: report.json, report.html, and the pieces that were composed."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tqdm.auto import tqdm

from jaxmusic.formats import files
from jaxmusic.formats.saving import save
from jaxmusic.reports import page, pictures, summary
from jaxmusic.reports.figures import ENDINGS, LIKE, SHARES
from jaxmusic.reports.gather import Gathered
from jaxmusic.reports.text import NOT_DEFINED, clock, interval, number, percent

JSON, HTML, PIECES = "report.json", "report.html", "pieces"
LIKELIHOOD = {
    "bits_per_note": "bits per note",
    "bits_per_second": "bits per second",
    "bits_per_bar": "bits per bar",
    "nats_per_token": "nats per token",
}
"""Figures of a likelihood and their names."""
MOST_ROWS = 20
"""Songs whose longest passages are listed, the longest ones."""
SIDES = {"ours": "these songs", "real": "real music"}
SECTIONS = (
    *("In short", "Likelihood", "Statistics", "Form", "Notes", "Repetition and endings"),
    *("Control", "Originality", "Learning", "How this was made"),
)
OF_MODELS = ("Likelihood", "Control", "Learning")
"""Sections that a report on songs lacks."""

Rows = list[tuple[str, ...]]


def write(found: Gathered, out: str, progress: bool = True) -> list[pathlib.Path]:
    """Writes a report into a folder, which is made where there is none.

    Composed pieces are written beside it as MIDI files.

    Returns:
      The JSON file and the page.

    Raises:
      UserError: the folder cannot be written to.
    """
    folder = pathlib.Path(out).expanduser()
    if found.report["kind"] == "model":
        composed = {song.name: song.notes for song in found.ours.songs} | found.asked
        for name, notes in composed.items():
            files.write(notes, folder / PIECES / f"{name.replace(' ', '-')}.mid")
    save(folder / JSON, to_json(found.report).encode())
    save(folder / HTML, html(found, progress).encode())
    return [folder / JSON, folder / HTML]


def to_json(report: dict[str, Any]) -> str:
    """Returns a report as JSON, without numbers that JSON does not have."""
    return json.dumps(report, indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def html(found: Gathered, progress: bool = False) -> str:
    """Returns the page of a report."""
    report = found.report
    of_model = report["kind"] == "model"
    title = report["run"]["name"] if of_model else pathlib.Path(report["songs"]).name
    lead = (
        f"{report['sets']['ours']['songs']} pieces that the model of step {report['run']['step']} "
        f"composed, beside {report['sets']['real']['songs']} of the songs it was trained on, and "
        f"{report['held_out']['songs']} songs that were held out ({report['split']})."
        if of_model
        else f"{report['sets']['ours']['songs']} songs of {report['songs']}, beside "
        f"{report['sets']['real']['songs']} of {report['reference']}."
    )
    makers = tqdm(pictures.MAKERS.items(), "drawing", delay=2, disable=not progress)
    drawn = {name: make(found) for name, make in makers}
    known = [match for _, match in found.matches if match.passage and match.source]
    longest = max(known, key=lambda match: match.telling).describe() if known else ""
    return page.render(
        "report.html.j2",
        title=f"Report on {title}",
        lead=lead,
        sections=[name for name in SECTIONS if of_model or name not in OF_MODELS],
        report=report,
        in_short=summary.in_short(report),
        near=f"{summary.NEAR:g}",
        tables=_tables(report),
        pictures=drawn,
        longest=longest,
    )


def _tables(report: dict[str, Any]) -> dict[str, Rows]:
    """Returns the rows of all tables, as text."""
    tables: dict[str, Rows] = {
        "sets": [_set(report["sets"][side], name) for side, name in SIDES.items()],
        "skipped": [
            (file["name"], name, file["reason"], file["detail"])
            for side, name in (("ours", "songs"), ("real", "reference"))
            for file in report["sets"][side]["skipped"]
        ],
        "statistics": [_statistic(row) for row in report["statistics"].values()],
        "repetition": _repetition(report["repetition"]),
        "endings": [
            (words, *map(percent if name in SHARES else number, _both(report["endings"], name)))
            for name, words in ENDINGS.items()
        ],
        "originality": [_originality(report["originality"][s], name) for s, name in SIDES.items()],
        "passages": [_passage(song) for song in _longest(report)],
        "settings": [
            *((name, str(value)) for name, value in report["settings"].items()),
            *((f"{n} (sampling)", str(v)) for n, v in report.get("sampling", {}).items()),
        ],
    }
    return tables | (_of_model(report) if report["kind"] == "model" else {})


def _both(found: dict[str, Any], name: str) -> list[Any]:
    return [found[side][name] for side in SIDES]


def _set(found: dict[str, Any], name: str) -> tuple[str, ...]:
    lengths = [clock(x) for x in found["seconds"] or (None, None, None)]
    skipped = number(len(found["skipped"]))
    return name, number(found["songs"]), number(found["notes"]), *lengths, skipped


def _statistic(row: dict[str, Any]) -> tuple[str, ...]:
    title = row["title"] + (f", {row['unit']}" if row["unit"] else "")
    means = ["see the plot"] * 2
    if not row["kinds"]:
        means = [
            _mean(row["mean"], row["deviation"]),
            _mean(row["reference_mean"], row["reference_deviation"]),
        ]
    pairs = [
        f"{number(row['distance'][figure], 2)}\nfloor {number(row['floor'][figure], 2)}"
        for figure in ("difference", "overlap", "divergence")
    ]
    told = {True: "no", False: "yes", None: NOT_DEFINED}[summary.near(row)]
    return f"{title}\n{row['meaning']}", *means, *pairs, told


def _mean(mean: float | None, deviation: float | None) -> str:
    return number(mean) + ("" if deviation is None else f"\n± {number(deviation, 2)}")


def _repetition(sides: dict[str, Any]) -> Rows:
    found = [sides[side] for side in SIDES]
    return [
        ("similarity of bars four apart", *(number(s["likeness"]["4"]) for s in found)),
        ("similarity of bars eight apart", *(number(s["likeness"]["8"]) for s in found)),
        ("most equal bars in a row, in any song", *(number(s["longest_run"]) for s in found)),
        (f"songs with more than {LIKE} equal bars in a row", *(percent(s["stuck"]) for s in found)),
    ]


def _originality(found: dict[str, Any], name: str) -> tuple[str, ...]:
    figures = (len(found["songs"]), found["median"], found["most"])
    return name, *(number(value) for value in figures), percent(found["copied"])


def _longest(report: dict[str, Any]) -> list[dict[str, Any]]:
    songs = report["originality"]["ours"]["songs"]
    return sorted(songs, key=lambda song: -song["telling"])[:MOST_ROWS]


def _passage(song: dict[str, Any]) -> tuple[str, ...]:
    figures = number(song["telling"]), number(song["bars"]), clock(song["seconds"])
    return song["name"], *figures, percent(song["share"]), song["of"]


def _of_model(report: dict[str, Any]) -> dict[str, Rows]:
    """Returns the rows of tables that only a model has."""
    said, run, adherence = report["likelihood"], report["run"], report["adherence"]
    kinds = sorted(said["by_kind"].items(), key=lambda pair: -(pair[1]["share"] or 0))
    control: Rows = [
        (
            f"{name}: {figure['name']}" if not i else f"… {figure['name']}",
            number(part["pieces"]),
            number(figure["asked"]),
            number(figure["not_asked"]),
            "exact" if part["exact"] else number(figure["finder"]),
        )
        for name, part in adherence["controls"].items()
        for i, figure in enumerate(part["figures"])
    ]
    return {
        "likelihood": [(name, interval(said["figures"][key])) for key, name in LIKELIHOOD.items()],
        "styles": [
            (name, number(style["pieces"]), interval(style["figures"]["bits_per_note"]))
            for name, style in said["by_style"].items()
        ],
        "kinds": [
            (name, number(k["tokens"]), number(k["nats_per_token"]), percent(k["share"]))
            for name, k in kinds
        ],
        "control": control,
        "refused": [(one["song"], one["reason"]) for one in adherence["refused"]],
        "run": [
            ("parameters", number(run["parameters"])),
            ("steps made", number(run["steps"])),
            ("step of the checkpoint", number(run["step"])),
            ("time of training", clock(run["seconds"])),
            ("best validation loss", number(run["best"], 4)),
            ("last validation loss", number(run["last"], 4)),
            ("dataset", run["dataset"]),
            ("controls it was trained with", ", ".join(run["controls"]) or "none"),
        ],
    }
