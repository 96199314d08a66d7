"""Judges how close songs are to real ones, in words and traffic lights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxmusic._src.reports import text

NEEDED = 16
"""Pieces needed for a finding: the mean of 16 real pieces is within half a standard deviation,
`NEAR`, of the mean of all in 95 of 100 sets (1.96 / sqrt(16) = 0.49)."""
NEAR, FAR = 0.5, 1.5
"""Difference of means, in standard deviations of real pieces: a light is green up to the first
limit, red above the second."""
MOST, FEW = 0.8, 0.5
"""Share of pieces within the middle 95 % of real ones: a light needs the first limit to be green,
and is red below the second."""
POINTS = (0.1, 0.3)
"""The limits of green and red for shares of pieces, such as those that end on the tonic chord."""
LINES = 5
"""Maximum sentences of a verdict; the table of lights has all findings."""
LIGHTS = {
    "green": "like real music",
    "amber": "somewhat off",
    "red": "far off",
    "none": f"fewer than {NEEDED} pieces",
}
"""Lights and their meanings."""
_TOO = {"amber": "somewhat too", "red": "far too"}
_LONGER = "train longer, or with a higher data.context"
_CALMER, _FREER = "train longer, or lower --temperature", "raise --temperature or --top-p"


class Aspect(NamedTuple):
    """A property that is judged.

    Attributes:
      name: in the table of lights.
      low, high: what songs with too little or too much of it do; {} stands for the degree.
      more, less: advice for a model with too little or too much.
    """

    name: str
    low: str
    high: str
    more: str
    less: str


ASPECTS = {
    "bar_similarity_4": Aspect(
        "repetition", "repeats {} little", "repeats {} much", _LONGER, _FREER
    ),
    "structureness_long": Aspect(
        "form", "brings passages back {} little", "brings passages back {} much", _LONGER, _FREER
    ),
    "scale_consistency": Aspect(
        "key", "keeps {} little to a scale", "keeps {} much to a scale", _CALMER, _FREER
    ),
    "groove_consistency": Aspect(
        "rhythm", "keeps {} little to a rhythm", "keeps {} much to a rhythm", _CALMER, _FREER
    ),
    "notes_per_second": Aspect(
        *("notes", "has {} few notes", "has {} many notes"), _CALMER, "request a lower density"
    ),
    "polyphony": Aspect("texture", "sounds {} thin", "sounds {} thick", _CALMER, _CALMER),
    "pitch_range": Aspect("range", "has {} narrow a range", "has {} wide a range", _FREER, _CALMER),
    "velocity_range": Aspect(
        *("dynamics", "is {} even in loudness", "is {} uneven in loudness"), _FREER, _CALMER
    ),
    "tempo": Aspect("tempo", "is {} slow", "is {} fast", "request a tempo", "request a tempo"),
    "instruments": Aspect(
        *("instruments", "has {} few instruments", "has {} many instruments"),
        *("request instruments", "request instruments"),
    ),
}
"""Statistics that are judged, in the order of the table."""
SHARES = {
    "endings tonic": (
        "songs that end on the tonic chord",
        Aspect("ending", "ends {} rarely on the tonic chord", "", _LONGER, ""),
    ),
    "originality copied": (
        "songs with a copied passage",
        Aspect(
            *("originality", "", "copies {} often", ""),
            "train on more music or for fewer steps, or compose with --originality 28",
        ),
    ),
}
"""Shares of songs that are judged, with titles, by their places in a report. Too much or too little
is no fault if there are no words for it."""


def of(report: dict[str, Any]) -> dict[str, Any]:
    """Judges a report.

    Returns:
      needed: pieces for a finding; lines: the verdict in sentences, the worst first; findings: for
      each aspect its light (see `LIGHTS`), title, means of both sets, standardised difference of
      the means, share of pieces within the middle 95 % of real ones, and a sentence or "".
    """
    findings = [_statistic(report, name, aspect) for name, aspect in ASPECTS.items()]
    findings += [_share(report, place.split(), *row) for place, row in SHARES.items()]
    order = ("red", "amber")
    worst = sorted(
        (f for f in findings if f["sentence"]),
        key=lambda f: (order.index(f["light"]), -abs(f["difference"])),
    )
    return {
        "needed": NEEDED,
        "lines": _few(report) or [f["sentence"] for f in worst[:LINES]] or [_fine(findings)],
        "findings": findings,
    }


def _few(report: dict[str, Any]) -> list[str]:
    counts = {side: report["sets"][side]["songs"] for side in ("ours", "real")}
    names = {"ours": "these songs", "real": "the reference"}
    more = {"ours": f" (--pieces {NEEDED})" if report["kind"] == "model" else "", "real": ""}
    return [
        f"Too few pieces for a verdict: {count} in {names[side]}, and a finding takes {NEEDED} or "
        f"more{more[side]}."
        for side, count in counts.items()
        if count < NEEDED
    ]


def _fine(findings: Sequence[dict[str, Any]]) -> str:
    judged = sum(finding["light"] == "green" for finding in findings)
    return f"Like real music in all {judged} respects that are judged here; listen to the songs."


def _statistic(report: dict[str, Any], name: str, aspect: Aspect) -> dict[str, Any]:
    ours, real = (
        np.array([v for v in report["values"][side][name] if v is not None], float)
        for side in ("ours", "real")
    )
    row = report["statistics"][name]
    found = _finding(aspect, row["title"], row["mean"], row["reference_mean"])
    if min(len(ours), len(real)) < NEEDED:
        return found
    away, spread = ours.mean() - real.mean(), real.std()
    # Where all real pieces have one value, any other is far off.
    difference = float(away / spread) if spread > 0 else 2 * FAR * float(np.sign(away))
    low, high = np.quantile(real, (0.025, 0.975))
    inside = float(((ours >= low) & (ours <= high)).mean())
    if abs(difference) <= NEAR and inside >= MOST:
        light = "green"
    else:
        light = "red" if abs(difference) > FAR or inside < FEW else "amber"
    found |= {"light": light, "difference": difference, "inside": inside}
    return found | {"sentence": _sentence(report, aspect, found, text.number)}


def _share(
    report: dict[str, Any], place: Sequence[str], title: str, aspect: Aspect
) -> dict[str, Any]:
    section, name = place
    sides = [report[section][side] for side in ("ours", "real")]
    found = _finding(aspect, title, *(side[name] for side in sides))
    counts = [n if isinstance(n := side["songs"], int) else len(n) for side in sides]
    if counts[0] < NEEDED or found["ours"] is None or found["real"] is None:
        return found
    away = found["ours"] - found["real"]
    bad = -min(away, 0.0) if aspect.low else max(away, 0.0)
    light = "green" if bad <= POINTS[0] else "amber" if bad <= POINTS[1] else "red"
    found |= {"light": light, "difference": away}
    return found | {"sentence": _sentence(report, aspect, found, text.percent)}


def _finding(aspect: Aspect, title: str, ours: Any, real: Any) -> dict[str, Any]:
    """Makes a finding without a light."""
    values = {"ours": ours, "real": real, "difference": None, "inside": None}
    return {"aspect": aspect.name, "title": title, "light": "none", "sentence": "", **values}


def _sentence(report: dict[str, Any], aspect: Aspect, found: dict[str, Any], show: Any) -> str:
    """Writes a finding: ``Repeats far too little: bar similarity, lag 4, 0.18 against 0.63.``."""
    if found["light"] == "green":
        return ""
    if found["inside"] is not None and abs(found["difference"]) <= NEAR:
        return (
            f"Varies {_TOO[found['light']]} much: {found['title']} is in the range of real music "
            f"in {text.percent(found['inside'])} of the songs."
        )
    words, advice = (
        (aspect.high, aspect.less) if found["difference"] > 0 else (aspect.low, aspect.more)
    )
    said = words.format(_TOO[found["light"]])
    said = f"{said[0].upper()}{said[1:]}: {found['title']}, {show(found['ours'])} against "
    return said + show(found["real"]) + (f"; {advice}." if report["kind"] == "model" else ".")
