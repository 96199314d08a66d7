"""A newcomer's recipes: a family, an objective and an adapter, each a class and one line."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_fakes as fakes

from jaxmusic import config
from jaxmusic._src.codecs.metrical.codec import MetricalCodec
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.generate.composer import Composer
from jaxmusic._src.generate.controls import Request
from jaxmusic._src.models import adapters, base
from jaxmusic._src.models.params import Frozen, Output, fingerprint
from jaxmusic._src.runs import weights
from jaxmusic._src.train import objectives
from jaxmusic._src.train.monitor import read_log
from jaxmusic.config import training


def add(monkeypatch, table, union, made, configuration):
    """Adds an entry to a table, and its configuration to the union that settings read."""
    monkeypatch.setitem(table, configuration.KIND, made)
    monkeypatch.setattr(training, union, getattr(training, union) | configuration)


# A family: a table of the logits of each token after each other one.


@dataclasses.dataclass(frozen=True)
class BigramConfig:
    KIND: ClassVar[str] = "bigram"
    layers: int = 1
    dtype: str = "float32"


class Bigram:
    def check(self, config, context=None, layout=None):
        pass

    def init(self, config, vocab_size, seed):
        return {"table": jnp.zeros((vocab_size, vocab_size))}

    def axes(self, config, vocab_size):
        return {"table": ("embed", None)}

    def apply(self, params, config, events, segment, *, key=None, layout=None, want=()):
        return Output(params["table"][events.token])

    def portable(self, config):
        return config

    def flops(self, config, vocab_size, context):
        return 0.0

    def prepare(self, config, params):
        return params["table"]

    def begin(self, config, rows, length):
        return jnp.zeros(rows, jnp.int32)

    def feed(self, config, weights, state, events, count=None, keep=None):
        for place in range(events.token.shape[1]):
            kept = jnp.asarray(True) if keep is None else keep[:, place]
            kept &= place < (events.token.shape[1] if count is None else count)
            state = jnp.where(kept, events.token[:, place], state)
        return weights[state], state

    def grow(self, state, length):
        return state

    def mark(self, state):
        return state

    def rewind(self, state, mark, rows):
        return jnp.where(rows, mark, state)


def test_a_family(monkeypatch, tmp_path):
    add(monkeypatch, base.FAMILIES, "Model", Bigram(), BigramConfig)
    settings = fakes.experiment(
        model=BigramConfig(), optimizer=config.Optimizer(learning_rate=0.5, warmup=2), steps=30
    )
    result = fakes.train(tmp_path / "run", settings)
    # Rows count upwards: the next token follows from the last.
    assert result.val_loss < 1.0
    saved = weights.load(tmp_path / "run")
    assert saved.experiment.model == BigramConfig()
    composer = Composer(BigramConfig(), saved.params, MetricalCodec(), 256)
    (piece,) = composer.compose(composer.planner(Request(8.0)), 1)
    assert piece.notes.seconds(piece.notes.end) == pytest.approx(8.0)


# An objective with a teacher: the Kullback-Leibler divergence from a frozen table.


@dataclasses.dataclass(frozen=True)
class TeachConfig:
    KIND: ClassVar[str] = "teach"
    seed: int = 7


class Teach(objectives.Objective):
    KEY = 0

    def frozen(self, vocab_size):
        shape = jax.ShapeDtypeStruct((vocab_size,), np.float32)

        def load(like):
            key = jax.random.fold_in(jax.random.key(self.config.seed), self.KEY)
            logits = jax.random.normal(key, (vocab_size,))
            return {"logits": jax.device_put(logits, like["logits"].sharding)}

        return Frozen({"logits": (None,)}, {"logits": shape}, load)

    def loss(self, network, frozen, batch, key):
        logits = jax.nn.log_softmax(network(batch, key).logits)
        teacher = jax.nn.log_softmax(frozen["logits"])
        kl = ((jnp.exp(teacher) * (teacher - logits)).sum(-1) * batch.weight).sum()
        nll = -jnp.take_along_axis(logits, batch.target[..., None], -1)[..., 0] * batch.weight
        return kl, {"nll": nll.sum(), "kl": kl}


def test_an_objective(monkeypatch, tmp_path):
    add(monkeypatch, objectives.OBJECTIVES, "Objective", Teach, TeachConfig)
    settings, run = fakes.experiment(objective=TeachConfig(), steps=4), tmp_path / "run"
    fakes.train(run, settings)
    divergence = [line["kl"] for line in read_log(run) if "kl" in line]
    assert len(divergence) == 4 and divergence[-1] < divergence[0]
    saved = {path.name for path in (run / "checkpoints" / "4").iterdir()}
    assert "frozen" not in saved
    # What is frozen is known by its values.
    other = dataclasses.replace(settings, objective=TeachConfig(seed=8))
    with pytest.raises(UserError, match=r"objective\.seed"):
        fakes.train(run, other)
    monkeypatch.setattr(Teach, "KEY", 1)
    with pytest.raises(UserError, match="frozen weights"):
        fakes.train(run, settings)


# An adapter: one factor for each parameter of the base.


@dataclasses.dataclass(frozen=True)
class ScaleConfig:
    KIND: ClassVar[str] = "scale"


class Scale:
    has_base = True

    def __init__(self, config):
        pass

    def init(self, params, key):
        return {f"{name}/scale": jnp.ones(()) for name in params}

    def axes(self, axes):
        return {f"{name}/scale": () for name in axes}

    def merge(self, base, trained):
        return {name: value * trained[f"{name}/scale"] for name, value in base.items()}


def test_an_adapter(monkeypatch, tmp_path, fake_run):
    add(monkeypatch, adapters.ADAPTERS, "Adapter", Scale, ScaleConfig)
    source = fake_run[0]
    settings = fakes.experiment(
        adapter=ScaleConfig(), optimizer=config.Optimizer(warmup=2, ema=0.5)
    )
    with pytest.raises(UserError, match="init_from"):
        fakes.train(tmp_path / "run", settings)
    settings = dataclasses.replace(settings, init_from=str(source))
    result = fakes.train(tmp_path / "run", settings)
    assert result.val_loss is not None
    before, after = (weights.load(run).params for run in (source, tmp_path / "run"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        ratio = np.asarray(after[name])[np.abs(value) > 1e-6] / value[np.abs(value) > 1e-6]
        assert np.ptp(ratio) < 1e-4
    exported = tmp_path / "whole.safetensors"
    weights.export(tmp_path / "run", exported)
    alone = weights.load(exported)
    assert alone.experiment.adapter == config.Full()
    for name, value in after.items():
        np.testing.assert_array_equal(alone.params[name], value)


@pytest.mark.quick
def test_fingerprints_tell_values_apart():
    params = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(4)}
    assert fingerprint(params) == fingerprint(dict(reversed(params.items())))
    moved = params | {"a": params["a"].at[0, 0].set(1.0).at[0, 1].set(0.0)}
    assert len({fingerprint(p) for p in (params, moved, {}, {"a": params["a"]})}) == 4
