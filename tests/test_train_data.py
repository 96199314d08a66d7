"""Training on a real dataset: it stops and goes on in the middle of the data."""

import dataclasses

import pytest
import train_fakes as fakes

from jaxmusic import config
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import builder, starter
from jaxmusic._src.data.loader import Loader
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train import session, trainer


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data"))
    options = config.Prepare(name="tiny", data_dir=folder, workers=1, validation=0.2, test=0.2)
    builder.prepare_pieces(starter.corpus(12), options, 12)
    data = config.Data(dataset="tiny", data_dir=folder, context=128, batch=2)
    return fakes.experiment(data=data, steps=4)


def test_a_stopped_run_goes_on_in_the_middle_of_the_data(experiment, tmp_path, monkeypatch):
    """And with the masks of dropout that it would have had."""
    model = dataclasses.replace(experiment.model, dropout=0.3)
    experiment = dataclasses.replace(experiment, model=model)
    whole = trainer.train(experiment, tmp_path / "whole", progress=False)
    with monkeypatch.context() as patch:
        stopping = fakes.interrupted(3, fakes.FAULTS["term"], Loader)
        patch.setattr(session, "Loader", stopping)
        assert trainer.train(experiment, tmp_path / "parts", progress=False).step == 3
    parts = trainer.train(experiment, tmp_path / "parts", progress=False)
    assert parts.val_loss == whole.val_loss
    assert parts.val_loss_per_note > 2 * parts.val_loss
    assert fakes.same(*(fakes.params(tmp_path / name, 4) for name in ("whole", "parts")))
    stored = runs.read(tmp_path / "parts")
    assert stored.styles and set(stored.styles) <= set(stored.codec.styles)


def test_a_run_on_a_selection_of_a_mixture_goes_on(experiment, tmp_path):
    folder = experiment.data.data_dir
    options = config.Prepare(name="more", data_dir=folder, workers=1, validation=0.2, test=0.0)
    builder.prepare_pieces(starter.corpus(8, first=100), options, 8)
    data = dataclasses.replace(
        experiment.data,
        **dict(dataset="tiny=2 more=1", where="has=drums bars=4..", drop_tracks=0.3),
        **dict(tempo_scale=0.1, velocity_scale=0.1),
    )
    mixed = dataclasses.replace(experiment, data=data)
    whole = trainer.train(mixed, tmp_path / "whole", progress=False)
    stored = runs.read(tmp_path / "whole")
    assert stored.dataset == "tiny:2.0.0=2 more:2.0.0=1"
    # A newer version of a part of the mixture does not get into the run.
    builder.prepare_pieces(starter.corpus(9, first=200), options, 9)
    loader = Loader(dataclasses.replace(data, dataset=stored.dataset), stored.codec)
    assert loader.manifest == stored.manifest
    assert trainer.train(mixed, tmp_path / "whole", progress=False).step == whole.step
    newer = Loader(data, stored.codec)
    assert newer.dataset == "tiny:2.0.0=2 more:2.0.1=1" and newer.manifest != stored.manifest
    other = dataclasses.replace(data, where="bars=4..")
    with pytest.raises(UserError, match=r"Set data.where back to 'has=drums bars=4..'"):
        again = dataclasses.replace(mixed, data=other)
        trainer.train(again, tmp_path / "whole", progress=False)
