"""A classical baseline: n-gram models on exactly the tokens a Transformer is validated on.

The model is an interpolated n-gram model with modified Kneser-Ney smoothing (`ngram.py`), counted
on the training split. Its order, and in the last row its discounts, are chosen on the very tokens
that are scored, which favours it. Loss counts the targets that count for the Transformer, in nats
per note: the sum over all of them, divided by the notes they spell.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tqdm

from benchmarks import ngram
from benchmarks.runner import Options, Result, Row, chosen_data
from jaxmusic.codecs.metrical.codec import MetricalCodec
from jaxmusic.core.events import Batch
from jaxmusic.data import loader
from jaxmusic.runs import folder as runs
from jaxmusic.train import monitor

ORDERS = (2, 3, 4, 5, 6)
EPOCHS = 4
"""Epochs of transposed pieces counted in the second half, unless --count says otherwise."""


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
    """Tokens and weights of each part in a packed row: (token, target, segment, weight), [T]."""
    token, target, segment, weight = row
    for number in range(1, int(segment.max(initial=0)) + 1):
        at = np.flatnonzero(segment == number)
        # Every token is the target of the one before it; the first is given, the last has none.
        yield (
            np.concatenate([token[at[:1]], target[at[:-1]]]),
            np.concatenate([[0.0], weight[at[:-1]]]),
        )


def tokens(batches: Iterable[Batch], codec: MetricalCodec) -> Tokens:
    """What stands in packed rows, as a Transformer reads it."""
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
    """A training split as it is, and with some epochs of transposed pieces besides."""
    plain = tokens(_progress(train.evaluation(), "reading"), train.codec)
    steps = epochs * train.rows_per_epoch() // train.data.batch
    moved = tokens(_progress(map(train.batch, range(steps)), "transposing", steps), train.codec)
    return plain, Tokens(plain.sequences + moved.sequences, plain.weights + moved.weights, 0)


def score(model: ngram.Model, held_out: Tokens) -> float:
    """Nats per note of a model on tokens."""
    logs = np.concatenate(model.log_prob(held_out.sequences))
    return float(-(logs * np.concatenate(held_out.weights)).sum() / held_out.notes)


def compare(train: Tokens, held_out: Tokens, vocab_size: int) -> dict[str, float]:
    """Nats per note of each order with estimated discounts, and of the best with tuned ones."""
    tables = ngram.count(train.sequences, vocab_size, max(ORDERS))
    losses = {}
    for order in tqdm.tqdm(ORDERS, "orders", leave=False):
        losses[order] = score(ngram.build(tables, vocab_size, order), held_out)
    best = min(losses, key=losses.__getitem__)
    start = ngram.build(tables, vocab_size, best)
    tuned = ngram.tune(start, held_out.sequences, np.concatenate(held_out.weights))
    named = {f"{order}-grams": loss for order, loss in losses.items()}
    return named | {f"{best}-grams, discounts tuned": score(tuned, held_out)}


def run(options: Options) -> Result:
    """Counts the training split as it is, then with transposed copies, and scores validation."""
    data, codec = chosen_data(options)
    train, validation = (loader.Loader(data, codec, split) for split in ("train", "validation"))
    held_out = tokens(validation.evaluation(), validation.codec)
    plain, both = counted(train, options.count or EPOCHS)
    copies = f"and {options.count or EPOCHS} epochs transposed"
    rows, best = [], float("inf")
    for name, split in (("as it is", plain), (f"as it is {copies}", both)):
        size = sum(map(len, split.sequences))
        for model, loss in compare(split, held_out, train.codec.vocab_size).items():
            rows.append(Row((model, name, size, round(loss, 4))))
            best = min(best, loss)
    made: tuple[str, ...] = ()
    if options.run:
        loss, made = validation_loss(options.folder("run")), (history(options.folder("run")),)
        cells = ("Transformer (the run)", "as it was trained", "", round(loss, 4))
        rows.append(Row(cells, "below every row above", loss < best))
    scored = int(sum(w.sum() for w in held_out.weights))
    return Result(
        columns=("model", "training split", "tokens counted", "validation loss (nats per note)"),
        rows=tuple(rows),
        notes=(
            f"{train.dataset}, rows of {data.context}: {scored:,} validation tokens that spell "
            f"{held_out.notes:,} notes. An epoch is cut, transposed by up to {data.transpose} "
            "semitones and stripped of controls as it is for the Transformer.",
            *made,
        ),
    )


def validation_loss(folder: pathlib.Path) -> float:
    """Nats per note of a finished run on the whole validation split, from its log."""
    last = runs.read(folder).experiment.steps
    for line in reversed(monitor.read_log(folder)):
        if line["step"] == last and "val_loss_per_note" in line:
            return line["val_loss_per_note"]
    raise SystemExit(f"Let the run finish: {folder.name} has no validation at step {last}.")


def history(folder: pathlib.Path) -> str:
    """How a run came about, and its validation losses by the minute."""
    experiment = runs.read(folder).experiment
    found = [line for line in monitor.read_log(folder) if "val_loss_per_note" in line]
    steps = ", ".join(
        f"{line['val_loss_per_note']:.2f} after {line['seconds'] / 60:.1f}" for line in found
    )
    shape = experiment.model
    return (
        f"The run: `jaxmusic train CONFIG --run RUN`, {experiment.steps:,} steps of "
        f"{experiment.data.batch} rows, {shape.layers} layers of width {shape.width}. Nats per "
        f"note after minutes, compiling and everything else included: {steps}. All but the last "
        f"are on the first {experiment.eval_batches} batches."
    )


def _progress(batches: Iterable[Batch], what: str, total: int | None = None) -> Iterable[Batch]:
    return tqdm.tqdm(batches, what, total, unit=" batches", leave=False)
