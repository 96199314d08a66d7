"""What is kept, what is in a checkpoint, and models as one file."""

import dataclasses
import json
import shutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_fakes as fakes
from etils import epath
from safetensors.numpy import load_file, save_file

from jaxmusic._src.commands import cli
from jaxmusic._src.core import settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.models import transformer
from jaxmusic._src.runs import checkpoint, weights
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train import session, trainer
from jaxmusic._src.train.monitor import read_log

pytestmark = pytest.mark.usefixtures("fake_data")


@pytest.fixture(scope="module")
def made(fake_run):
    """The folder of a finished run."""
    return fake_run[0]


@pytest.fixture(scope="module")
def exported(made):
    file = made.parent / "model.safetensors"
    assert weights.export(made, file) == 6
    return file


def kept(steps, keep, every, losses):
    """Which of the steps stay when they are saved one after another."""
    policy = checkpoint._Preserved(keep, every)
    have = []
    for step in steps:
        loss = losses.get(step)
        metrics = None if loss is None else {"val_loss": loss}
        have.append(types.SimpleNamespace(step=step, metrics=metrics))
        stays = policy.should_preserve(have, context=None)
        have = [c for c, stay in zip(have, stays, strict=True) if stay]
    return [c.step for c in have]


@pytest.mark.quick
@pytest.mark.parametrize(
    "keep, every, losses, left",
    [
        (1, 0, {}, [10, 80]),
        (3, 0, {}, [10, 60, 70, 80]),
        (1, 30, {}, [10, 30, 60, 80]),
        (1, 0, {20: 3.0, 40: 1.0, 60: 2.0, 80: 1.5}, [10, 40, 80]),
        (2, 40, {20: 1.0, 50: 1.0}, [10, 20, 40, 70, 80]),
    ],
)
def test_kept_are_the_latest_the_first_the_best_and_every_so_many(keep, every, losses, left):
    assert kept(range(10, 90, 10), keep, every, losses) == left


def test_every_so_many_steps_stay_across_restarts(tmp_path, monkeypatch):
    experiment = fakes.experiment(checkpoint_every=1, eval_every=0, keep_every=3)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="unforeseen"):
        patch.setattr(session, "Loader", fakes.interrupted(5))
        trainer.train(experiment, tmp_path, progress=False)
    assert trainer.train(experiment, tmp_path, progress=False).step == fakes.STEPS
    assert runs.steps(epath.Path(tmp_path)) == [1, 3, 6]


def test_a_checkpoint_says_what_it_was_made_from(made):
    info = json.loads((made / "checkpoints/6/info/metadata").read_text())
    stored = runs.read(made)
    assert info["step"] == 6 and info["seed"] == 0 and info["seconds"] > 0
    assert (info["dataset"], info["manifest"]) == ("fake:1.0.0", "abc")
    assert info["codec"] == stored.codec.fingerprint
    assert info["experiment"] == settings.plain(fakes.experiment())
    assert info["validation"]["loss"] > 0 and info["jaxmusic"]


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"seed": 7}, "made with seed 7, not 0"),
        ({"manifest": "xyz"}, "made with data of content xyz, not abc"),
        ({"seed": 7, "codec": "f00"}, "seed 7, not 0 and a codec of fingerprint f00, not"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(made, tmp_path, change, sentence):
    shutil.copytree(made, tmp_path / "run")
    file = tmp_path / "run/checkpoints/6/info/metadata"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=sentence):
        trainer.train(fakes.experiment(), tmp_path / "run", progress=False)


def test_going_on_from_another_run_says_what_was_different(made, tmp_path, capsys):
    experiment = fakes.experiment(resume_from=str(made), seed=3, steps=8)
    trainer.train(experiment, tmp_path, progress=True)
    assert "at step 6, which was made with seed 0, not 3." in capsys.readouterr().err


def test_one_file_is_the_whole_model(made, exported):
    a, b = weights.load(made), weights.load(exported)
    assert fakes.same(fakes.params(made), fakes.params(exported))
    assert jax.tree.structure(a.params) == jax.tree.structure(b.params)
    assert (b.step, b.styles, b.controls) == (6, ("fake",), ("styles", "chords"))
    assert a.controls == b.controls
    assert b.codec.fingerprint == a.codec.fingerprint and b.codec.to_json() == a.codec.to_json()
    assert b.experiment == a.experiment
    assert "layers.query" in load_file(exported)
    batch = fakes.FakeLoader(b.experiment.data, fakes.codec()).batch(0)
    out = [
        transformer.apply(x.params, x.experiment.model, batch.events, batch.segment).logits
        for x in (a, b)
    ]
    np.testing.assert_array_equal(*out)


def test_the_command_exports_an_earlier_step_at_half_the_size(made, exported, tmp_path, capsys):
    half = tmp_path / "half.safetensors"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["export", str(made), "--out", str(half), "--step", "2", "--dtype", "bfloat16"])
    assert "step 2" in capsys.readouterr().out
    assert half.stat().st_size < 0.6 * exported.stat().st_size
    assert weights.load(half, 2).step == 2
    for leaf, whole in zip(fakes.params(half), fakes.params(made, 2), strict=True):
        assert leaf.dtype == np.float32
        np.testing.assert_array_equal(leaf, whole.astype(jnp.bfloat16).astype(np.float32))
    with pytest.raises(UserError, match="or give 2"):
        weights.load(half, 6)


def test_no_path_of_this_machine_goes_into_the_file(made, exported, tmp_path):
    own = dataclasses.replace(fakes.experiment().data, data_dir=str(tmp_path / "secret"))
    experiment = fakes.experiment(init_from=str(exported), data=own)
    trainer.train(experiment, tmp_path / "tuned", progress=False)
    weights.export(tmp_path / "tuned", tmp_path / "tuned.safetensors")
    header = (tmp_path / "tuned.safetensors").read_bytes()[:4096]
    assert b"secret" not in header and str(tmp_path).encode() not in header


def test_a_run_starts_from_a_file_as_from_the_run(made, exported, tmp_path, capsys):
    losses = []
    for name, source in (("run", made), ("file", exported)):
        experiment = fakes.experiment(init_from=str(source), eval_every=0)
        trainer.train(experiment, tmp_path / name, progress=True)
        assert f"from the weights of {source} at step 6" in capsys.readouterr().err
        losses.append([line["loss"] for line in read_log(tmp_path / name)])
    assert losses[0] == losses[1]
    assert losses[0][0] < [x["loss"] for x in read_log(made) if "loss" in x][2]
    # A started run resumes from its own checkpoint.
    trainer.train(experiment, tmp_path / "file", progress=True)
    assert "finished at step 6" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"init_from in place of .*weights alone"):
        trainer.train(fakes.experiment(resume_from=str(exported)), tmp_path / "x", progress=False)


def test_wrong_files_are_one_sentence(made, exported, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(exported.read_bytes()[:-100])
    save_file({"x": np.zeros(3)}, tmp_path / "other.safetensors")
    for name, words in (
        ("none", "no file"),
        ("cut", "or a part of one"),
        ("other", "export wrote"),
    ):
        with pytest.raises(UserError, match=words):
            weights.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match=r"ends in \.safetensors"):
        weights.export(made, tmp_path / "model.bin")
    with pytest.raises(UserError, match="float32 or bfloat16"):
        weights.export(made, tmp_path / "model.safetensors", dtype="float16")
