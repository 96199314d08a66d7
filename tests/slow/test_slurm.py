"""launch/slurm.sh under a real Slurm: two nodes, preempted twice, resumed to the end."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from jaxmusic._src.cluster import exits

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 400
EXPERIMENT = f"""
from jaxmusic import config


def experiment():
    return config.Experiment(
        data=config.Data(dataset="starter", data_dir=DATA, context=128, batch=2),
        model=config.Transformer(layers=1, width=32, heads=2, kv_heads=1, head_dim=16, hidden=64),
        optimizer=config.Optimizer(warmup=2),
        steps={STEPS},
        eval_every=0,
        checkpoint_every=20,
        log_every=20,
    )
"""


@pytest.fixture
def slurm(tmp_path: pathlib.Path) -> Iterator[Callable[..., str]]:
    """Runs a command of Slurm in a cluster of its own, and returns what it prints."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    folder = tmp_path / "slurm"
    folder.mkdir()
    ports = [str(port) for port in free_ports(3)]
    script = ["bash", str(ROOT / "tests/slurm_cluster.sh"), str(folder), *ports]
    env = {
        **os.environ,
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
    }

    def command(*args: str) -> str:
        done = subprocess.run(
            args, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return done.stdout.strip()

    def ready() -> bool:
        with contextlib.suppress(AssertionError):
            return command("sinfo", "--noheader", "--format=%D %T") == "2 idle"
        return False

    with open(folder / "out", "w") as out:
        cluster = subprocess.Popen(script, stdout=out, stderr=out)
    try:
        until(ready, 30, lambda: (folder / "out").read_text())
        yield command
    finally:
        # Its processes have a namespace of their own, and end with it.
        cluster.kill()
        cluster.wait()


def missing() -> str:
    """Why there can be no Slurm here; empty if there can."""
    programs = ("sbatch", "slurmctld", "slurmd", "munged", "unshare", "setpriv")
    lacking = [name for name in programs if not shutil.which(name)]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "Slurm's daemons need root here"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"]).returncode:
        return "namespaces of mounts and processes are not allowed here"
    return ""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def until(done: Callable[[], bool], seconds: float, told: Callable[[], str]) -> None:
    """Waits for something, and fails with what is `told` if it does not come."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, told()
        time.sleep(0.2)


def test_preempted_job_saves_is_requeued_and_goes_on(
    slurm: Callable[..., str], starter_data: pathlib.Path, tmp_path: pathlib.Path
):
    run, config = tmp_path / "run", tmp_path / "toy.py"
    config.write_text(f"DATA = {str(starter_data)!r}\n{EXPERIMENT}")
    script = str(ROOT / "launch/slurm.sh")
    job = slurm(
        *("sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1"),
        *(script, str(config), "--run", str(run)),
    )
    log = tmp_path / f"jaxmusic-{job}.log"

    def said(pattern: str) -> list[str]:
        return re.findall(pattern, log.read_text()) if log.exists() else []

    def state() -> str:
        (found,) = re.findall(r"JobState=(\w+)", slurm("scontrol", "show", "job", job))
        return found

    def told() -> str:
        text = log.read_text() if log.exists() else "no log"
        return f"{slurm('scontrol', 'show', 'job', job)}\n{text}"

    def trained_past(step: int) -> Callable[[], bool]:
        return lambda: any(
            path.name.isdigit() and int(path.name) > step for path in run.glob("checkpoints/*")
        )

    saved = f"tasks ended with exit code {exits.SAVED}"
    until(trained_past(0), 90, told)
    # As by --signal before the time limit: the tasks save, and the script requeues.
    slurm("scancel", "--signal=TERM", job)
    until(lambda: len(said(saved)) == 1, 60, told)
    until(lambda: len(said("going on from")) == 1, 90, told)
    (first,) = map(int, said(r"going on from its own checkpoint of step (\d+)"))
    until(trained_past(first), 60, told)
    # As by a job of higher priority: Slurm itself ends and requeues it.
    slurm("scontrol", "requeue", job)
    until(lambda: state() in ("COMPLETED", "FAILED", "CANCELLED"), 120, told)

    assert state() == "COMPLETED", told()
    assert "Restarts=2" in slurm("scontrol", "show", "job", job)
    assert len(said(saved)) == 2, told()
    # Nothing was lost: it went on where it had saved.
    steps = [int(step) for step in said(r"going on from its own checkpoint of step (\d+)")]
    assert steps == [int(step) for step in said(r"Saved at step (\d+)")], told()
    assert 0 < steps[0] < steps[1] < STEPS
    assert (run / f"checkpoints/{STEPS}").is_dir()
    assert said("tasks ended with exit code 0")
