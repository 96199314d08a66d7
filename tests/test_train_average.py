"""The running average of the weights, from training to composing, and checkpoints without one."""

import dataclasses

import jax
import numpy as np
import pytest
import train_fakes as fakes

from jaxmusic.core.errors import UserError
from jaxmusic.runs import checkpoint, weights
from jaxmusic.runs import folder as runs
from jaxmusic.train import session, trainer
from jaxmusic.train.monitor import read_log


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run that keeps an average, and one that keeps none."""
    folder = tmp_path_factory.mktemp("runs")
    settings = dataclasses.replace(fakes.experiment().optimizer, ema=0.99, spike=6.0)
    fakes.train(folder / "averaged", fakes.experiment(optimizer=settings))
    fakes.train(folder / "plain")
    return folder


@pytest.fixture(autouse=True)
def fake_data(monkeypatch):
    monkeypatch.setattr(session, "Loader", fakes.FakeLoader)


def arrays(run, step=None):
    return [np.asarray(x) for x in jax.tree.leaves(weights.load(run, step).params)]


def test_the_average_is_what_is_validated_and_composes(averaged):
    # Both runs have made the same updates; only one of them looks at an average of its weights.
    losses = [
        [line["val_loss"] for line in read_log(averaged / name) if "val_loss" in line]
        for name in ("averaged", "plain")
    ]
    assert losses[0] != losses[1]
    for a, b in zip(arrays(averaged / "averaged", 6), arrays(averaged / "plain", 6)):
        assert a.dtype == np.float32 and not np.array_equal(a, b)
    folder = runs.folder(averaged / "averaged") / checkpoint.FOLDER / "6"
    assert (folder / "average").is_dir() and (folder / "params").is_dir()


def test_a_run_with_an_average_goes_on(averaged, tmp_path):
    settings = dataclasses.replace(fakes.experiment().optimizer, ema=0.99, spike=6.0)
    more = fakes.experiment(optimizer=settings, resume_from=str(averaged / "averaged"), steps=8)
    assert trainer.train(more, tmp_path / "more", progress=False).step == 8
    fresh = fakes.experiment(optimizer=settings, init_from=str(averaged / "averaged"), steps=4)
    assert trainer.train(fresh, tmp_path / "fresh", progress=False).step == 4
    without = fakes.experiment(resume_from=str(averaged / "averaged"), steps=8)
    with pytest.raises(UserError, match=r"Set optimizer\.ema to what"):
        trainer.train(without, tmp_path / "without", progress=False)


def test_a_checkpoint_without_an_average_holds_what_one_of_jaxmusic_0_1_held(averaged):
    import orbax.checkpoint as ocp

    folder = runs.folder(averaged / "plain") / checkpoint.FOLDER / "6"
    found = ocp.StandardCheckpointHandler().metadata(folder / "rest")
    assert set(found) == {"params", "opt_state", "step", "skipped"}
    assert not (folder / "average").exists()
