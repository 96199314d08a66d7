"""Chords and keys: how well those inferred agree with annotations, and how fast they are found."""

from __future__ import annotations

import itertools
import pathlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks import runner
from benchmarks.runner import Goal, Result, Table, peer
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import starter
from jaxmusic._src.formats.annotations import read_beats, read_keys
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.music import harmony
from jaxmusic._src.music.beats import BeatLabels, align
from jaxmusic._src.music.notes import CHORD_QUALITIES, NO_CHORD, PITCH_NAMES, Notes

GOAL_OVERLAP, GOAL_MS = 0.78, 3.0
SONGS = 100
"""Songs of the starter corpus."""
SIGNED = {"nottingham": "nottingham/MIDI/*.mid", "mutopia": "mutopia/midi/*.mid"}
"""Sets whose files state their keys as key signatures."""


class Changes(NamedTuple):
    """Values, the seconds at which each begins, and the `end` of the last."""

    time: np.ndarray
    value: np.ndarray
    end: float


class Case(NamedTuple):
    """A piece and its annotations; chords are intervals [C, 2] and symbols, as in mir_eval."""

    notes: Notes
    origin: float
    chords: tuple[np.ndarray, list[str]] | None
    keys: Changes


def run(data: str = runner.DATA) -> Result:
    """Infers chords and keys of all pieces with annotations.

    Args:
      data: folder of real music; from JAXMUSIC_DATA unless given.
    """
    peer("mir_eval.chord"), peer("mir_eval.key")
    found: dict[str, list[dict[str, float]]] = {}
    for name, held_out, case in _cases(runner.folder("data", data)):
        row = measure(case)
        for rows_of in (name, f"{name}, held out")[: 1 + held_out]:
            found.setdefault(rows_of, []).append(row)
    rows, goals = [], []
    for name, measured in sorted(found.items(), key=lambda item: item[0].split("/")[0] != "pop909"):
        means = {k: float(np.mean([row[k] for row in measured])) for k in measured[0]}
        rows.append((name, len(measured), *(means.get(key, "") for key in COLUMNS)))
        if name.startswith("pop909"):
            goal = f"chords: maj/min overlap at least {GOAL_OVERLAP}, in at most {GOAL_MS:g} ms"
            reached = means["chords"] >= GOAL_OVERLAP and means["ms"] <= GOAL_MS
            measures = f"{name} {means['chords']:.4g} in {means['ms']:.2g} ms"
            goals.append(Goal(goal, measures, reached))
    return Result(
        [Table(("set/grid", "pieces", *COLUMNS.values()), rows)],
        goals,
        [
            "labels: on the grid of POP909's beat_midi.txt. estimate: on a grid found without "
            "labels. starter: songs made by rule, on their own grid.",
            "Chords are compared with POP909's chord_midi.txt, keys with its key_audio.txt, and "
            "with the key signature of files that state one and no other; mir_eval's scores, "
            "weighted by duration.",
            "Milliseconds are those of one core: with OMP_NUM_THREADS=1, as workers have it.",
            "held out: every second piece, from the second on. Weights were fitted on the others, "
            "and on 150 other songs of the starter corpus.",
        ],
    )


COLUMNS = {
    "chords": "chords, maj/min overlap",
    "key": "key, exact",
    "key_score": "key, weighted",
    "ms": "ms per piece",
}


def measure(case: Case) -> dict[str, float]:
    """Compares inferred and annotated harmony, and times the inference in milliseconds."""
    start = time.process_time()
    found = harmony.infer(case.notes)
    row = {"ms": (time.process_time() - start) * 1e3}

    def seconds(ticks: np.ndarray) -> np.ndarray:
        return case.notes.seconds(ticks) + case.origin

    end = float(seconds(np.array(case.notes.end)))
    row |= compare_keys(case.keys, Changes(seconds(found.key_tick), found.key, end))
    if case.chords is not None:
        edges = np.append(seconds(found.chord_tick), end)
        intervals = np.stack([edges[:-1], edges[1:]], 1)
        row["chords"] = overlap(case.chords, (intervals, [*map(_harte, found.chord.tolist())]))
    return row


