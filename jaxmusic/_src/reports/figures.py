"""Computes figures that need no model: statistics, endings, repetition, originality.

`plain` makes JSON of them; None stands for what is not defined.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from jaxmusic._src.evaluate import bars, copy_index, distance, originality
from jaxmusic._src.evaluate.copy_index import CopyIndex
from jaxmusic._src.evaluate.originality import COPIED, Match
from jaxmusic._src.evaluate.statistics import STATISTICS, mean_and_deviation
from jaxmusic._src.music.notes import Notes
from jaxmusic._src.reports import text
from jaxmusic._src.reports.sets import Songs, drawn

ENDINGS = {
    "tonic": "the last chord is the home chord of the key",
    "bass": "the lowest note at the end is the key's home note",
    "together": "share of the last bar's instruments that stop together",
    "lengthening": "length of the last notes, as a multiple of the others'",
    "rest": "quarter notes from the last onset to the end",
    "cut_off": "a short note is cut off by the very end",
}
"""Fields of `evaluate.endings.Ending` in plain words."""
SHARES = ("tonic", "bass", "together", "cut_off")
"""Those that are shares; the others are medians over songs."""
LIKE = 8
"""Number of equal bars in a row above which a song counts as stuck."""
Found = Sequence[tuple[str, Match]]
"""The longest passage that each song, by name, shares with other music."""


def plain(value: Any) -> Any:
    """Converts a value to JSON types: six digits, and None for numbers that are not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {plain(str(name)): plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return text.readable(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def of_sets(ours: Songs, real: Songs, progress: bool = False) -> dict[str, Any]:
    """Computes the figures of two sets."""
    sides = {"ours": ours, "real": real}
    return {
        "sets": {side: about(songs) for side, songs in sides.items()},
        "statistics": statistics(ours, real, progress),
        "values": {side: values(songs) for side, songs in sides.items()},
        "endings": {side: endings(songs) for side, songs in sides.items()},
        "repetition": {side: repetition(songs) for side, songs in sides.items()},
    }


def about(songs: Songs) -> dict[str, Any]:
    """Counts songs and notes, with lengths and skipped files."""
    seconds = [float(notes.seconds(notes.end)) for notes in songs.notes]
    return {
        "songs": len(songs),
        "notes": sum(len(notes) for notes in songs.notes),
        "seconds": np.quantile(seconds, (0, 0.5, 1)) if seconds else None,
        "skipped": [{"name": n, "reason": r, "detail": d} for n, r, d in songs.skipped],
    }


def statistics(ours: Songs, real: Songs, progress: bool = False) -> dict[str, Any]:
    """Compares all `STATISTICS` of a set with the reference, see `distance.compare`."""
    values, others = ({name: songs.values(name) for name in STATISTICS} for songs in (ours, real))
    return {
        name: {field: getattr(STATISTICS[name], field) for field in ("title", "unit", "meaning")}
        | {"kinds": STATISTICS[name].kinds}
        | plain(compared)
        for name, compared in distance.compare(values, others, progress).items()
    }


def values(songs: Songs) -> dict[str, Any]:
    """Returns the numeric `STATISTICS` of each song, by name."""
    numbers = [name for name, about in STATISTICS.items() if not about.kinds]
    names = [song.name for song in songs.songs]
    return {"names": names} | {name: songs.values(name) for name in numbers}


def endings(songs: Songs) -> dict[str, Any]:
    """Summarises how songs end: shares of songs, and medians."""
    known = [song.ending for song in songs.songs if song.ending]
    out: dict[str, Any] = {"songs": len(known)}
    for name in ENDINGS:
        found = [float(getattr(ending, name)) for ending in known]
        over = np.mean if name in SHARES else np.median
        out[name] = over(found) if found else None
    return out


def repetition(songs: Songs) -> dict[str, Any]:
    """Returns how similar bars are at each distance, and runs of equal bars."""
    runs = np.array([song.run for song in songs.songs])
    columns = {lag: [song.likeness[lag] for song in songs.songs] for lag in bars.LAGS}
    return {
        "likeness": {lag: mean_and_deviation(found)[0] for lag, found in columns.items()},
        "longest_run": runs.max() if len(runs) else None,
        "run_median": np.median(runs) if len(runs) else None,
        "stuck": np.mean(runs > LIKE) if len(runs) else None,
    }


def longest(
    training: Sequence[CopyIndex], named: Sequence[tuple[str, Notes]], progress: bool = False
) -> Found:
    """Finds the longest passage that each song shares with other music."""
    shown = tqdm(named, "searching for copies", unit=" songs", delay=2, disable=not progress)
    return [(name, originality.find(training, notes)) for name, notes in shown]


def real_longest(real: Songs, count: int, seed: int, progress: bool = False) -> Found:
    """Finds the longest passages that songs of the reference share with each other.

    Draws up to `count` songs, at most a fifth of the reference, and searches them for passages of
    the remaining songs.
    """
    chosen = set(drawn(range(len(real)), min(count, len(real) // 5), seed))
    rest = Songs(tuple(song for i, song in enumerate(real.songs) if i not in chosen))
    index = copy_index.build(rest, progress)
    return longest([index], [(real.name(i), real[i]) for i in sorted(chosen)], progress)


def passages(ours: Found, real: Found) -> dict[str, Any]:
    """Summarises the longest passages of two sets, per song and overall."""
    out: dict[str, Any] = {"copied_from": COPIED}
    for side, found in (("ours", ours), ("real", real)):
        telling = [match.telling for _, match in found]
        out[side] = {
            "songs": [_passage(name, match) for name, match in found],
            "copied": np.mean([match.copied for _, match in found]) if found else None,
            "median": np.median(telling) if found else None,
            "most": max(telling, default=None),
        }
    return out


def _passage(name: str, match: Match) -> dict[str, Any]:
    fields = ("telling", "notes", "bars", "seconds", "share", "copied")
    said = {field: getattr(match, field) for field in fields}
    return {"name": name, **said, "of": match.name, "sentence": match.describe()}
