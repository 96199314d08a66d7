"""Watching a run: the log, trackers, goodput, profiles and the status in a terminal."""

import json
import math
import pathlib
import re
import subprocess
import sys
import time
import types

import hosts_fakes
import jax
import numpy as np
import pytest
import train_fakes as fakes
from etils import epath

from jaxmusic._src.cluster import peaks
from jaxmusic._src.commands import cli
from jaxmusic._src.core import locks, settings
from jaxmusic._src.runs import experiments, goodput, status
from jaxmusic._src.runs.log import read_log
from jaxmusic._src.train import callbacks, session, trackers, trainer
from jaxmusic._src.train.meter import Meter

pytestmark = pytest.mark.usefixtures("fake_data")
ROOT = pathlib.Path(__file__).resolve().parents[1]
# Spread over a run: what a process writes at its end is lost when it is killed.
TOY = {"eval_every": 0, "checkpoint_every": 4, "trackers": ""}


def metrics(loss=2.0, skipped=0.0):
    names = ("nll", "weight", "grad_norm", "learning_rate", "skipped")
    return {n: np.float32(x) for n, x in zip(names, (10 * loss, 10, 0.5, 1e-3, skipped))}


class Collector:
    """A tracker that keeps what it is given; it fails where a batch finds too much read."""

    def __init__(self, run, experiment, step):
        self.lines, self.closed = [], False
        self.opened = (pathlib.Path(run).name, experiment.steps, step)
        made.append(self)

    def record(self, step, values):
        self.lines.append((step, dict(values)))

    def close(self):
        self.closed = True


