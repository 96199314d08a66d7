"""Pages from templates: HTML that stands alone, with style sheet and pictures inside."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

from jaxmusic.reports import text

FOLDER = pathlib.Path(__file__).parent / "templates"


def _readable(value: Any) -> Any:
    # What is HTML already stays so.
    return (
        text.readable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
    )


@functools.cache
def _environment() -> Any:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
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
        "id": lambda title: "".join(c if c.isalnum() else "-" for c in title.lower()),
    }
    made.globals |= {
        "style": (FOLDER / "style.css").read_text(),
        "not_defined": text.NOT_DEFINED,
    }
    return made


def render(template: str, **context: Any) -> str:
    """Fills in a template of this room."""
    return _environment().get_template(template).render(**context)
