"""Ranking: whether impostors, a trained model and real music come in the right order.

Each set has as many pieces as the test split, which nothing learned from, and they are as long;
all are compared with the training split by `jaxmusic.evaluate.distance`. Two impostors are the
songs of the test split, spoilt. Of *shuffled notes* each keeps its track, pitch, length and
loudness and goes to a random step of its song. Of *random keys* each bar is moved by a random
number of semitones: a whole song that is moved remains as good a song, and few statistics would
change. A Markov model draws its pieces under the grammar of the trained one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from benchmarks import baseline, markov, songs
from benchmarks.runner import Options, Result, Row, chosen_data
from jaxmusic import config
from jaxmusic.data import catalog
from jaxmusic.data.pieces import Pieces
from jaxmusic.evaluate import distance, rhythm, statistics
from jaxmusic.evaluate.distance import Distance
from jaxmusic.music.notes import TICKS_PER_BEAT, Notes

SHUFFLED, KEYS, MARKOV, MODEL, REAL = SETS = (
    *("shuffled notes", "random keys", "Markov model", "trained model", "real music"),
)
SPOILT, WORSE = (SHUFFLED, KEYS), (SHUFFLED, KEYS, MARKOV)
FIGURES: dict[str, Callable[[Distance], float | None]] = {
    "overlap": lambda d: None if d.overlap is None else 1 - d.overlap,
    "difference": lambda d: None if d.difference is None else abs(d.difference),
    "divergence": lambda d: d.divergence,
}
"""Each says how far a set is, 0 at best. The first decides: unlike a difference of means it sees
spread too, and unlike a divergence it does not hang on a few pieces far away."""
REDRAWS = 100
STEP = TICKS_PER_BEAT // rhythm.STEPS_PER_BEAT

Values = Mapping[str, Sequence[statistics.Value]]
Distances = dict[str, Distance]


def shuffled(notes: Notes, rng: np.random.Generator) -> Notes:
    """Each note on a random step of an aligned piece, cut where the piece ends."""
    onset = STEP * rng.integers(0, max(notes.end // STEP, 1), len(notes))
    return _moved(notes, onset, notes.pitch)


def random_keys(notes: Notes, rng: np.random.Generator) -> Notes:
    """The notes that begin in a bar moved by -5 to 6 semitones, drawn for each bar; drums stay."""
    bars = rhythm.bars(notes)
    pitch = notes.pitch + rng.integers(-5, 7, len(bars.line))[bars.bar] * ~notes.is_drum
    return _moved(notes, notes.onset, pitch + 12 * (pitch < 0) - 12 * (pitch > 127))


def _moved(notes: Notes, onset: np.ndarray, pitch: np.ndarray) -> Notes:
    order = np.lexsort((pitch, notes.track, onset))
    onset, duration = onset[order], notes.duration[order]
    return notes.replace(
        onset=onset.astype(np.int32),
        duration=np.clip(duration, 1, np.maximum(notes.end - onset, 1)).astype(np.int32),
        pitch=pitch[order].astype(np.uint8),
        velocity=notes.velocity[order],
        track=notes.track[order],
    )


def touched(spoilt: Values, real: Values) -> list[str]:
    """Statistics that are another than the real piece's in at least one piece."""

    def same(a: statistics.Value, b: statistics.Value) -> bool:
        return a is b if a is None or b is None else np.allclose(a, b, rtol=1e-9, atol=1e-12)

    pairs = {name: zip(spoilt[name], real[name], strict=True) for name in statistics.STATISTICS}
    return [name for name, both in pairs.items() if not all(same(a, b) for a, b in both)]


def votes(one: Distances, other: Distances, figure: str, names: Sequence[str]) -> tuple[int, int]:
    """In how many statistics a set is farther than another, and in how many the two differ.

    Args:
      one, other: distances by statistic.
      figure: of `FIGURES`.
      names: statistics that have a vote; one that is not defined for both has none.
    """
    of = FIGURES[figure]
    pairs = [(of(one[name]), of(other[name])) for name in names]
    known = [(a, b) for a, b in pairs if a is not None and b is not None and a != b]
    return sum(a > b for a, b in known), len(known)


def in_order(name: str, farther: int, voters: int) -> bool:
    """Whether a majority puts a set on its side of the trained model."""
    return 2 * farther > voters if name in WORSE else 2 * farther < voters


def redrawn(
    sets: Mapping[str, Values], reference: Values, times: int
) -> Iterator[dict[str, Distances]]:
    """Distances of sets whose pieces are drawn anew, with replacement, so many times."""
    rng = np.random.default_rng(0)
    theirs = {name: distance.known(values) for name, values in reference.items()}
    for _ in tqdm(range(times), "drawing pieces anew", delay=2, leave=False):
        found: dict[str, Distances] = {}
        for title, values in sets.items():
            count = len(next(iter(values.values())))
            chosen = rng.integers(0, count, count)
            found[title] = {
                name: distance.distance(
                    distance.known([values[name][i] for i in chosen]), theirs[name]
                )
                for name in statistics.STATISTICS
            }
        yield found