made = []


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A run that crashed at step 6 of 8, went on from step 4 and was finished; its trackers."""
    run = tmp_path_factory.mktemp("runs") / "crashed"
    experiment = fakes.experiment(steps=8, **TOY | {"trackers": "tensorboard mine"})
    read_before, reads = [], []

    class Loader(fakes.FakeLoader):
        def iterate(self, start=0, *args):
            for at, batch in enumerate(super().iterate(start, *args), start=start):
                read_before.append((at, len(reads)))
                if start == 0 and at == 6:
                    raise RuntimeError("the cat sat on the switch")
                yield batch

    def device_get(tree):
        if isinstance(tree, dict) and "grad_norm" in tree:
            reads.append(tree)
        return get(tree)

    get = jax.device_get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Loader", Loader)
        patch.setattr(jax, "device_get", device_get)
        patch.setitem(trackers.TRACKERS, "mine", Collector)
        made.clear()
        with pytest.raises(RuntimeError, match="the cat"):
            trainer.train(experiment, run, progress=False)
        before = status.status(run)
        trainer.train(experiment, run, progress=False)
    return run, before, list(made), read_before


def test_the_loop_never_waits_for_the_step_it_has_started(crashed):
    """When the batch of the next step is wanted, the last one started has not been read."""
    *_, read_before = crashed
    # Step 4 was read because it was saved, and so were all before; then 5 was not.
    assert read_before[:7] == [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (5, 4), (6, 5)]


def test_a_tracker_of_ones_own_gets_all_figures(crashed):
    first, second = crashed[2]
    assert first.opened == ("crashed", 8, 0) and second.opened == ("crashed", 8, 4)
    assert first.closed and second.closed
    losses = [(step, x["loss"]) for step, x in first.lines + second.lines if "loss" in x]
    assert [step for step, _ in losses] == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    assert losses[4] == losses[5]  # step 5 was made again
    line = next(x for _, x in second.lines if "loss" in x)
    assert {"grad_norm", "learning_rate", "tokens_per_s", "data_wait", "skipped"} <= set(line)
    assert {"step_p50", "step_p90", "step_p99", "goodput", "time/training"} <= set(line)
    assert "mfu" not in line  # nobody knows the peak of a CPU
    assert second.lines[0][1]["start"] == 2 and second.lines[-1][1]["end"] == "finished"


def test_the_log_has_each_step_once_and_counts_what_was_lost(crashed):
    run, before, *_ = crashed
    assert [x["step"] for x in read_log(run)] == [1, 2, 3, 4, 5, 6, 7, 8]
    lines = read_log(run, events=True)
    assert [x["start"] for x in lines if "start" in x] == [1, 2]
    assert {"checkpoint_seconds", "host"} <= {name for x in lines for name in x}
    assert lines[-1]["end"] == "finished"
    parts = goodput.parts(lines[-1])
    assert set(parts) == set(goodput.PARTS) and min(parts.values()) >= 0
    assert parts["lost"] > 0 and parts["compiling"] > 0 and parts["saving"] > 0
    wall = lines[-1]["time"] - lines[0]["time"] + sum(goodput.parts(lines[0]).values())
    assert sum(parts.values()) == pytest.approx(wall, abs=0.1)
    assert lines[-1]["goodput"] == pytest.approx(parts["training"] / sum(parts.values()), abs=1e-3)
    assert before["state"] == "failed"
    assert before["reason"] == "RuntimeError: the cat sat on the switch"
    assert before["step"] == 5 and before["starts"] == 1


def test_the_status_of_a_real_run(crashed, capsys):
    run = crashed[0]
    found = status.status(run)
    assert found["state"] == "finished" and (found["step"], found["steps"]) == (8, 8)
    assert found["starts"] == 2 and "seconds_left" not in found
    assert found["checkpoints"] == [4, 8] and "best_checkpoint" not in found
    assert found["time/lost"] > 0
    with pytest.raises(SystemExit, match="0"):
        cli.main(["status", str(run), "--json"])
    assert json.loads(capsys.readouterr().out) == found
    assert (run / "tensorboard").is_dir()


@pytest.mark.quick
def test_the_clock_divides_all_of_the_time():
    now = [100.0]
    clock = goodput.Clock({"training": 5.0}, began=90.0, clock=lambda: now[0])
    # Somebody sets the clock back once.
    spent = (("compiling", 20), ("starting", 1), ("data", 2), ("training", 30), ("saving", -7))
    before = "starting"
    for part, seconds in spent:
        assert clock.enter(part) == before
        now[0] += seconds
        before = part
    expected = {"starting": 11, "compiling": 20, "training": 35, "data": 2}
    assert {k: v for k, v in clock.read().items() if v} == expected


def line(step, now, **parts):
    return {"step": step, "time": now} | {goodput.FIELD + k: float(v) for k, v in parts.items()}


@pytest.mark.quick
def test_what_follows_the_checkpoint_is_lost():
    lines = [
        line(0, 1000, starting=5),
        line(10, 1030, starting=5, compiling=20, training=10),
        line(20, 1042, starting=5, compiling=20, training=20, saving=2),
        line(30, 1054, starting=5, compiling=20, training=29, saving=2, data=3),
    ]
    past = goodput.past(lines, 20, began=1060)
    expected = {"starting": 5, "compiling": 20, "training": 20, "saving": 2, "lost": 12, "down": 6}
    assert {k: v for k, v in past.items() if v} == expected
    # Killed again before the first line of training: the start that it wrote counts.
    again = [*lines[:3], line(20, 1061, **past | {"starting": 6})]
    assert goodput.past(again, 20, began=1100)["down"] == 6 + 39
    assert sum(goodput.past(again, 20, began=1100).values()) == 1100 - 995
    # Nothing was saved: all of it is lost, and all of the wall time is still there.
    from_scratch = goodput.past(lines, 0, began=1060)
    assert from_scratch["lost"] == 54 and sum(from_scratch.values()) == 1060 - 995
    assert goodput.share({"training": 30.0, "down": 10.0}) == 0.75


@pytest.mark.quick
def test_the_meter_sums_up_steps(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Meter(flops=400.0, peak=1000.0)
    for loss, skipped in ((2.0, 0), (math.inf, 1), (4.0, 0), (3.0, 0)):
        now[0] += 0.25 if loss < 4 else 1.25
        meter.step(metrics(loss, skipped))
    now[0] += 5
    meter.aside(5.0)
    meter.wait(0.5)
    found = meter.line()
    assert found["loss"] == pytest.approx(3.0) and found["skipped"] == 1
    assert found["tokens_per_s"] == pytest.approx(40 / 3)
    assert found["mfu"] == pytest.approx(4 * 400 / 3 / 1000)
    assert found["data_wait"] == pytest.approx(0.5 / 3)
    # In time: 0.25, 1.25 (not finite), 1.25, 0.25.
    assert found["step_p50"] == pytest.approx(0.75) and found["step_p99"] == pytest.approx(1.25)
    unknown = Meter(flops=400.0, peak=0.0)
    unknown.step(metrics())
    assert "mfu" not in unknown.line()


@pytest.mark.quick
def test_peaks_of_devices():
    tera = {
        "NVIDIA H100 80GB HBM3": 989,
        "NVIDIA H100 PCIe": 756,
        "NVIDIA A100-SXM4-40GB": 312,
        "NVIDIA L4": 121,
        "NVIDIA L40S": 362,
        "TPU v5 lite": 197,
        "TPU v5": 459,
        **dict.fromkeys(("cpu", "NVIDIA H1000", "TPU v99"), 0),
    }
    assert {kind: peaks.peak_flops(kind) / 1e12 for kind in tera} == tera


def test_a_profile_of_some_steps(tmp_path):
    """In a process of its own: a profiler that was started once stays in the process."""
    options = ("--profile", "3-4", "--eval-every", "0", "--trackers", "")
    command = [*hosts_fakes.TRAIN, "--run", str(tmp_path), *options]
    environment = hosts_fakes.environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"A profile is in {tmp_path / 'profile'}: open it with TensorBoard" in done.stderr
    names = [p.name for p in (tmp_path / "profile" / "plugins" / "profile").rglob("*.*")]
    assert any(n.endswith(".xplane.pb") for n in names)
    assert any(n.endswith(".trace.json.gz") for n in names)
    assert goodput.parts(read_log(tmp_path, events=True)[-1])["profiling"] > 0


@pytest.fixture
def run(tmp_path):
    """A folder with the description of a run of 100 steps."""
    data = {"dataset": "fake:1.0.0", "manifest": "abc", "styles": ["fake"], "controls": ["styles"]}
    (tmp_path / "experiment.json").write_text(settings.to_json(fakes.experiment(steps=100)))
    (tmp_path / "codec.json").write_text(fakes.codec().to_json())
    (tmp_path / "data.json").write_text(json.dumps(data))
    return tmp_path


def log(*lines, cut=""):
    return "".join(json.dumps(x) + "\n" for x in lines) + cut


START = {"start": 1, "devices": 8, "device": "TPU v5 lite", "host": "w-0", "peak_flops": 1.576e15}
NOW = 5000.0


def trained(step, now, loss=3.0):
    figures = {"loss": loss, "tokens_per_s": 81234.5, "mfu": 0.412, "data_wait": 0.004}
    figures |= {"step_p50": 0.5, "step_p90": 0.51, "step_p99": 0.9, "skipped": 1.0}
    return line(step, now, training=step / 2, compiling=20) | figures


LINES = [line(0, 4000) | START, *(trained(s, 4900 + 2 * s, 9 / s) for s in range(1, 41))]


@pytest.mark.quick
@pytest.mark.parametrize(
    "lines, held, now, state",
    [
        ([], False, NOW, "stopped"),
        ([], True, NOW, "starting"),
        ([line(0, 4000) | START], True, 4010, "starting"),
        ([line(0, 4000) | START], True, 9000, "stuck"),
        (LINES, True, NOW, "training"),
        (LINES, True, 4980 + 61, "stuck"),
        (LINES, False, NOW, "killed"),
        ([*LINES, line(40, 4985) | {"end": "stopped"}], False, NOW, "stopped"),
        ([*LINES, line(40, 4985) | {"end": "OSError: no"}], False, NOW, "failed"),
        ([*LINES, line(40, 4990) | START | {"start": 2}], True, NOW, "starting"),
        ([*LINES, trained(100, 4990)], True, NOW, "finishing"),
        ([*LINES, trained(100, 4990)], False, NOW, "killed"),  # the last checkpoint is missing
    ],
)
def test_states_of_a_run(run, lines, held, now, state):
    (run / "log.jsonl").write_text(log(*lines, cut='{"step": 41, "lo'))
    with locks.held(run / "lock", "busy") if held else memoryview(b""):
        found = status.status(run, now)
    assert found["state"] == state
    assert (found.get("reason") == "OSError: no") == (state == "failed")
    assert state in status.table([found])


@pytest.mark.quick
def test_what_the_status_says(run):
    text = log(*LINES[:20], line(19, 4950) | {"val_loss": 2.5}, *LINES[20:])
    saved = line(40, 4981, training=9, compiling=20) | {"checkpoint_seconds": 0.02}
    (run / "log.jsonl").write_text(text + log(saved))
    for step, loss in ((20, 1.5), (40, 1.75)):
        metrics = run / "checkpoints" / str(step) / "metrics"
        metrics.mkdir(parents=True)
        (metrics / "metrics").write_text(json.dumps({"val_loss": loss}))
    (run / "checkpoints" / "60.orbax-checkpoint-tmp").mkdir()
    with locks.held(run / "lock", "busy"):
        found = status.status(run, NOW)
    assert found["checkpoints"] == [20, 40] and found["best_checkpoint"] == 20
    assert found["seconds_left"] == pytest.approx(60 * 2)
    assert found["skipped"] == 40 and found["val_loss"] == 2.5 and found["lowest_val_step"] == 19
    shown = dict(re.split("  +", row, maxsplit=1) for row in status.table([found]).splitlines())
    wanted = {
        "state": "training",
        "step": "40 of 100 (40.0%)",
        "seconds_left": "2:00 min",
        "loss": "0.225",
        "mfu": "0.412",
        "step_p50": "500 ms",
        "time/compiling": "20 s",
        "checkpoints": "20, 40",
        "devices": "8",
    }
    assert wanted.items() <= shown.items()
    two = status.table([found, found]).splitlines()[1]
    assert two.split() == ["state", "training", "training"]


@pytest.mark.quick
def test_a_run_in_a_bucket(run, monkeypatch):
    """There, who holds the run writes its lock anew, and a checkpoint's last file completes it."""

    class Stat:
        mtime = 4990

    monkeypatch.setattr(status.runs, "folder", epath.Path)
    monkeypatch.setattr(status.paths, "in_bucket", lambda path: True)
    monkeypatch.setattr(type(epath.Path(run)), "stat", lambda path: Stat())
    (run / "log.jsonl").write_text(log(*LINES))
    for step in (20, 40):
        (run / "checkpoints" / str(step)).mkdir(parents=True)
    (run / "checkpoints" / "20" / "commit_success.txt").touch()
    assert status.status(run, NOW)["state"] == "killed"
    (run / "lock").touch()
    found = status.status(run, NOW)
    assert found["state"] == "training" and found["checkpoints"] == [20]
    assert found["saved"] == 4990
    assert status.status(run, 4990 + 121)["state"] == "killed"