def overlap(true: tuple[np.ndarray, list[str]], found: tuple[np.ndarray, list[str]]) -> float:
    """Computes the share of time, of major, minor and no chords, in which both agree."""
    chord, util = peer("mir_eval.chord"), peer("mir_eval.util")
    start, end = true[0].min(), true[0].max()
    adjusted = util.adjust_intervals(*found, start, end, chord.NO_CHORD, chord.NO_CHORD)
    intervals, a, b = util.merge_labeled_intervals(*true, *adjusted)
    return float(
        chord.weighted_accuracy(chord.majmin(a, b), util.intervals_to_durations(intervals))
    )


def compare_keys(true: Changes, found: Changes) -> dict[str, float]:
    """Computes the share of time in which keys agree, and the mean score of MIREX."""
    key = peer("mir_eval.key")
    first, last = max(true.time[0], found.time[0]), min(true.end, found.end)
    edges = np.unique(np.clip([first, last, *true.time, *found.time], first, last))
    total = {"key": 0.0, "key_score": 0.0}
    for a, b in itertools.pairwise(edges):
        now = [int(s.value[np.searchsorted(s.time, a, side="right") - 1]) for s in (true, found)]
        share = float((b - a) / (last - first))
        total["key"] += share * (now[0] == now[1])
        total["key_score"] += share * key.weighted_score(*map(_key_name, now))
    return total


def _cases(data: pathlib.Path) -> Iterator[tuple[str, bool, Case]]:
    """Yields the name of a set, whether the piece was held out of fitting, and the piece."""
    yield from _pop909(data / "pop909/POP909")
    for notes in starter.corpus(SONGS):
        labels, end = notes.labels, float(notes.seconds(notes.end))
        edges = np.append(notes.seconds(labels.chord_tick), end)
        chords = np.stack([edges[:-1], edges[1:]], 1), [*map(_harte, labels.chord.tolist())]
        keys = Changes(notes.seconds(labels.key_tick), labels.key, end)
        yield "starter, other songs", False, Case(notes, 0.0, chords, keys)
    for name, pattern in SIGNED.items():
        for number, path in enumerate(tqdm(sorted(data.glob(pattern)), name, disable=None)):
            try:
                piece = read_notes(path)
            except UserError:
                continue
            if (key := _signature(path)) is not None:
                aligned, origin = _aligned(piece, None)
                keys = Changes(np.zeros(1), np.array([key]), np.inf)
                yield f"{name}/estimate", bool(number % 2), Case(aligned, origin, None, keys)


def _pop909(folder: pathlib.Path) -> Iterator[tuple[str, bool, Case]]:
    load = peer("mir_eval.io").load_labeled_intervals
    paths = sorted(path for path in folder.iterdir() if path.is_dir())
    for number, path in enumerate(tqdm(paths, "pop909", disable=None)):
        piece = read_notes(path / f"{path.name}.mid")
        chords = load(str(path / "chord_midi.txt"))
        keys = Changes(*read_keys(path / "key_audio.txt"), np.inf)
        for grid, beats in (("labels", read_beats(path / "beat_midi.txt")), ("estimate", None)):
            aligned, origin = _aligned(piece, beats)
            yield f"pop909/{grid}", bool(number % 2), Case(aligned, origin, chords, keys)


def _aligned(piece: Notes, beats: BeatLabels | None) -> tuple[Notes, float]:
    """Returns the aligned piece and the seconds in the file where it begins."""
    aligned, _ = align(piece, beats)
    if not len(piece):
        return aligned, 0.0
    return aligned, float(piece.seconds(piece.onset[0]) - aligned.seconds(aligned.onset[0]))


def _signature(path: pathlib.Path) -> int | None:
    """Returns the key of a file's only key signature; None if it has none or several."""
    import symusic

    stated = {(s.key, s.tonality) for s in symusic.Score(path).key_signatures}
    if len(stated) != 1:
        return None
    fifths, minor = stated.pop()
    return (7 * fifths + 9 * minor) % 12 + 12 * minor


def _harte(chord: int) -> str:
    """Writes a chord in the syntax of Harte et al. (2005)."""
    quality, root = divmod(chord, 12)
    return "N" if chord == NO_CHORD else f"{PITCH_NAMES[root]}:{CHORD_QUALITIES[quality]}"


def _key_name(key: int) -> str:
    return f"{PITCH_NAMES[key % 12]} {'minor' if key >= 12 else 'major'}"
