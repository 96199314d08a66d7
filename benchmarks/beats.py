"""How well the beat grid fits real music, set by set, and how fast it is found.

    python benchmarks/beats.py DATA_FOLDER [--limit N] [--json FILE]

Rows are named ``set/grid``: ``file`` are the file's own quarters, ``estimate`` is
`music.beats.align` without labels, ``labels`` with POP909's ``beat_midi.txt``. Beat and downbeat
F-measures (70 ms) compare with that file; ``downbeat_f_audio`` with ``beat_audio.txt`` on the songs
where its beats agree with the MIDI file's, ``downbeat_f_both`` with ``beat_midi.txt`` on those
among them where the two annotations agree with each other. ``over_0.2`` is the share of pieces
whose `Fit.error` is so large that a dataset leaves them out.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxmusic.core.errors import UserError
from jaxmusic.formats.annotations import read_beats
from jaxmusic.formats.midi import read_notes
from jaxmusic.music.beats import BeatLabels, align
from jaxmusic.music.notes import Notes

SETS = {
    "pop909": "pop909/POP909/*/[0-9]*.mid",
    "mutopia": "mutopia/midi/*.mid",
    "piano_midi_de": "piano_midi_de/midis/**/*.mid",
    "giantmidi": "giantmidi/midi/**/*.mid",
    "groove": "groove/**/*.mid",
    "freedoom": "freedoom/musics/*.mid",
    "nottingham": "nottingham/MIDI/*.mid",
    "multitrack_pop": "multitrack_pop/*.mid",
}
TOLERANCE = 0.07
AGREE = 0.8


def f_measure(found: np.ndarray, true: np.ndarray) -> float:
    """F-measure of times that match one to one within `TOLERANCE` seconds."""
    i = j = hits = 0
    while i < len(found) and j < len(true):
        if abs(found[i] - true[j]) <= TOLERANCE:
            i, j, hits = i + 1, j + 1, hits + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return 2 * hits / max(1, len(found) + len(true))


def grid_times(piece: Notes, aligned: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Seconds in the file of the beats and downbeats of an aligned piece."""
    stops = np.append(aligned.meter_tick[1:], aligned.end)
    meters = zip(aligned.meter_tick, stops, aligned.meter_num, aligned.meter_den)
    lines = np.concatenate(
        [np.arange(start, stop, 1920 * int(n) // int(d)) for start, stop, n, d in meters]
    )
    beats = np.arange(0, aligned.end, aligned.ticks_per_beat)
    origin = piece.seconds(piece.onset[0]) - aligned.seconds(aligned.onset[0])
    return aligned.seconds(beats) + origin, aligned.seconds(lines) + origin


def compare(piece: Notes, aligned: Notes, folder: pathlib.Path) -> dict[str, float]:
    """F-measures against POP909's annotations, from the first onset to the last."""
    first, last = piece.seconds(piece.onset[[0, -1]])

    def heard(times: np.ndarray) -> np.ndarray:
        return times[(times > first - TOLERANCE) & (times < last + TOLERANCE)]

    labels = read_beats(folder / "beat_midi.txt")
    audio = np.loadtxt(folder / "beat_audio.txt", ndmin=2)
    beats, downbeats = (heard(t) for t in grid_times(piece, aligned))
    beats_midi, downbeats_midi = heard(labels.time), heard(labels.time[labels.downbeat])
    beats_audio, downbeats_audio = heard(audio[:, 0]), heard(audio[audio[:, 1] == 1, 0])
    row = {
        "beat_f": f_measure(beats, beats_midi),
        "downbeat_f": f_measure(downbeats, downbeats_midi),
    }
    if f_measure(beats_audio, beats_midi) > AGREE:
        row["downbeat_f_audio"] = f_measure(downbeats, downbeats_audio)
        row["labels_f_audio"] = f_measure(downbeats_midi, downbeats_audio)
        if row["labels_f_audio"] > AGREE:
            row["downbeat_f_both"] = row["downbeat_f"]
    return row


def fit_errors(piece: Notes) -> dict[str, float]:
    """Mean distance of onsets from the grids of 12 and 24 steps a beat."""
    row = {}
    for steps in (12, 24):
        exact = piece.onset * (steps / piece.ticks_per_beat)
        at = np.rint(exact) * (piece.ticks_per_beat / steps)
        off = np.abs(piece.seconds(at) - piece.seconds(piece.onset))
        row[f"error_ms_{steps}"] = float(off.mean()) * 1e3
        row[f"error_{steps}"] = float(np.abs(exact - np.rint(exact)).mean())
    return row


def run(data: pathlib.Path, limit: int | None = None) -> dict[str, dict[str, Any]]:
    """Measures every set in the folder.

    Args:
      data: folder of real music.
      limit: at most so many pieces of each set, spread evenly; None for all.

    Returns:
      A row of means for each ``set/grid``; ``pieces`` is how many.
    """
    rows: dict[str, dict[str, Any]] = {}
    for name, pattern in SETS.items():
        paths = sorted(data.glob(pattern))
        if limit is not None and len(paths) > limit:
            paths = [paths[i * len(paths) // limit] for i in range(limit)]
        measured: dict[str, list[dict[str, float]]] = {}
        for path in tqdm(paths, desc=name, disable=None):
            try:
                piece = read_notes(path)
            except UserError:
                continue
            measured.setdefault("file", []).append(fit_errors(piece))
            ways: dict[str, BeatLabels | None] = {"estimate": None}
            if name == "pop909":
                ways["labels"] = read_beats(path.parent / "beat_midi.txt")
            for way, labels in ways.items():
                start = time.process_time()
                aligned, fit = align(piece, labels)
                row = {"ms_per_piece": (time.process_time() - start) * 1e3}
                row |= fit_errors(aligned)
                row["from_file"] = float(fit.source == "file")
                row["over_0.2"] = float(fit.error > 0.2)
                if name == "pop909":
                    row |= compare(piece, aligned, path.parent)
                measured.setdefault(way, []).append(row)
        for way, found in measured.items():
            keys = sorted({key for row in found for key in row})
            means = {key: float(np.mean([row[key] for row in found if key in row])) for key in keys}
            rows[f"{name}/{way}"] = {"pieces": len(found), **means}
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    rows = run(args.data, args.limit)
    for name, row in rows.items():
        values = "  ".join(f"{k} {v:.3f}" for k, v in row.items() if k != "pieces")
        print(f"{name:24s} {row['pieces']:5d}  {values}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
