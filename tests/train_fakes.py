"""A dataset made of arithmetic, so that the tests of training need no files."""

from __future__ import annotations

import itertools
import os
import signal
import time

import jax
import numpy as np

from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.events import Batch, Events
from jaxmusic._src.formats.instruments import Heard

STEPS = 6


def crash():
    raise RuntimeError("something unforeseen")


FAULTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "usr1": lambda: os.kill(os.getpid(), signal.SIGUSR1),
    "int": lambda: os.kill(os.getpid(), signal.SIGINT),
    "hang": lambda: time.sleep(1000),
    "crash": crash,
}


class FakeLoader:
    """Has the interface of the data loader; each row counts upwards from a random token."""

    def __init__(self, data, codec, split="train", seed=0):
        self.data, self.split, self.seed = data, split, seed
        self.codec, self.styles = codec.with_styles(["fake"]), ("fake",)
        name, _, version = data.dataset.partition(":")
        self.dataset = f"{name}:{version or '1.0.0'}"
        self.manifest = os.environ.get("FAKE_MANIFEST", "abc")

    def controls(self):
        return ("styles", "chords")

    def heard(self):
        return Heard(4, {0: 4})

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
        share = self.data.batch // process_count
        rows = slice(process_index * share, (process_index + 1) * share)
        for step in itertools.count(start):
            self.before(step)
            yield jax.tree.map(lambda x: x[rows], self.batch(step))

    def before(self, step):
        """What a test wants to happen, once, before the batch of a step is read: FAULT=STEP DO.

        Every step takes at least PACE seconds.
        """
        at, _, what = os.environ.get("FAULT", "").partition(" ")
        time.sleep(float(os.environ.get("PACE", "0")))
        if self.split == "train" and at == str(step):
            mark = os.environ["FAULT_MARK"]
            if not os.path.exists(mark):
                with open(mark, "w") as file:
                    file.write(str(time.time()))
                FAULTS[what]()

    def evaluation(self):
        return (self.batch(1000 + i) for i in range(5))


def interrupted(step, act=crash, loader=FakeLoader):
    """A loader that calls `act` when the batch of a step, counted from 1, is about to be read."""

    class Loader(loader):
        def iterate(self, start=0, *args):
            for at, batch in enumerate(super().iterate(start, *args), start=start + 1):
                if at == step:
                    act()
                yield batch

    return Loader


def params(run, step=None):
    """The weights that a run has saved, as a list of arrays."""
    from jaxmusic._src.runs import weights

    return [np.asarray(x) for x in jax.tree.leaves(weights.load(run, step).params)]


def same(a, b):
    """Whether two lists of arrays agree in every bit."""
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def experiment(**changes):
    """A toy run: a one-layer model, six steps, a checkpoint every two."""
    settings = {
        "data": config.Data(dataset="fake", context=16, batch=4),
        "model": config.Transformer(layers=1, width=16, heads=2, kv_heads=1, head_dim=8, hidden=16),
        "optimizer": config.Optimizer(learning_rate=1e-2, warmup=2),
        "steps": STEPS,
        "eval_every": 2,
        "eval_batches": 2,
        "checkpoint_every": 2,
        "keep": 1,
        "log_every": 1,
    }
    return config.Experiment(**(settings | changes))


def train(run, settings=None):
    """Trains on the fake data, where no fixture of a test has put them in place."""
    import pytest

    from jaxmusic._src.train import session, trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Loader", FakeLoader)
        return trainer.train(settings or experiment(), run, progress=False)


def codec():
    return MetricalCodec(config.Codec())


if __name__ == "<run_path>":
    # As a config: `jaxmusic train tests/train_fakes.py --run DIR --steps 9 --restarts 2`.
    from jaxmusic._src.commands import checks
    from jaxmusic._src.train import session

    session.Loader = FakeLoader
    checks.dataset = lambda name, data_dir: None
