"""Waiting: where the time of a training goes that is not spent on steps, data above all.

Some steps of `pop_cpu` as anybody would run them, on a prepared dataset; the figures are those of
the run's own log.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import tempfile

from benchmarks.runner import Options, Result, Row
from jaxmusic.runs import experiments
from jaxmusic.runs.goodput import FIELD
from jaxmusic.runs.log import read_log
from jaxmusic.train import trainer

STEPS = 100
MOST = 0.01
"""Share of the time of steps that waiting for data may take."""


def run(options: Options) -> Result:
    """Trains for a minute and reads the log."""
    experiment = experiments.load_experiment("pop_cpu")
    data = dataclasses.replace(
        experiment.data,
        data_dir=str(options.folder("data_dir")),
        dataset=options.dataset or experiment.data.dataset,
    )
    optimizer = dataclasses.replace(experiment.optimizer, warmup=10)
    experiment = dataclasses.replace(
        experiment, data=data, optimizer=optimizer, steps=options.count or STEPS, log_every=10
    )
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        trainer.train(experiment, run)
        lines = [line for line in read_log(run) if "data_wait" in line]
    # The first line has the filling of the loader in it, and the first steps of the program.
    later, last = lines[1:], lines[-1]
    waited = statistics.mean(line["data_wait"] for line in later)
    speed = statistics.median(line["tokens_per_s"] for line in later)
    rows = [
        Row(("tokens per second (median)", round(speed), "1/s")),
        Row(("a step: p50", round(last["step_p50"], 3), "s")),
        Row(("a step: p90", round(last["step_p90"], 3), "s")),
        Row(("a step: p99", round(last["step_p99"], 3), "s")),
        Row(
            ("waiting for data, of the time of steps", round(waited, 5), ""),
            f"less than {MOST:g}",
            waited < MOST,
        ),
    ]
    rows += [
        Row((f"{name[len(FIELD) :]}, in all", round(seconds, 2), "s"))
        for name, seconds in last.items()
        if name.startswith(FIELD)
    ]
    return Result(("what", "value", "unit"), tuple(rows))
