"""A run that is killed again and again ends in the bits of one that was never killed."""

import pathlib
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import hosts_fakes
import train_fakes as fakes

from jaxmusic._src.runs import folder as runs
from jaxmusic._src.train.monitor import read_log

STEPS = 60
KILLS = 20


def start(run):
    settings = ["--steps", str(STEPS), "--checkpoint-every", "1", "--eval-every", "5"]
    command = [*hosts_fakes.TRAIN, "--run", str(run), *settings]
    variables = hosts_fakes.environment()
    return subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)


def finish(run):
    process = start(run)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


def saving(run):
    """Whether a checkpoint is being written at this moment."""
    folder = run / "checkpoints"
    return folder.is_dir() and any("tmp" in p.name for p in folder.iterdir())


def test_kills_change_no_bit(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(whole)
    rng = np.random.default_rng(0)
    reached, amid_save = [], 0
    for kill in range(KILLS):
        before = max(runs.steps(broken), default=0)
        process = start(broken)
        while max(runs.steps(broken), default=0) <= before and process.poll() is None:
            time.sleep(0.001)
        # Half of the kills come at any time, half as soon as a save is seen going on.
        time.sleep(rng.uniform(0, 0.1))
        while kill % 2 and not saving(broken) and process.poll() is None:
            pass
        process.kill()
        process.communicate()
        amid_save += saving(broken)
        reached.append(max(runs.steps(broken)))
    assert reached[-1] < STEPS and reached == sorted(set(reached))
    assert amid_save >= 4
    finish(broken)
    assert not saving(broken)
    assert fakes.same(fakes.params(whole, STEPS), fakes.params(broken, STEPS))
    values = [
        [(x["step"], x.get("loss"), x.get("val_loss")) for x in read_log(run)]
        for run in (whole, broken)
    ]
    assert values[0] == values[1]
