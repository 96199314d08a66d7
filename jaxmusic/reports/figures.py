"""Figures of a report that need no model: statistics, endings, repetition, originality.

All are plain JSON; None stands for what is not defined.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from jaxmusic.evaluate import bars, copy_index, distance, originality
from jaxmusic.evaluate.copy_index import CopyIndex
from jaxmusic.evaluate.endings import Ending
from jaxmusic.evaluate.originality import Match
from jaxmusic.evaluate.statistics import STATISTICS
from jaxmusic.music.notes import Notes
from jaxmusic.reports.sets import Song, Songs, drawn

ENDINGS = {
    "tonic": "the last chord is the home chord of the key",
    "bass": "the lowest note at the end is the key's home note",
    "together": "of the instruments that play in the last bar, so many stop together",
    "lengthening": "the last notes are so many times as long as the others",
    "rest": "so many quarter notes pass after the last note begins",
    "cut_off": "a short note is cut off by the very end",
}
"""Fields of `jaxmusic.evaluate.endings.Ending` in plain words."""
SHARES = ("tonic", "bass", "together", "cut_off")
"""Those that are shares; the others are medians over songs."""
LIKE = 8
"""Like bars in a row from which on a song counts as stuck."""
QUANTILES = {"median": 0.5, "most": 1.0}


def plain(value: Any) -> Any:
    """What JSON can say: arrays as lists, numbers to six digits, None for what is not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {plain(str(name)): plain(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):  # a file system may hold names that are no text
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def about(songs: Songs) -> dict[str, Any]:
    """How many songs there are, how long they are, and what was skipped."""
    seconds = [float(notes.seconds(notes.end)) for notes in songs.notes]
    return {
        "songs": len(songs),
        "notes": sum(len(notes) for notes in songs.notes),
        "seconds": plain(np.quantile(seconds, (0, 0.5, 1))) if seconds else None,
        "skipped": [{"name": n, "reason": r, "detail": d} for n, r, d in songs.skipped],
    }


def statistics(ours: Songs, real: Songs, progress: bool = False) -> dict[str, Any]:
    """All `STATISTICS` of a set beside those of the reference, see `distance.compare`."""
    found = distance.compare(
        {name: ours.values(name) for name in STATISTICS},
        {name: real.values(name) for name in STATISTICS},
        progress,
    )
    return {
        name: {"title": about.title, "unit": about.unit, "meaning": about.meaning}
        | {"kinds": list(about.kinds)}
        | plain(found[name])
        for name, about in STATISTICS.items()
    }


def values(songs: Songs) -> dict[str, Any]:
    """Those of `STATISTICS` that are numbers, for each song, by name."""
    numbers = [name for name, about in STATISTICS.items() if not about.kinds]
    return {"names": [song.name for song in songs.songs]} | {
        name: plain(songs.values(name)) for name in numbers
    }


def endings(songs: Songs) -> dict[str, Any]:
    """How the songs of a set end: shares of songs, and medians."""
    known = [song.ending for song in songs.songs if song.ending]
    return {"songs": len(known)} | {name: _ending(known, name) for name in ENDINGS}


def _ending(known: list[Ending], name: str) -> float | None:
    found = [float(getattr(ending, name)) for ending in known]
    if not found:
        return None
    return plain(float(np.mean(found) if name in SHARES else np.median(found)))


def repetition(songs: Songs) -> dict[str, Any]:
    """Returns how similar bars are at each distance, and runs of equal bars."""
    runs = [song.run for song in songs.songs]
    return {
        "likeness": {str(lag): _mean(songs.songs, lag) for lag in bars.LAGS},
        "longest_run": max(runs) if runs else None,
        "run_median": plain(np.median(runs)) if runs else None,
        "stuck": plain(np.mean(np.array(runs) > LIKE)) if runs else None,
    }


def _mean(songs: Sequence[Song], lag: int) -> float | None:
    known = [song.likeness[lag] for song in songs if song.likeness[lag] is not None]
    return plain(np.mean(np.array(known, float))) if known else None


def longest(
    training: Sequence[CopyIndex], named: Sequence[tuple[str, Notes]], progress: bool = False
) -> list[tuple[str, Match]]:
    """The longest passage that each song shares with other music."""
    shown = tqdm(named, "searching for copies", unit=" songs", delay=2, disable=not progress)
    return [(name, originality.find(training, notes)) for name, notes in shown]


def real_longest(
    real: Songs, count: int, seed: int, progress: bool = False
) -> list[tuple[str, Match]]:
    """The longest passages that songs of a reference share with others of it.

    As many songs are drawn as there are, `count` at most, and a fifth of the reference at most;
    they are searched for passages of the songs that remain.
    """
    chosen = set(drawn(range(len(real)), min(count, len(real) // 5), seed))
    rest = Songs(tuple(song for i, song in enumerate(real.songs) if i not in chosen))
    index = copy_index.build(rest, progress)
    return longest([index], [(real.name(i), real[i]) for i in sorted(chosen)], progress)


def passages(found: Sequence[tuple[str, Match]]) -> dict[str, Any]:
    """Longest passages of a set: of each song, and over all of them."""
    telling = [match.telling for _, match in found]
    return {
        "songs": [_passage(name, match) for name, match in found],
        "copied": plain(np.mean([match.copied for _, match in found])) if found else None,
        **{n: plain(np.quantile(telling, q)) if found else None for n, q in QUANTILES.items()},
    }


def _passage(name: str, match: Match) -> dict[str, Any]:
    return {
        "name": name,
        "telling": plain(match.telling),
        "notes": match.notes,
        "bars": match.bars,
        "seconds": plain(match.seconds),
        "share": plain(match.share),
        "copied": match.copied,
        "of": match.name,
        "sentence": match.describe(),
    }
