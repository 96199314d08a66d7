"""Sections of a report that only a model has: likelihood, control, learning."""

from __future__ import annotations

from typing import Any

from jaxmusic.reports import page, plots
from jaxmusic.reports.gather import Gathered
from jaxmusic.reports.page import Section, escape, number

FIGURES = {
    "bits_per_note": "bits for a note",
    "bits_per_second": "bits for a second",
    "bits_per_bar": "bits for a bar",
    "nats_per_token": "nats for a token",
}


def likelihood(found: Gathered) -> Section:
    """How well the model foretells held-out songs."""
    said = found.report["likelihood"]
    rows = [(name, page.interval(said["figures"][key])) for key, name in FIGURES.items()]
    body = page.table(
        f"{said['pieces']} held-out songs, with 95 % intervals over songs", ("", "value"), rows
    )
    styles = [
        (escape(name), number(s["pieces"]), page.interval(s["figures"]["bits_per_note"]))
        for name, s in said["by_style"].items()
    ]
    if len(styles) > 1:
        body += page.table("By style", ("style", "songs", "bits for a note"), styles)
    spans = [row for row in said["by_position"] if row["bits_per_note"] is not None]
    if spans:
        points = [(_span(r), r["bits_per_note"], r["low"], r["high"]) for r in spans]
        alt = f"Bits for a note by place in the song, in {said['unit']}: " + ", ".join(
            f"{name}: {value:.2f}" for name, value, *_ in points
        )
        told = "The further into a song, the more the model has heard of it. The band is the 95 % "
        told += f"interval over songs. Places are {escape(said['unit'])}."
        body += page.figure(plots.banded(points, "bits for a note", alt), told, "wide")
    kinds = sorted(said["by_kind"].items(), key=lambda pair: -(pair[1]["share"] or 0))
    if kinds:
        shares = [(name, 100 * (kind["share"] or 0)) for name, kind in kinds]
        alt = "Share of all bits by kind of token: " + ", ".join(
            f"{name} {share:.0f} %" for name, share in shares
        )
        told = "What is hardest to foretell: the share that each kind of token has of all bits."
        body += page.figure(plots.bars(shares, "percent of all bits", alt), told, "wide")
        table = [
            (
                escape(name),
                number(k["tokens"]),
                number(k["nats_per_token"]),
                page.percent(k["share"]),
            )
            for name, k in kinds
        ]
        head = ("kind of token", "tokens", "nats for a token", "share of all")
        body += page.table("By kind of token", head, table)
    body += (
        f"<p class='soft'>Codec {escape(said['codec'])}, {escape(said['resolution'])}, context "
        f"{said['context']}. Bits compare only at the same resolution and on the same songs.</p>"
    )
    return Section(
        "Likelihood",
        "How surprised the model is by songs that it did not learn from: the fewer bits it needs, "
        "the better it foretells them. This says how well it learned, not how its own songs sound.",
        body,
    )


def _span(row: dict[str, Any]) -> str:
    first, last = row["first_bar"], row["last_bar"]
    return f"{first}" if first == last else f"{first}–{last}"


def adherence(found: Gathered) -> Section:
    """Whether the model does what it is asked."""
    said = found.report["adherence"]
    rows = []
    for control, part in said["controls"].items():
        for i, figure in enumerate(part["figures"]):
            name = f"{escape(control)}: {escape(figure['name'])}" if not i else "… "
            name += "" if not i else escape(figure["name"])
            finder = "exact" if part["exact"] else number(figure["finder"])
            cells = (number(part["pieces"]), number(figure["asked"]), number(figure["not_asked"]))
            rows.append((name, *cells, finder))
    head = ("control", "pieces", "asked", "not asked", "finder on real songs")
    body = page.table(
        f"Pieces of {said['duration']} with the wishes of {len(said['songs'])} held-out songs",
        head,
        rows,
    )
    body += (
        "<p>Unless it says otherwise a figure is a share, and 1 is best. Pieces that were <b>not "
        "asked</b> are compared with each wish all the same: that is what chance gives. Key and "
        "chords are inferred from the notes, which errs; the <b>finder</b>'s column says what it "
        "reaches on real songs whose labels did not come from it. That is not defined where the "
        "dataset's own labels were found in the notes. What is read off the notes is exact.</p>"
    )
    if said["refused"]:
        refused = [(escape(r["song"]), escape(r["reason"])) for r in said["refused"]]
        body += page.table("Songs that cannot be asked for", ("song", "why"), refused, words=(1,))
    if not rows:
        body = f"<p>{number(None)}: nothing was asked for.</p>"
    return Section(
        "Control",
        "Whether the model plays what it is asked for: each piece was asked for the tempo, meter, "
        "key, chords, instruments and density of a song that was held out, all at once.",
        body,
    )


def learning(found: Gathered) -> Section:
    """The learning curve and what was trained."""
    run = found.report["run"]
    if run["training"] or run["validation"]:
        alt = f"Loss over {run['steps']} steps; "
        alt += f"validation {run['validation'][0][1]:.3g} at first, " if run["validation"] else ""
        alt += f"best {run['best']:.3g}." if run["best"] is not None else "no validation."
        curve = plots.curves({run["name"]: (run["training"], run["validation"])}, alt)
        told = f"{page.real('Training')} loss and {page.ours('validation')} loss."
        body = page.figure(curve, told, "wide")
    else:
        body = f"<p>{number(None)}: the file of a model has no log.</p>"
    rows = [
        ("parameters", number(run["parameters"])),
        ("steps made", number(run["steps"])),
        ("step of the checkpoint", number(run["step"])),
        ("time of training", page.clock(run["seconds"])),
        ("best validation loss", number(run["best"], 4)),
        ("last validation loss", number(run["last"], 4)),
        ("dataset", escape(run["dataset"])),
        ("controls it was trained with", escape(", ".join(run["controls"]) or "none")),
    ]
    body += page.table("The run", ("", "value"), rows)
    return Section(
        "Learning",
        "The loss while the model was trained: how surprised it was by what it learned from, and "
        "by songs held out. Where the second one rises again, it begins to learn by heart.",
        body,
    )
