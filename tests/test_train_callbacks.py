"""Samples on the way, callbacks of one's own, and a training that neither of them changes."""

import dataclasses
import io
import math
import os
import wave

import jax
import numpy as np
import pytest
import toys
import train_fakes as fakes
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from jaxmusic import config
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.data import starter
from jaxmusic._src.evaluate.statistics import STATISTICS
from jaxmusic._src.formats import audio
from jaxmusic._src.formats.midi import read_notes
from jaxmusic._src.runs import weights
from jaxmusic._src.runs.log import read_log
from jaxmusic._src.train import callbacks, monitor, samples, trainer

SAMPLES = config.Samples(every=2, pieces=2, seconds=6.0, statistics="polyphony pitches")


def events(run):
    """All events of a run for TensorBoard: length, its checksum, content, its checksum."""
    for file in sorted((run / "tensorboard").iterdir(), key=lambda p: p.stat().st_mtime):
        data = io.BytesIO(file.read_bytes())
        while head := data.read(12):
            yield Event.FromString(data.read(int.from_bytes(head[:8], "little")))
            data.read(4)


@pytest.fixture(scope="module")
def watched(starter_data, tmp_path_factory):
    """A run with samples that was stopped after step 5, though it had a checkpoint of step 3.

    Sound cannot be made in the first start.
    """
    run = tmp_path_factory.mktemp("watched") / "run"
    experiment = dataclasses.replace(toys.experiment(starter_data), samples=SAMPLES)
    notes, sizes = [], []

    class Samples(samples.Samples):
        def __call__(self, step, params):
            super().__call__(step, params)
            assert self._composer.sampler._weights is None
            sizes.append((step, self._composer.sampler._sample._cache_size()))
            if step == 4 and len(sizes) == 2:
                raise KeyboardInterrupt

    def silent(*args):
        raise UserError("Sound needs soxr.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitor.Monitor, "note", lambda self, text: notes.append(text))
        patch.setitem(callbacks.CALLBACKS, "samples", Samples)
        with patch.context() as inner:
            inner.setattr(audio, "encoded", silent)
            with pytest.raises(KeyboardInterrupt):
                trainer.train(experiment, run, progress=False)
        stale = run / "samples" / "step-5"
        stale.mkdir()
        (run / "samples" / "step-2" / "mine.txt").write_text("kept")
        trainer.train(experiment, run, progress=False)
    return run, notes, sizes


def test_samples_do_not_change_the_training(watched, toy_run):
    assert fakes.same(fakes.params(watched[0], 6), fakes.params(toy_run, 6))
    losses = [
        [(x["step"], x.get("loss"), x.get("val_loss")) for x in read_log(run)]
        for run in (watched[0], toy_run)
    ]
    assert losses[0] == losses[1]


def test_samples_are_in_the_folder_once(watched):
    run, *_ = watched
    files = sorted(str(p.relative_to(run / "samples")) for p in (run / "samples").rglob("*.mid"))
    assert files == [f"step-{step}/{i}.mid" for step in (2, 4, 6) for i in (1, 2)]
    assert not (run / "samples" / "step-5").exists()
    assert (run / "samples" / "step-2" / "mine.txt").exists()
    for file in files:
        notes = read_notes(run / "samples" / file)
        assert float(notes.seconds(notes.end)) == pytest.approx(6, abs=0.01)


def test_samples_are_those_of_the_weights_of_their_step(watched, toy_run):
    """The first piece is the one that the checkpoint composes with the seed of the run."""
    from jaxmusic._src.model import load

    (piece,) = load(watched[0], 6).compose(duration=6.0, seed=0, count=1)
    made = read_notes(watched[0] / "samples" / "step-6" / "1.mid")
    assert np.array_equal(made.pitch, piece.notes.pitch)
    assert np.array_equal(made.onset, piece.notes.onset)


def test_programs_are_compiled_the_first_time(watched):
    sizes = watched[2]
    assert [step for step, _ in sizes] == [2, 4, 4, 6]
    assert sizes[0][1] == sizes[1][1] == 1 and sizes[2][1] == sizes[3][1] == 1


def test_statistics_of_samples_and_of_real_music_are_recorded(watched, starter_data):
    run, *_ = watched
    lines = [x for x in read_log(run, events=True) if "samples/polyphony" in x]
    assert [x["step"] for x in lines] == [2, 4, 6]
    for line in lines:
        made = [read_notes(run / "samples" / f"step-{line['step']}" / f"{i}.mid") for i in (1, 2)]
        for name in ("polyphony", "pitches"):
            mean = np.mean([STATISTICS[name].of(notes) for notes in made])
            assert line[f"samples/{name}"] == pytest.approx(mean)
        assert line["real/polyphony"] == lines[0]["real/polyphony"] > 1
        assert line["time/composing"] > 0
    assert lines[-1]["real/pitches"] == lines[0]["real/pitches"] > 3


def test_tensorboard_gets_pictures_and_sound(watched):
    run, notes, _ = watched
    seen = {}
    for event in events(run):
        for value in event.summary.value:
            seen.setdefault(value.tag, []).append((event.step, value))
    assert [step for step, _ in seen["samples/polyphony"]] == [2, 4, 4, 6]
    for i in (1, 2):
        pictures = seen[f"samples/{i}/picture"]
        assert [step for step, _ in pictures] == [2, 4, 4, 6]
        image = pictures[0][1].image
        assert Image.open(io.BytesIO(image.encoded_image_string)).size == (
            image.width,
            image.height,
        )
    (_, last) = seen["samples/1/sound"][-1]
    assert [step for step, _ in seen["samples/1/sound"]] == [4, 6]  # the second start has sound
    with wave.open(io.BytesIO(last.audio.encoded_audio_string)) as file:
        assert file.getframerate() == last.audio.sample_rate == samples.RATE
        assert 6 <= file.getnframes() / file.getframerate() <= 8 and file.getnchannels() == 1
    without = [text for text in notes if "without sound" in text]
    assert len(without) == 1 and without[0].endswith("Sound needs soxr.")


class Norm:
    """A custom callback, which fails if NORM_FAILS is set."""

    every = 3

    def __init__(self, session):
        self.session, self.fails = session, os.environ.get("NORM_FAILS", "")

    def __call__(self, step, params):
        if self.fails:
            raise OSError(28, "No space left on device", "/full")
        total = sum(float((x**2).sum()) for x in params.values())
        self.session.monitor.record(step, {"norm": math.sqrt(total)})


@pytest.fixture
def norm(fake_data, monkeypatch):
    monkeypatch.setitem(callbacks.CALLBACKS, "norm", Norm)
    optimizer = dataclasses.replace(fakes.experiment().optimizer, ema=0.5)
    changes = {"callbacks": "samples norm", "trackers": "", "eval_every": 0, "steps": 7}
    return fakes.experiment(optimizer=optimizer, checkpoint_every=7, **changes)


def test_a_callback_of_ones_own_sees_the_weights_that_compose(norm, tmp_path):
    trainer.train(norm, tmp_path, progress=False)
    lines = [x for x in read_log(tmp_path, events=True) if "norm" in x]
    assert [x["step"] for x in lines] == [3, 6, 7]
    average = jax.tree.leaves(weights.load(tmp_path).params)
    total = sum(float((np.asarray(x) ** 2).sum()) for x in average)
    assert lines[-1]["norm"] == pytest.approx(math.sqrt(total), rel=1e-6)


def test_one_that_fails_is_named_and_the_training_goes_on(norm, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NORM_FAILS", "1")
    assert trainer.train(norm, tmp_path, progress=True).step == 7
    shown = [x for x in capsys.readouterr().err.splitlines() if "training goes on" in x]
    assert len(shown) == 1
    assert shown[0].endswith("after step 3 this went wrong in norm: No space left on device: /full")
    failed = [x for x in read_log(tmp_path, events=True) if "callback_failed" in x]
    assert [x["step"] for x in failed] == [3, 6, 7]
    assert failed[0]["callback_failed"] == "norm: No space left on device: /full"


@pytest.mark.quick
def test_the_beginning_of_a_piece():
    whole = next(starter.corpus(1, first=53))
    part = samples.beginning(whole, 10.0)
    assert float(part.seconds(part.end)) == pytest.approx(10, abs=0.01)
    assert (part.onset + part.duration).max() <= part.end and 0 < len(part) < len(whole)
    assert np.array_equal(part.onset, whole.onset[: len(part)])
    assert samples.beginning(whole, 1e4) is whole
