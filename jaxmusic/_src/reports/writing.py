"""Writes a report: report.json, report.html and the composed pieces."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from jaxmusic._src.formats.saving import save
from jaxmusic._src.reports import figures, listening, plots, text, verdict
from jaxmusic._src.reports.gather import Gathered

if TYPE_CHECKING:
    import jinja2

JSON, HTML, PIECES = "report.json", "report.html", "pieces"
LIKELIHOOD = {
    "bits_per_note": "bits per note",
    "bits_per_second": "bits per second",
    "bits_per_bar": "bits per bar",
    "nats_per_token": "nats per token",
}
"""Figures of a likelihood and their names."""
SIDES = {"ours": "these songs", "real": "real music"}
TEMPLATES = pathlib.Path(__file__).parent / "templates"


def write(found: Gathered, out: str, progress: bool = True) -> list[pathlib.Path]:
    """Writes a report into a folder, which is created if needed.

    Composed pieces, or the songs that are shown, are written beside it as MIDI; songs that are
    shown as audio too.

    Returns:
      The JSON file and the page.

    Raises:
      UserError: the folder cannot be written to.
    """
    folder = pathlib.Path(out).expanduser()
    listen = listening.write(found, folder / PIECES, progress)
    save(folder / JSON, to_json(found.report).encode())
    save(folder / HTML, html(found, listen, progress).encode())
    return [folder / JSON, folder / HTML]


def to_json(report: dict[str, Any]) -> str:
    """Returns a report as strict JSON."""
    return json.dumps(report, indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def html(found: Gathered, listen: listening.Listen, progress: bool = False) -> str:
    """Returns the HTML page of a report, with links to the files of `listen`."""
    shown = tqdm(plots.PLOTS.items(), "drawing", delay=2, disable=not progress)
    return render(
        "report.html.j2",
        report=found.report,
        listen=listen,
        shares=[title for title, _ in verdict.SHARES.values()],
        plots={name: plot(found) for name, plot in shown},
    )


def render(template: str, **context: Any) -> str:
    """Renders a template as self-contained HTML, style sheet included."""
    return _environment().get_template(template).render(**context)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_readable,
    )
    made.filters |= {
        "number": text.number,
        "percent": text.percent,
        "clock": text.clock,
        "interval": text.interval,
        "near": text.near,
        "id": lambda title: "".join(c if c.isalnum() else "-" for c in title.lower()),
    }
    made.globals |= {
        "style": (TEMPLATES / "style.css").read_text(),
        "not_defined": text.NOT_DEFINED,
        "nearest": f"{text.NEAR:g}",
        "sides": SIDES,
        "likelihoods": LIKELIHOOD,
        "figures": figures,
        "rule": verdict,
        "lights": verdict.LIGHTS,
        "number": text.number,
        "percent": text.percent,
    }
    return made


def _readable(value: Any) -> Any:
    """Makes text encodable in UTF-8, except HTML."""
    plain = isinstance(value, str) and not hasattr(value, "__html__")
    return text.readable(value) if plain else value
