"""Samples beside real songs: pitch-class entropy and scale consistency, trained and untrained.

Both are those of `jaxmusic.evaluate.pitch`, which leave drums out. What counts is how near the mean
over samples is to the mean over real songs: neither figure is better for being higher or lower.
"""

from __future__ import annotations

import numpy as np
from etils import epath

import jaxmusic
from benchmarks.runner import Options, Result, Row, chosen_data
from jaxmusic.data import catalog, record
from jaxmusic.data.pieces import Pieces
from jaxmusic.evaluate import pitch
from jaxmusic.music.notes import Notes
from jaxmusic.runs import folder as runs

PIECES = 20
"""Samples of each model unless --count says otherwise."""
SECONDS = 60.0

MEASURES = (
    ("pitch-class entropy (bits)", pitch.pitch_class_entropy),
    ("scale consistency", pitch.scale_consistency),
)


def opening(notes: Notes, seconds: float) -> Notes:
    """The notes that begin in the first seconds of a piece."""
    chosen = notes.seconds(notes.onset) < seconds
    columns = ("onset", "duration", "pitch", "velocity", "track")
    return notes.replace(**{name: getattr(notes, name)[chosen] for name in columns})


def figures(pieces: list[Notes]) -> list[np.ndarray]:
    """For each of `MEASURES` its value for every piece that has pitched notes (float64 [N])."""
    values = [[of(piece) for piece in pieces] for _, of in MEASURES]
    return [np.array([x for x in found if x is not None]) for found in values]


def report(groups: dict[str, list[Notes]], real: str) -> list[Row]:
    """A row for each measure of each group: mean, deviation, distance from the real mean.

    Args:
      groups: pieces by name; the last is the trained model, the one before the untrained.
      real: name of the group of real songs.
    """
    values = {name: figures(pieces) for name, pieces in groups.items()}
    *_, untrained, trained = groups
    rows = []
    for i, (measure, _) in enumerate(MEASURES):
        away = {
            name: abs(float(v[i].mean() - values[real][i].mean())) for name, v in values.items()
        }
        for name, v in values.items():
            cells = (measure, name, len(v[i]), float(v[i].mean()), float(v[i].std()), away[name])
            if name == trained:
                rows.append(
                    Row(
                        cells,
                        f"nearer to the real mean than {untrained}",
                        away[name] < away[untrained],
                    )
                )
            else:
                rows.append(Row(cells))
    return rows


def run(options: Options) -> Result:
    """Composes with both checkpoints and measures them and the validation songs."""
    folder = options.folder("run")
    count = options.count or PIECES
    trained = jaxmusic.load(folder)
    first = options.step or runs.steps(epath.Path(folder))[0]
    untrained = jaxmusic.load(folder, step=first)
    if trained.step == untrained.step:
        raise SystemExit(f"Step {first} is the run's best: give --step the step of another one.")
    data, _ = chosen_data(options)
    found = catalog.open_dataset(data.dataset, data.data_dir)
    songs = Pieces(found.path, "validation", trained.codec)
    real = [record.from_example(songs.example(i)) for i in range(len(songs))]
    style = trained.styles[0] if trained.styles else None
    samples = {}
    for model in (untrained, trained):
        pieces = model.compose(style, SECONDS, 0, count, progress=True)
        samples[f"samples of step {model.step}"] = [piece.notes for piece in pieces]
    name = f"validation songs, first {SECONDS:g} s"
    groups = {
        "validation songs, whole": real,
        name: [opening(song, SECONDS) for song in real],
        **samples,
    }
    return Result(
        columns=(
            "measure",
            "of",
            "pieces",
            "mean",
            "standard deviation",
            "distance from the real mean",
        ),
        rows=tuple(report(groups, name)),
        notes=(
            f"{count} samples of {SECONDS:g} s from each checkpoint, style {style or 'left open'}, "
            f"seeds from 0, beside the openings of {len(real)} songs of {found.name}:"
            f"{found.version}'s validation split.",
        ),
    )
