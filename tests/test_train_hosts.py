"""Training with two processes on this machine."""

import os
import re
import subprocess

import hosts_fakes
import numpy as np
import pytest
import train_fakes as fakes
from etils import epath

from jaxmusic._src.cluster import exits, hosts
from jaxmusic._src.core.errors import UserError
from jaxmusic._src.runs import folder as runs
from jaxmusic._src.runs.log import read_log


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two processes that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with hosts_fakes.processes(run) as processes:
        codes = [process.wait() for process in processes]
        said = [process.said for process in processes]
    assert codes == [0, 0], "\n".join(said)
    return run, said


def test_two_processes_train_the_same_as_one(whole, tmp_path):
    run, said = whole
    one = tmp_path / "one"
    flags = "--xla_force_host_platform_device_count=2"
    variables = hosts_fakes.environment(XLA_FLAGS=flags)
    command = [*hosts_fakes.TRAIN, "--run", str(one)]
    subprocess.run(command, env=variables, check=True, capture_output=True)
    for a, b in zip(fakes.params(run), fakes.params(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name in ("loss", "val_loss"):
        values = [[x[name] for x in read_log(r) if name in x] for r in (run, one)]
        assert len(values[0]) == len(values[1]) > 0
        np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    # Process 0 writes and shows for both.
    assert "starting from scratch" in said[0] and "starting from scratch" not in said[1]
    assert [x["step"] for x in read_log(run) if "loss" in x] == [1, 2, 3, 4, 5, 6]


def test_what_differs_is_named_on_all_processes_and_starts_nothing_again(tmp_path):
    """The supervisors take it for a mistake, not for a crash."""
    own = ((), ("--optimizer.learning-rate", "0.5", "--data.workers", "1"))
    run = tmp_path / "run"
    with hosts_fakes.processes(run, ("--restarts", "3"), own) as processes:
        assert [process.wait() for process in processes] == [exits.MISTAKE] * 2
        for process in processes:
            assert re.search(
                r"jaxmusic: .*optimizer\.learning_rate is 0\.01 on process 0 on \S+, "
                r"0\.5 on process 1 on \S+\.",
                process.said,
            ), process.said
            assert "workers" not in process.said and "Traceback" not in process.said
            assert "starting again" not in process.said
    assert not (run / "experiment.json").exists()


def test_a_mistake_of_process_0_ends_the_others_with_its_sentence(tmp_path):
    run = tmp_path / "run"
    with (
        runs.locked(epath.Path(run), hosts.Hosts()),
        hosts_fakes.processes(run) as processes,
    ):
        assert [process.wait() for process in processes] == [exits.MISTAKE] * 2
        for process in processes:
            assert "Wait for the process that trains in" in process.said
            assert "Traceback" not in process.said


def test_sigterm_to_one_of_two_saves_on_both(whole, tmp_path, monkeypatch):
    run = tmp_path / "run"
    # JAX looks once a second whether the signal has come: the steps must take longer.
    monkeypatch.setenv("PACE", "1")
    with hosts_fakes.processes(run, faults=("", "1 term")) as processes:
        assert [process.wait() for process in processes] == [exits.SAVED] * 2, processes[1].said
        assert re.search(r"Saved at step [2345]\b", processes[0].said)
    monkeypatch.delenv("PACE")
    with hosts_fakes.processes(run) as processes:
        assert [process.wait() for process in processes] == [0, 0], processes[1].said
    assert fakes.same(fakes.params(run), fakes.params(whole[0]))


@pytest.mark.quick
def test_the_environment_says_where_a_process_stands(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("JAX_COORD", "JAX_NUM_PROC", "JAX_PROCESS", "SLURM_", "OMPI_")):
            monkeypatch.delenv(name)
    assert hosts.find(9) is None

    def said(**variables):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return hosts.find(9)

    ours = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
    assert said(**ours) == hosts.Place("a:1", 4, 3, None)
    assert said(**ours | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}) is None
    for wrong in (
        {"JAX_PROCESS_ID": ""},
        {"JAX_PROCESS_ID": "first"},
        {"JAX_PROCESS_ID": "4"},
        {"JAX_COORDINATOR_ADDRESS": "a"},
    ):
        with pytest.raises(UserError, match="Set JAX_COORDINATOR_ADDRESS to HOST:PORT"):
            said(**ours | wrong)
    slurm = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "node[03-04]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    }
    assert said(**slurm) == hosts.Place("node03:61447", 2, 1, None)
    assert said(**slurm | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}) is None
    many = {"SLURM_NTASKS": "16", "SLURM_STEP_TASKS_PER_NODE": "8(x2)", "SLURM_LOCALID": "5"}
    assert said(**slurm | many) == hosts.Place("node03:61447", 16, 1, [5])
    assert said(**slurm | {"JAX_COORDINATOR_ADDRESS": "b:9"}).address == "b:9"
    mpi = {
        "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1,10.0.0.2:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": "1",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    }
    assert said(**mpi) == hosts.Place("10.0.0.1:61441", 2, 1, [1])
