"""launch/local.py with a real training: stopped, and started again."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from jaxmusic._src.cluster import exits

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 120


def test_two_processes_save_on_sigterm_and_go_on(
    starter_data: pathlib.Path, tmp_path: pathlib.Path
):
    config, run = tmp_path / "toy.py", tmp_path / "run"
    config.write_text(f"""
from jaxmusic import config


def experiment():
    return config.Experiment(
        data=config.Data(
            dataset="starter", data_dir={str(starter_data)!r}, context=128, batch=4
        ),
        model=config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64),
        optimizer=config.Optimizer(warmup=2),
        steps={STEPS},
        eval_every=0,
        checkpoint_every=20,
    )
""")
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [
        *(sys.executable, str(ROOT / "launch/local.py"), "--processes", "2"),
        *("--cpu-devices", "4", str(config), "--run", str(run)),
    ]

    def start(log: pathlib.Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env={**os.environ, "PATH": path},
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )

    logs = [tmp_path / "first", tmp_path / "second"]
    process = start(logs[0])
    end = time.monotonic() + 120
    while not list(run.glob("checkpoints/[0-9]*")) and process.poll() is None:
        assert time.monotonic() < end, logs[0].read_text()
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == exits.SAVED, logs[0].read_text()
    assert start(logs[1]).wait(timeout=240) == exits.FINISHED, logs[1].read_text()

    first, second = (log.read_text() for log in logs)
    (saved,) = re.findall(r"^0: .*Saved at step (\d+)", first, re.MULTILINE)
    assert f"going on from its own checkpoint of step {saved}" in second
    assert (run / f"checkpoints/{STEPS}").is_dir()
    # Both processes speak, each line led by its number.
    assert {line[:3] for line in first.splitlines()} == {"0: ", "1: "}
