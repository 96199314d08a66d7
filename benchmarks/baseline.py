"""A classical baseline: n-gram models on exactly the tokens a Transformer is validated on.

The model is an interpolated n-gram model with modified Kneser-Ney smoothing (`ngram.py`), counted
on the training split. Loss is that of the Transformer, in nats per note: the sum over the same
targets, divided by the notes they spell.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tqdm

from benchmarks import ngram, runner
from benchmarks.runner import Goal, Result, Table
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.core.events import Batch
from jaxmusic._src.data import loader
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train import monitor

ORDERS = (2, 3, 4, 5, 6)


class Tokens(NamedTuple):
    """Parts of pieces as token sequences.

    Attributes:
      sequences: int32 [L] each.
      weights: float64 [L] each, 1 where a token counts in the loss, else 0.
      notes: notes spelt by the tokens that count.
    """

    sequences: list[np.ndarray]
    weights: list[np.ndarray]
    notes: int


def parts(row: tuple[np.ndarray, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields tokens and weights of each part in a packed row (token, target, segment, weight)."""
    token, target, segment, weight = row
    for number in range(1, int(segment.max(initial=0)) + 1):
        at = np.flatnonzero(segment == number)
        # Every token is the target of the one before it; the first is given, the last has none.
        yield (
            np.concatenate([token[at[:1]], target[at[:-1]]]),
            np.concatenate([[0.0], weight[at[:-1]]]),
        )


def tokens(batches: Iterable[Batch], codec: MetricalCodec) -> Tokens:
    """Collects the parts in packed rows, as a Transformer reads them."""
    found = Tokens([], [], 0)
    notes = 0.0
    for batch in batches:
        columns = (batch.events.token, batch.target, batch.segment, batch.weight)
        for row in zip(*columns):
            for sequence, weights in parts(row):
                found.sequences.append(sequence)
                found.weights.append(weights)
        notes += float((codec.onset_tokens[batch.target] * batch.weight).sum())
    return found._replace(notes=int(notes))


def counted(train: loader.Loader, epochs: int) -> tuple[Tokens, Tokens]:
    """Collects a training split as it is, and with some epochs of transposed pieces added."""
    plain = tokens(_progress(train.evaluation(), "reading"), train.codec)
    steps = epochs * train.rows_per_epoch() // train.data.batch
    moved = tokens(_progress(map(train.batch, range(steps)), "transposing", steps), train.codec)
    return plain, Tokens(plain.sequences + moved.sequences, plain.weights + moved.weights, 0)


def compare(train: Tokens, held_out: Tokens, vocab_size: int) -> dict[str, float]:
    """Computes the nats per note of each order."""
    tables = ngram.count(train.sequences, vocab_size, max(ORDERS))
    losses, weights = {}, np.concatenate(held_out.weights)
    for order in tqdm.tqdm(ORDERS, "orders", leave=False):
        logs = ngram.build(tables, vocab_size, order).log_prob(held_out.sequences)
        losses[f"{order}-grams"] = float(-(np.concatenate(logs) * weights).sum() / held_out.notes)
    return losses


def run(data_dir: str, run: str, dataset: str = "", epochs: int = 4) -> Result:
    """Counts the training split as it is and with transposed copies, and scores validation.

    Args:
      data_dir: folder of prepared datasets.
      run: folder of the training run to compare with.
      dataset: name of a prepared dataset, unless it is the run's own.
      epochs: epochs of transposed pieces.
    """
    folder = runner.folder("run", run)
    stored = runs.read(folder)
    data = dataclasses.replace(
        stored.experiment.data, dataset=dataset or stored.dataset, data_dir=data_dir
    )
    train, validation = (loader.Loader(data, stored.codec, s) for s in ("train", "validation"))
    held_out = tokens(validation.evaluation(), stored.codec)
    plain, both = counted(train, epochs)
    splits = {"as it is": plain, f"as it is and {epochs} epochs transposed": both}
    rows = [
        (model, name, sum(map(len, split.sequences)), round(loss, 4))
        for name, split in splits.items()
        for model, loss in compare(split, held_out, stored.codec.vocab_size).items()
    ]
    best, loss = min(row[-1] for row in rows), validation_loss(folder)
    rows.append(("Transformer (the run)", "as it was trained", "", round(loss, 4)))
    goal = f"nats per note of the run: below the best n-gram model, {best:.4g}"
    scored = int(sum(w.sum() for w in held_out.weights))
    columns = ("model", "training split", "tokens counted", "validation loss (nats per note)")
    return Result(
        [Table(columns, rows)],
        [Goal(goal, f"{loss:.4g}", loss < best)],
        [
            f"{train.dataset}, rows of {data.context}: {scored:,} validation tokens that spell "
            f"{held_out.notes:,} notes. An epoch is cut, transposed by up to {data.transpose} "
            "semitones and stripped of controls as it is for the Transformer.",
        ],
    )


def validation_loss(folder: pathlib.Path) -> float:
    """Reads the nats per note of a finished run on the whole validation split, from its log."""
    last = runs.read(folder).experiment.steps
    for line in reversed(monitor.read_log(folder)):
        if line["step"] == last and "val_loss_per_note" in line:
            return line["val_loss_per_note"]
    raise UserError(f"Let the run finish: {folder.name} has no validation at step {last}.")


def _progress(batches: Iterable[Batch], what: str, total: int | None = None) -> Iterable[Batch]:
    return tqdm.tqdm(batches, what, total, unit=" batches", leave=False)