@pytest.mark.quick
def test_the_status_of_no_run_is_a_sentence(run, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("other")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["status", str(other), str(run)])
    said = capsys.readouterr()
    assert said.err == f"jaxmusic: Name the folder of a run: {other} holds no experiment.json.\n"
    assert "0 of 100" in said.out
    with pytest.raises(SystemExit, match="2"):
        cli.main(["status"])


@pytest.mark.quick
def test_watching_ends_with_ctrl_c(run, monkeypatch, capsys):
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", sleep)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["status", str(run), "--watch"])
    assert capsys.readouterr().out.count("0 of 100") == 3


@pytest.mark.quick
def test_the_status_needs_no_jax(run):
    code = "import sys\nfrom jaxmusic.__main__ import main\ntry:\n  main(['status', sys.argv[1]])\n"
    code += "finally:\n  print('jax' in sys.modules)"
    command = [sys.executable, "-c", code, str(run)]
    environment = hosts_fakes.environment()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.quick
def test_durations():
    seconds = (0.0123, 7.25, 187, 8100, 300_000)
    assert [status.duration(s) for s in seconds] == [
        *("12.3 ms", "7.25 s", "3:07 min", "2:15 h", "3.5 days")
    ]


def documented(number, folder):
    """An example of the documentation, as it stands."""
    text = (ROOT / "docs" / "watching.md").read_text()
    path = folder / "example.py"
    path.write_text(re.findall(r"```python\n(\"\"\"pop_cpu.*?)```", text, re.DOTALL)[number])
    return experiments.load_experiment(str(path))


