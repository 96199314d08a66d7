"""The training loop, end to end on a toy dataset."""

import concurrent.futures
import dataclasses
import json
import os
import shutil
import signal

import pytest
import train_fakes as fakes
from etils import epath
from train_fakes import params, same

from jaxmusic import config
from jaxmusic._src.cluster.hosts import Hosts
from jaxmusic._src.core import settings
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import checkpoint, weights
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train import session, trainer
from jaxmusic._src.train.monitor import read_log

pytestmark = pytest.mark.usefixtures("fake_data")


def stop_after(monkeypatch, step, send=fakes.crash):
    """Calls send() when the batch of a step is read."""
    monkeypatch.setattr(session, "Loader", fakes.interrupted(step, send))


@pytest.mark.quick
def test_a_run_learns_and_leaves_what_it_promises(fake_run):
    path, result = fake_run
    assert result.step == fakes.STEPS and not result.stopped
    log = read_log(path)
    train = [line for line in log if "loss" in line]
    valid = [line for line in log if "val_loss" in line]
    assert [line["step"] for line in train] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in valid] == [2, 4, 6]
    assert train[-1]["loss"] < train[0]["loss"] - 0.3
    assert valid[-1]["val_loss"] == result.val_loss
    # Each target is a note, and half a row less one target is weighted in each segment.
    assert result.val_loss_per_note == pytest.approx(result.val_loss)
    assert {"tokens_per_s", "data_wait", "learning_rate", "grad_norm", "seconds"} <= set(train[0])
    assert {"experiment.json", "codec.json", "data.json", "log.jsonl", "tensorboard"} <= {
        p.name for p in path.iterdir()
    }
    assert settings.from_json(config.Experiment, (path / "experiment.json").read_text()) == (
        fakes.experiment()
    )
    saved = weights.load(path)
    assert saved.step == 6 and saved.styles == ("fake",) and saved.codec.styles[-1] == "fake"
    assert saved.experiment == fakes.experiment()


def test_the_same_command_again_returns_the_same_result(fake_run):
    path, result = fake_run
    before = (path / "log.jsonl").read_text()
    again = trainer.train(fakes.experiment(), path, progress=False)
    assert again.val_loss == result.val_loss and again.step == result.step
    assert (path / "log.jsonl").read_text() == before


def test_a_stopped_run_goes_on_to_the_same_bits(fake_run, tmp_path, monkeypatch):
    number = signal.SIGTERM
    before = signal.getsignal(number)
    stop_after(monkeypatch, 3, lambda: os.kill(os.getpid(), number))
    first = trainer.train(fakes.experiment(), tmp_path, progress=False)
    assert signal.getsignal(number) is before
    assert first.stopped and first.signal == number and first.step == 3
    assert first.val_loss is None
    monkeypatch.setattr(session, "Loader", fakes.FakeLoader)
    second = trainer.train(fakes.experiment(), tmp_path, progress=False)
    assert not second.stopped and second.val_loss == fake_run[1].val_loss
    assert second.seconds > first.seconds
    assert same(params(tmp_path), params(fake_run[0]))
    steps = [line["step"] for line in read_log(tmp_path) if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_lines_beyond_the_checkpoint_are_written_anew(fake_run, tmp_path, monkeypatch):
    stop_after(monkeypatch, 4)
    with pytest.raises(RuntimeError, match="unforeseen"):
        trainer.train(fakes.experiment(), tmp_path, progress=False)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 1.0, "time": 1.0}\n{"step": 4, "lo')
    monkeypatch.setattr(session, "Loader", fakes.FakeLoader)
    trainer.train(fakes.experiment(), tmp_path, progress=False)
    lines = [(x["step"], x["loss"]) for x in read_log(tmp_path) if "loss" in x]
    assert lines == [(x["step"], x["loss"]) for x in read_log(fake_run[0]) if "loss" in x]
    assert same(params(tmp_path), params(fake_run[0]))


def test_training_works_outside_the_main_thread(fake_run, tmp_path):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        result = pool.submit(trainer.train, fakes.experiment(), tmp_path, progress=False).result()
    assert result.val_loss == fake_run[1].val_loss


def test_the_first_the_best_and_the_latest_checkpoints_stay(fake_run):
    path = epath.Path(fake_run[0])
    assert runs.steps(path) == [2, 6]
    assert runs.best(path) == 6
    assert not same(params(path, 2), params(path))


def test_a_setting_that_may_not_change_is_named(fake_run):
    with pytest.raises(UserError, match=r"model\.width back to 16"):
        model = dataclasses.replace(fakes.experiment().model, width=32)
        trainer.train(fakes.experiment(model=model), fake_run[0], progress=False)
    with pytest.raises(UserError, match="steps back to 6"):
        trainer.train(fakes.experiment(steps=8), fake_run[0], progress=False)
    again = trainer.train(fakes.experiment(log_every=3, keep=2), fake_run[0], progress=False)
    assert again.step == fakes.STEPS
    trainer.train(fakes.experiment(), fake_run[0], progress=False)


def test_other_data_under_the_same_name_are_refused(fake_run, monkeypatch):
    monkeypatch.setenv("FAKE_MANIFEST", "other")
    with pytest.raises(UserError, match="other content"):
        trainer.train(fakes.experiment(), fake_run[0], progress=False)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"thesis\.tex"):
        trainer.train(fakes.experiment(), tmp_path, progress=False)
    assert {p.name for p in tmp_path.iterdir()} == {"thesis.tex", "lock"}


