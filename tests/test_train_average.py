"""The running average of the weights: it is saved, validated and loaded in their place."""

import dataclasses

import numpy as np
import pytest
import train_fakes as fakes

from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import checkpoint
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train import trainer
from jaxmusic._src.train.monitor import read_log

pytestmark = pytest.mark.usefixtures("fake_data")
AVERAGED = dataclasses.replace(fakes.experiment().optimizer, ema=0.99, spike=6.0)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """The folder of a run that keeps an average."""
    run = tmp_path_factory.mktemp("runs") / "averaged"
    fakes.train(run, fakes.experiment(optimizer=AVERAGED))
    return run


def test_the_average_is_what_is_validated_and_composes(averaged, fake_run):
    # Both runs have made the same updates; only one of them looks at an average of its weights.
    losses = [
        [line["val_loss"] for line in read_log(run) if "val_loss" in line]
        for run in (averaged, fake_run[0])
    ]
    assert losses[0] != losses[1]
    for a, b in zip(fakes.params(averaged), fakes.params(fake_run[0])):
        assert a.dtype == np.float32 and not np.array_equal(a, b)
    saved = [runs.folder(run) / checkpoint.FOLDER / "6" for run in (averaged, fake_run[0])]
    assert [(folder / "average").is_dir() for folder in saved] == [True, False]


def test_a_run_with_an_average_goes_on(averaged, tmp_path):
    more = fakes.experiment(optimizer=AVERAGED, resume_from=str(averaged), steps=8)
    assert trainer.train(more, tmp_path / "more", progress=False).step == 8
    fresh = fakes.experiment(optimizer=AVERAGED, init_from=str(averaged), steps=8)
    assert trainer.train(fresh, tmp_path / "fresh", progress=False).step == 8
    without = fakes.experiment(resume_from=str(averaged), steps=8)
    with pytest.raises(UserError, match=r"Set optimizer\.ema to what"):
        trainer.train(without, tmp_path / "without", progress=False)