def test_the_tracker_in_the_documentation_works(tmp_path, monkeypatch):
    calls: list = []
    service = types.SimpleNamespace(
        log=lambda values, step: calls.append((step, values["loss"])),
        finish=lambda: calls.append("finished"),
    )
    wandb = types.SimpleNamespace(init=lambda **settings: calls.append(settings["name"]) or service)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(trackers, "TRACKERS", dict(trackers.TRACKERS))
    experiment = documented(1, tmp_path)
    first, second = trackers.chosen(experiment.trackers)
    assert first is trackers.TensorBoard
    tracker = second(epath.Path(tmp_path / "runs" / "pop"), experiment, 0)
    tracker.record(10, {"loss": 2.5})
    tracker.close()
    assert calls == ["pop", (10, 2.5), "finished"]


def test_the_callback_in_the_documentation_works(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "CALLBACKS", dict(callbacks.CALLBACKS))
    callbacks.check(documented(0, tmp_path))
    calls = []
    watch = types.SimpleNamespace(record=lambda step, values: calls.append((step, values)))
    callback = callbacks.CALLBACKS["norm"](types.SimpleNamespace(monitor=watch))
    callback(100, {"a": jax.numpy.full(2, 2.0), "b": jax.numpy.ones((1, 1))})
    assert callback.every == 100 and calls == [(100, {"norm": 3.0})]