def test_one_process_trains_at_a_time(fake_run):
    with (
        runs.locked(epath.Path(fake_run[0]), Hosts()),
        pytest.raises(UserError, match="Wait for the process"),
    ):
        trainer.train(fakes.experiment(), fake_run[0], progress=False)


def test_a_new_run_goes_on_from_the_whole_state_of_another(fake_run, tmp_path, capsys):
    """Half a run and a new run resumed from it make the same bits as one run."""
    path, _ = fake_run
    # The schedule knows the steps in all, so the first half is stopped, not shorter.
    half = tmp_path / "half"
    (half / "checkpoints").mkdir(parents=True)
    for name in ("experiment.json", "codec.json", "data.json"):
        shutil.copy(path / name, half)
    shutil.copytree(path / "checkpoints/2", half / "checkpoints/2")
    experiment = fakes.experiment(resume_from=str(half), init_from=str(path))
    trainer.train(experiment, tmp_path / "rest", progress=True)
    assert f"from the state of {half} at step 2" in capsys.readouterr().err
    assert same(params(tmp_path / "rest"), params(path, 6))
    with pytest.raises(UserError, match="more than the 6"):
        trainer.train(fakes.experiment(resume_from=str(path)), tmp_path / "none", progress=False)


def test_weights_of_another_codec_or_shape_are_refused(fake_run, tmp_path):
    path = str(fake_run[0])
    finer = fakes.experiment(init_from=path, codec=config.Codec(steps_per_beat=24))
    with pytest.raises(UserError, match=r"codec\.steps_per_beat to 12"):
        trainer.train(finer, tmp_path / "finer", progress=False)
    model = dataclasses.replace(fakes.experiment().model, hidden=32)
    with pytest.raises(UserError, match=r"layers\.down"):
        trainer.train(fakes.experiment(init_from=path, model=model), tmp_path / "w", False)


def test_missing_runs_and_checkpoints_are_named(fake_run, tmp_path):
    with pytest.raises(UserError, match=r"no experiment\.json"):
        weights.load(tmp_path)
    with pytest.raises(UserError, match="has 2, 6"):
        weights.load(fake_run[0], 4)


def test_a_run_without_finite_losses_gives_up(tmp_path):
    settings = {"learning_rate": 1e38, "clip": 1e38, "patience": 3}
    broken = dataclasses.replace(fakes.experiment().optimizer, **settings)
    with pytest.raises(UserError, match="not a finite number"):
        trainer.train(fakes.experiment(optimizer=broken, steps=30), tmp_path, progress=False)
    assert all(json.dumps(line) for line in read_log(tmp_path))


def test_a_full_disk_is_one_sentence(fake_run, tmp_path, monkeypatch):
    def full(self, step, *args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: write failed [source: No space left on device]")

    with monkeypatch.context() as patch:
        stop_after(patch, 4, lambda: patch.setattr(checkpoint.Checkpoints, "save", full))
        with pytest.raises(UserError, match="Free some space"):
            trainer.train(fakes.experiment(), tmp_path, progress=False)
    assert runs.steps(epath.Path(tmp_path)) == [2]
    trainer.train(fakes.experiment(), tmp_path, progress=False)
    assert same(params(tmp_path), params(fake_run[0]))


def optimizer(**changes):
    return {"optimizer": config.Optimizer(**{"warmup": 2} | changes)}


def samples(**changes):
    return {"samples": config.Samples(**changes)}


@pytest.mark.quick
@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steps": 2}, r"optimizer\.warmup"),
        ({"trackers": "tensorboard wandb"}, "TRACKERS"),
        ({"profile": "20"}, "as in 20-24"),
        ({"profile": "0-3"}, "as in 20-24"),
        ({"profile": "9-3"}, "as in 20-24"),
        (optimizer(schedule="step"), "cosine or wsd"),
        (optimizer(name="sgd"), "adamw or muon"),
        ({"callbacks": "samples mine"}, "jaxmusic.train.callbacks.CALLBACKS"),
        (samples(seconds=0.5), "1 to 3600 seconds"),
        (samples(statistics="polyphony beauty"), "not 'beauty'"),
        (samples(statistics="durations"), "not 'durations'"),
    ],
)
def test_settings_without_sense_are_refused_before_anything_is_made(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        trainer.train(fakes.experiment(**changes), tmp_path, progress=False)
    assert not (tmp_path / "experiment.json").exists()
