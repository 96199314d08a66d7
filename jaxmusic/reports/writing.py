"""Writing a report: report.json, report.html, and the pieces that were composed."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tqdm.auto import tqdm

from jaxmusic.formats import files
from jaxmusic.formats.saving import save
from jaxmusic.reports import model_sections, page, sections, song_sections
from jaxmusic.reports.gather import Gathered
from jaxmusic.reports.page import Section, escape

JSON, HTML, PIECES = "report.json", "report.html", "pieces"


def write(found: Gathered, out: str, progress: bool = True) -> list[pathlib.Path]:
    """Writes a report into a folder, which is made where there is none.

    What a model composed is written beside it as MIDI files.

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
    """A report as JSON, without numbers that JSON does not have."""
    return json.dumps(report, indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def html(found: Gathered, progress: bool = False) -> str:
    """The page of a report."""
    report = found.report
    of_model = report["kind"] == "model"
    makers = [sections.about]
    makers += [model_sections.likelihood] if of_model else []
    makers += [sections.statistics, song_sections.structures, song_sections.rolls]
    makers += [song_sections.repetition]
    makers += [model_sections.adherence] if of_model else []
    makers += [song_sections.originality]
    makers += [model_sections.learning] if of_model else []
    shown = tqdm(makers, "writing", unit=" sections", delay=2, disable=not progress)
    parts = [make(found) for make in shown]
    title = report["run"]["name"] if of_model else pathlib.Path(report["songs"]).name
    lead = (
        f"{report['sets']['ours']['songs']} pieces that the model of step {report['run']['step']} "
        f"composed, beside {report['sets']['real']['songs']} of the songs it was trained on, and "
        f"{report['held_out']['songs']} songs that were held out ({report['split']})."
        if of_model
        else f"{report['sets']['ours']['songs']} songs of {report['songs']}, beside "
        f"{report['sets']['real']['songs']} of {report['reference']}."
    )
    return page.page(f"Report on {title}", lead, [*parts, _how(report)])


def _how(report: dict[str, Any]) -> Section:
    """How the report was made."""
    rows = [(escape(name), escape(value)) for name, value in report["settings"].items()]
    rows += [(f"{escape(n)} (sampling)", escape(v)) for n, v in report.get("sampling", {}).items()]
    body = page.table("Settings", ("setting", "value"), rows)
    body += (
        f"<p class='soft'>Made by jaxmusic {escape(report['jaxmusic'])}. The same command gives "
        f"the same report. All figures are in {JSON} beside this page.</p>"
    )
    if report["kind"] == "model":
        body += f"<p class='soft'>What was composed is in the folder {PIECES}, as MIDI.</p>"
    return Section(
        "How this was made",
        "The settings of this report, by which it can be made again.",
        body,
    )