def table(sets: Mapping[str, Values], reference: Values, redraws: int = REDRAWS) -> list[Row]:
    """The rows: how many statistics put each set farther than the model, then all overlaps.

    Args:
      sets: statistics of each of `SETS`, the pieces of `SPOILT` in the order of the real ones.
      reference: statistics of the songs that the model learned from.
      redraws: how often the pieces are drawn anew, to see whether chance decides.
    """
    found = {title: distance.compare(values, reference) for title, values in sets.items()}
    away = {
        title: {name: c.distance for name, c in compared.items()}
        for title, compared in found.items()
    }
    everything = list(statistics.STATISTICS)
    changed = {s: touched(sets[s], sets[REAL]) if s in SPOILT else everything for s in SETS}
    again = list(redrawn(sets, reference, redraws))
    rows = []
    for which, names in (("all", dict.fromkeys(SETS, everything)), ("those touched", changed)):
        for figure in FIGURES:
            counts = {s: votes(away[s], away[MODEL], figure, names[s]) for s in SETS if s != MODEL}
            cells = [" of ".join(map(str, counts[s])) if s in counts else "" for s in SETS]
            head = f"farther than the model, of {which}, by {figure}"
            if figure == next(iter(FIGURES)):
                goal = "impostors in more than half, real music in less"
                reached = all(in_order(s, *count) for s, count in counts.items())
                rows.append(Row((head, *cells, ""), goal, reached))
            else:
                rows.append(Row((head, *cells, "")))
        figure = next(iter(FIGURES))
        shares = [
            float(np.mean([in_order(s, *votes(d[s], d[MODEL], figure, names[s])) for d in again]))
            if s != MODEL and again
            else ""
            for s in SETS
        ]
        head = f"share of redraws in which that majority is right, of {which}, by {figure}"
        rows.append(Row((head, *shares, "")))
    for name in everything:
        overlaps = [found[s][name].distance.overlap for s in SETS]
        cells = ["" if x is None else round(x, 3) for x in (*overlaps, found[REAL][name].floor[2])]
        rows.append(Row((f"overlap: {name}", *cells)))
    return rows


def run(options: Options) -> Result:
    """Makes the sets with a run's model and dataset, and compares them."""
    model = options.model()
    data, codec = chosen_data(options)
    stored = catalog.open_dataset(data.dataset, data.data_dir)
    train, real = (_notes(Pieces(stored.path, split, codec)) for split in ("train", "test"))
    real = real[: options.count or None]
    if len(real) < 2:
        raise SystemExit(f"The test split of {stored.name} needs two songs or more: add songs.")
    seconds = [float(notes.seconds(notes.end)) for notes in real]
    style = model.styles[0] if model.styles else ""
    chain, codec = markov.train(data, codec, baseline.EPOCHS)
    rng = np.random.default_rng(0)
    asked = [config.Controls(style=style, duration=s, seed=i) for i, s in enumerate(seconds)]
    pieces = {
        SHUFFLED: [shuffled(notes, rng) for notes in real],
        KEYS: [random_keys(notes, rng) for notes in real],
        MARKOV: markov.compose(chain, codec, style, seconds, data.context),
        MODEL: [songs.compose(model, each, 1)[0] for each in tqdm(asked, "composing", leave=False)],
        REAL: real,
    }
    measured = {title: statistics.measure_all(those) for title, those in pieces.items()}
    return Result(
        columns=("measured", *SETS, "real from real"),
        rows=tuple(table(measured, statistics.measure_all(train, progress=True))),
        notes=(
            f"{len(real)} pieces in each set, as long as the songs of {stored.name}:"
            f"{stored.version}'s test split, beside the {len(train)} songs of its training split.",
            "Shuffled notes: the test split's songs, each note on a random twelfth of a quarter. "
            "Random keys: the same songs, each bar moved by -5 to 6 semitones.",
            f"Markov model: {markov.ORDER}-grams with modified Kneser-Ney smoothing, counted on "
            f"the training split and {baseline.EPOCHS} transposed epochs of it, discounts tuned on "
            "validation; it draws under the same grammar, plan and sampling options as the model.",
            f"Trained model: step {model.step} of the run, style {style or 'left open'}.",
            "A statistic has a vote if it is defined for both sets and their figures differ. What "
            "a spoilt set does not touch is real music's own figure: there the model competes with "
            "real music. Touched: another value in at least one piece.",
            f"Redraws: the pieces of each set are drawn anew with replacement, {REDRAWS} times.",
        ),
    )


def _notes(pieces: Pieces) -> list[Notes]:
    return [pieces.notes(i) for i in range(len(pieces))]
