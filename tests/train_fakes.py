"""A dataset made of arithmetic, so that the tests of training need no files."""

from __future__ import annotations

import itertools
import os
import sys

import jax
import numpy as np

from jaxmusic import config
from jaxmusic.codecs.metrical import MetricalCodec
from jaxmusic.events import Batch, Events

STEPS = 6


class FakeLoader:
    """Has the interface of the data loader; each row counts upwards from a random token."""

    def __init__(self, data, codec, split="train", seed=0):
        self.data, self.split, self.seed = data, split, seed
        self.codec, self.styles = codec.with_styles(["fake"]), ("fake",)
        name, _, version = data.dataset.partition(":")
        self.dataset = f"{name}:{version or '1.0.0'}"
        self.manifest = os.environ.get("FAKE_MANIFEST", "abc")

    def batch(self, step):
        rng = np.random.default_rng([self.seed, step, len(self.split)])
        rows, context = self.data.batch, self.data.context
        start = rng.integers(0, 40, (rows, 1))
        stream = (start + np.arange(context + 1)) % 40 + self.codec.vocabulary.start["pitch"]
        stream = stream.astype(np.int32)
        time = np.broadcast_to(np.arange(context, dtype=np.int32), (rows, context))
        segment = 1 + (time >= context // 2).astype(np.int32)
        weight = np.ones((rows, context), np.float32)
        weight[:, [context // 2 - 1, -1]] = 0
        events = Events(stream[:, :-1], time, time % 48, time // 48, time * 0, time * 0 + 60)
        return Batch(events, stream[:, 1:], segment, weight)

    def iterate(self, start=0, process_index=0, process_count=1):
        """Each process gets its block of rows of each global batch, as from the real loader."""
        rows = self.data.batch // process_count
        block = slice(process_index * rows, (process_index + 1) * rows)
        batches = (self.batch(step) for step in itertools.count(start))
        return (jax.tree.map(lambda x: x[block], batch) for batch in batches)

    def evaluation(self):
        return (self.batch(1000 + i) for i in range(5))


def experiment(**changes):
    """A toy run: a one-layer model, six steps, a checkpoint every two."""
    settings = {
        "data": config.Data(dataset="fake", context=16, batch=4),
        "model": config.Model(layers=1, width=16, heads=2, kv_heads=1, head_dim=8, hidden=16),
        "optimizer": config.Optimizer(learning_rate=1e-2, warmup=2),
        "steps": STEPS,
        "eval_every": 2,
        "eval_batches": 2,
        "checkpoint_every": 2,
        "keep": 1,
        "log_every": 1,
    }
    return config.Experiment(**(settings | changes))


def codec():
    return MetricalCodec(config.Codec())


if __name__ == "__main__":  # the process that the tests of kills start: RUN STEPS
    from jaxmusic.train import trainer

    trainer.Loader = FakeLoader
    trainer.train(experiment(steps=int(sys.argv[2]), checkpoint_every=1, eval_every=5), sys.argv[1])
