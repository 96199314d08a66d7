"""Samples beside real songs: pitch-class entropy and scale consistency, trained and untrained.

Pitch-class entropy is in bits over the 12 pitch classes, weighted by the number of notes. Scale
consistency is the best share of a piece's notes in one of 24 scales, major and natural minor on
12 tonics; a natural minor scale holds the pitches of its relative major, so 12 pitch sets are
tried. Drums are left out. What counts is how near the mean over samples is to the mean over real
songs: neither figure is better for being higher or lower.
"""

from __future__ import annotations

import numpy as np
from etils import epath

import jaxmusic
from benchmarks.runner import Options, Result, Row, chosen_data
from jaxmusic.data import catalog, record
from jaxmusic.data.pieces import Pieces
from jaxmusic.notes import Notes
from jaxmusic.train import run as runs

PIECES = 20
"""Samples of each model unless --count says otherwise."""
SECONDS = 60.0
MAJOR = (0, 2, 4, 5, 7, 9, 11)
SCALES = np.stack([np.isin(np.arange(12), np.add(MAJOR, tonic) % 12) for tonic in range(12)])


def pitch_classes(notes: Notes) -> np.ndarray:
    """Notes of each pitch class (int64 [12], C first) without drums."""
    return np.bincount(notes.pitch[~notes.is_drum] % 12, minlength=12)


def entropy(classes: np.ndarray) -> float:
    """Entropy of counts in bits; 0 of no notes."""
    p = classes[classes > 0] / max(classes.sum(), 1)
    return float(-(p * np.log2(p)).sum())


def scale_consistency(classes: np.ndarray) -> float:
    """Largest share of counts [12] within one of `SCALES`; 0 of no notes."""
    return float((SCALES @ classes).max() / max(classes.sum(), 1))


MEASURES = (
    ("pitch-class entropy (bits)", entropy),
    ("scale consistency", scale_consistency),
)


def opening(notes: Notes, seconds: float) -> Notes:
    """The notes that begin in the first seconds of a piece."""
    chosen = notes.seconds(notes.onset) < seconds
    columns = ("onset", "duration", "pitch", "velocity", "track")
    return notes.replace(**{name: getattr(notes, name)[chosen] for name in columns})


def figures(pieces: list[Notes]) -> list[np.ndarray]:
    """For each of `MEASURES` its value for every piece (float64 [N])."""
    classes = [pitch_classes(piece) for piece in pieces]
    return [np.array([of(c) for c in classes]) for _, of in MEASURES]


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
