"""Pages: HTML that stands alone, in light and dark, wide and narrow, with what a reader needs."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

NOT_DEFINED = "not defined"
NAME = "FIGURE-"
"""Begins names inside of a picture; on a page each picture has a number in its place."""
STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #55595f; --line: #d5d8dc;
  --paper: #ffffff; --card: #f5f6f8; --ours: #b84a00; --real: #0a66a8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9eaec; --soft: #a9aeb6; --line: #3f444c;
  --paper: #15171a; --card: #1f2226; --ours: #ff9e63; --real: #6fb7f2; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1rem 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .5rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .25rem; }
p, ul { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--real); }
nav ul { padding-left: 1.2rem; columns: 15rem; }
.lead { font-size: 1.05rem; }
.soft, figcaption, small { color: var(--soft); font-size: .875rem; }
small { display: block; font-weight: normal; }
.ours { color: var(--ours); font-weight: 600; } .real { color: var(--real); font-weight: 600; }
.scroll { overflow-x: auto; margin: .75rem 0; }
.scroll:focus-visible { outline: 2px solid var(--real); }
table { border-collapse: collapse; font-size: .925rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { vertical-align: bottom; }
tbody th { font-weight: 600; min-width: 9rem; max-width: 24rem; overflow-wrap: anywhere; }
td.words { text-align: left; min-width: 9rem; white-space: normal; overflow-wrap: anywhere; }
.none { color: var(--soft); font-style: italic; }
figure { margin: 0; padding: .75rem; background: var(--card); border-radius: .5rem;
  min-width: 0; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); }
figure svg text { font-family: inherit !important; }
figure img { display: block; max-width: none; width: 100%; min-width: 56rem; background: #fff; }
figure.wide { margin: .75rem 0; max-width: 46rem; }
figure.paper { margin: .75rem 0; }
.grid { display: grid; gap: .75rem; margin: .75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
@media print { body { max-width: none; } figure, tr { break-inside: avoid; } }
"""


class Section(NamedTuple):
    """A section of a page.

    Attributes:
      title: its heading.
      lead: one or two plain sentences: what it says, and how to read it.
      body: HTML.
    """

    title: str
    lead: str
    body: str


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """A whole page; title and leads are text, bodies are HTML."""
    links = "".join(f'<li><a href="#{_id(s.title)}">{escape(s.title)}</a></li>' for s in sections)
    parts = "".join(
        f'<section aria-labelledby="{_id(s.title)}"><h2 id="{_id(s.title)}">{escape(s.title)}</h2>'
        f'<p class="lead">{escape(s.lead)}</p>{s.body}</section>\n'
        for s in sections
    )
    before, *pictures = parts.split("<svg ")
    numbered = [part.replace(NAME, f"f{number}-") for number, part in enumerate(pictures)]
    parts = "<svg ".join([before, *numbered])
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><header>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p></header>\n'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>{parts}</main></body></html>\n'
    )


def escape(text: object) -> str:
    """Text as HTML, with what is no text made readable."""
    return html.escape(str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def number(value: float | None, digits: int = 3) -> str:
    """A number in a few digits, as HTML; None is not defined."""
    if value is None:
        return f'<span class="none">{NOT_DEFINED}</span>'
    if isinstance(value, int) or abs(value) >= 10 ** (digits + 1):
        return f"{value:,.0f}".replace("-", "−")
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = f"{value:.{digits}f}".rstrip("0").rstrip(".").replace("-0", "0")
    return text.replace("-", "−")


def percent(value: float | None) -> str:
    """A share as HTML."""
    return number(None) if value is None else f"{100 * value:.0f} %"


def clock(seconds: float | None) -> str:
    """Seconds as minutes and seconds, or hours and minutes, as HTML."""
    if seconds is None:
        return number(None)
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}:{whole // 60 % 60:02} h"
    return f"{whole // 60}:{whole % 60:02} min"


def interval(found: dict[str, Any], digits: int = 3, beside: bool = False) -> str:
    """A value with its 95 % interval, below it or beside it in brackets, as HTML."""
    text = number(found["value"], digits)
    if found["low"] is None or found["high"] is None:
        return text
    low, high = number(found["low"], digits), number(found["high"], digits)
    return f"{text} ({low} to {high})" if beside else f"{text} <small>{low} to {high}</small>"


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = ()
) -> str:
    """A table whose first column names the rows.

    Args:
      caption: text.
      head: HTML of the column headings.
      rows: HTML of the cells.
      words: numbers of columns that hold words.
    """
    heading = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = []
    for first, *rest in rows:
        cells = "".join(
            f"<td{' class=' + chr(34) + 'words' + chr(34) if i in words else ''}>{cell}</td>"
            for i, cell in enumerate(rest, 1)
        )
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    label = escape(caption)
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>'
        f"<caption>{label}</caption><thead><tr>{heading}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def figure(picture: str, caption: str, kind: str = "") -> str:
    """A figure: HTML of a picture, and HTML of what stands below it."""
    shown = f' class="{kind}"' if kind else ""
    if kind == "paper":
        picture = f'<div class="scroll" role="region" aria-label="Picture" tabindex="0">{picture}'
        picture += "</div>"
    return f"<figure{shown}>{picture}<figcaption>{caption}</figcaption></figure>"


def grid(figures: Iterable[str]) -> str:
    """Figures side by side as far as there is room."""
    return f'<div class="grid">{"".join(figures)}</div>'


def ours(text: str) -> str:
    """Text in the colour of what the report is about, as HTML."""
    return f'<span class="ours">{escape(text)}</span>'


def real(text: str) -> str:
    """Text in the colour of real music, as HTML."""
    return f'<span class="real">{escape(text)}</span>'


def _id(title: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in title.lower())
