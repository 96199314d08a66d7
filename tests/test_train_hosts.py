"""Training with two processes on this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading

import hosts_fakes
import jax
import numpy as np
import pytest
import train_fakes as fakes
from etils import epath

from jaxmusic import config
from jaxmusic.cluster import exits, hosts, lines
from jaxmusic.cluster import roll as rolls
from jaxmusic.core.errors import UserError
from jaxmusic.runs import folder as runs
from jaxmusic.runs import weights
from jaxmusic.train.monitor import read_log

HERE = "localhost"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two processes that nothing disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    with hosts_fakes.pair(run) as processes:
        codes = [process.wait() for process in processes]
        said = [process.said for process in processes]
    assert codes == [0, 0], "\n".join(said)
    return run, said


def params(run):
    return [np.asarray(x) for x in jax.tree.leaves(weights.load(run, fakes.STEPS).params)]


def test_two_processes_train_the_same_as_one(whole, tmp_path):
    run, said = whole
    one = tmp_path / "one"
    flags = "--xla_force_host_platform_device_count=2"
    variables = hosts_fakes.environment(XLA_FLAGS=flags)
    command = [sys.executable, str(hosts_fakes.SCRIPT), str(one)]
    subprocess.run(command, env=variables, check=True, capture_output=True)
    for a, b in zip(params(run), params(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for name in ("loss", "val_loss"):
        values = [[x[name] for x in read_log(r) if name in x] for r in (run, one)]
        assert len(values[0]) == len(values[1]) > 0
        np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    # Process 0 writes and shows for both.
    assert "starting from scratch" in said[0] and "starting from scratch" not in said[1]
    assert [x["step"] for x in read_log(run) if "loss" in x] == [1, 2, 3, 4, 5, 6]


def test_what_differs_between_hosts_is_named_on_all_of_them(tmp_path):
    own = ((), ("optimizer.learning_rate=0.5", "data.threads=7"))
    with hosts_fakes.pair(tmp_path / "run", own=own) as processes:
        assert [process.wait() for process in processes] == [exits.MISTAKE] * 2
        for process in processes:
            assert re.search(
                r"jaxmusic: .*optimizer\.learning_rate is 0\.01 on process 0 on \S+, "
                r"0\.5 on process 1 on \S+\.",
                process.said,
            ), process.said
            assert "threads" not in process.said and "Traceback" not in process.said
    assert not (tmp_path / "run" / "experiment.json").exists()


def test_sigterm_to_one_of_two_saves_on_both(whole, tmp_path, monkeypatch):
    run = tmp_path / "run"
    # JAX looks once a second whether the signal has come: the steps must take longer.
    monkeypatch.setenv("PACE", "1")
    with hosts_fakes.pair(run, faults=("", "1 term")) as processes:
        assert [process.wait() for process in processes] == [exits.SAVED] * 2, processes[1].said
        assert re.search(r"Saved at step [2345]\b", processes[0].said)
    monkeypatch.delenv("PACE")
    with hosts_fakes.pair(run) as processes:
        assert [process.wait() for process in processes] == [0, 0], processes[1].said
    for a, b in zip(params(run), params(whole[0]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_whose_peer_never_comes_ends_with_a_sentence(tmp_path, index):
    variables = hosts_fakes.environment(
        JAX_COORDINATOR_ADDRESS=f"localhost:{hosts_fakes.free_port()}",
        JAX_NUM_PROCESSES="2",
        JAX_PROCESS_ID=str(index),
    )
    command = [sys.executable, str(hosts_fakes.SCRIPT), str(tmp_path / "run"), "hosts.start=4"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240)
    assert done.returncode == exits.PEER_LOST
    who = ("process 1 of 2 did not come", "process 0 of 2 did not answer at localhost")[index]
    assert f"jaxmusic: {who}" in done.stderr and "start all processes again" in done.stderr
    assert "Traceback" not in done.stderr
    assert f"waiting for process {1 - index}" in done.stderr


def test_sigterm_before_anything_has_begun_is_no_crash(tmp_path):
    with socket.create_server(("", 0)) as server:
        variables = hosts_fakes.environment(
            JAX_COORDINATOR_ADDRESS=f"localhost:{server.getsockname()[1]}",
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID="1",
        )
        command = [sys.executable, str(hosts_fakes.SCRIPT), str(tmp_path / "run")]
        waiting = hosts_fakes.Process(command, variables, tmp_path / "said.txt")
        try:
            server.settimeout(hosts_fakes.WAIT)
            with server.accept()[0]:
                waiting.popen.send_signal(signal.SIGTERM)
                assert waiting.wait() == exits.SAVED
        finally:
            waiting.end()
    assert "jaxmusic: stopped; run the same command again" in waiting.said


def test_a_run_that_another_start_writes_to_is_one_sentence_everywhere(tmp_path):
    run = tmp_path / "run"
    with (
        runs.locked(epath.Path(run), hosts.Hosts()),
        hosts_fakes.pair(run) as processes,
    ):
        assert [process.wait() for process in processes] == [exits.MISTAKE] * 2
        for process in processes:
            assert "Wait for the process that trains in" in process.said
            assert "Traceback" not in process.said


def roll(port, count, seconds, *indices):
    """Calls the roll in threads of this process; returns what each got, or the error."""
    got = {}

    def call(index):
        try:
            if index == 0:
                got[0] = rolls.host_lines(("", port), count, "a", seconds)
            else:
                got[index] = rolls.join_lines((HERE, port), index, count, "b", seconds)
        except Exception as error:
            got[index] = error

    threads = [threading.Thread(target=call, args=(index,)) for index in indices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


class Ends(list):
    """Collects why the processes of a test were ended."""

    def __init__(self):
        self.came = threading.Event()

    def __call__(self, sentence, code):
        self.append((sentence, code))
        self.came.set()


def joined(count, lost=30.0):
    """Lines between processes that all live in this one, and what ended each."""
    got = roll(hosts_fakes.free_port(), count, 20, *range(count))
    ends = [Ends() for _ in range(count)]
    return [lines.Lines(i, *got[i], lost, ends[i]) for i in range(count)], ends


@pytest.mark.quick
def test_the_roll_is_called_whoever_comes_first():
    port = hosts_fakes.free_port()
    later = threading.Timer(0.5, lambda: stray(port))
    later.start()
    got = roll(port, 3, 20, 2, 1, 0)
    later.join()
    names = ["process 0 on a", "process 1 on b", "process 2 on b"]
    assert [got[i][0] for i in range(3)] == [names] * 3
    assert set(got[0][1]) == {1, 2} and set(got[1][1]) == set(got[2][1]) == {0}


def stray(port):
    """Another program that tries the port."""
    try:
        with socket.create_connection((HERE, port), timeout=1) as other:
            other.sendall(b"GET / HTTP/1.1\r\n\r\n")
    except OSError:
        pass


@pytest.mark.quick
def test_who_does_not_come_is_named_to_all_who_did():
    got = roll(hosts_fakes.free_port(), 4, 1.5, 0, 2)
    for index in (0, 2):
        assert isinstance(got[index], lines.Lost)
        assert "process 1, process 3 of 4 did not come within 1.5 s" in str(got[index])


@pytest.mark.quick
def test_a_dead_coordinator_is_one_sentence():
    port = hosts_fakes.free_port()
    error = roll(port, 2, 1, 1)[1]
    assert isinstance(error, lines.Lost)
    assert f"process 0 of 2 did not answer at {HERE}:{port} within 1 s" in str(error)


@pytest.mark.quick
def test_processes_that_were_told_of_different_numbers_say_so():
    port = hosts_fakes.free_port()
    got = {}
    other = threading.Thread(target=lambda: got.update(roll(port, 3, 20, 2)))
    other.start()
    got |= roll(port, 4, 20, 0)
    other.join()
    for index in (0, 2):
        assert isinstance(got[index], UserError)
        assert "one was told 3, the other 4" in str(got[index])


@pytest.mark.quick
def test_a_process_that_is_gone_is_named_to_all_others():
    all_lines, ends = joined(3)
    all_lines[2]._lines[0].socket.shutdown(socket.SHUT_RDWR)  # as when it is killed
    for index in (0, 1):
        assert ends[index].came.wait(20)
        assert ends[index] == [
            ("process 2 on b is gone: it was killed or its machine failed", None)
        ]


@pytest.mark.quick
def test_a_silent_process_is_named_to_all_others(monkeypatch):
    monkeypatch.setattr(lines, "BEAT", 0.1)
    all_lines, ends = joined(3, lost=2.0)
    all_lines[1]._leaving = True  # it does not beat any more, and its line stays open
    for index in (0, 2):
        assert ends[index].came.wait(20)
        assert ends[index] == [("process 1 on b has given no sign of life for 2 s", None)]


@pytest.mark.quick
def test_a_process_that_ends_with_an_error_tells_all_others():
    all_lines, ends = joined(3)
    all_lines[1].tell("Free some space.", 1)
    for index in (0, 2):
        assert ends[index].came.wait(20)
        assert ends[index] == [("process 1 on b: Free some space.", 1)]


@pytest.mark.quick
def test_leaving_is_no_fault():
    all_lines, ends = joined(2)
    threads = [threading.Thread(target=line.leave) for line in all_lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [[], []]


@pytest.mark.quick
def test_barriers_are_bounded_and_name_who_is_missing():
    all_lines, _ = joined(3)
    found = {}

    def ask(index, what, seconds):
        try:
            found[index] = all_lines[index].ask(what, index, seconds, sum)
        except lines.Lost as lost:
            found[index] = str(lost)

    for what, seconds, who in (("sum", 20, (0, 1, 2)), ("lunch", 1, (0, 1))):
        threads = [threading.Thread(target=ask, args=(index, what, seconds)) for index in who]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if what == "sum":
            assert found == {0: 3, 1: 3, 2: 3}
    assert found[0] == found[1] == "process 2 on b did not come to lunch within 1 s"


@pytest.mark.quick
def test_the_environment_says_where_a_process_stands(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("JAX_COORD", "JAX_NUM_PROC", "JAX_PROCESS", "SLURM_", "OMPI_")):
            monkeypatch.delenv(name)
    patience = config.Hosts()
    assert hosts.find(patience) is None

    def said(**variables):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return hosts.find(patience)

    ours = {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}
    assert said(**ours) == hosts.Place("a:1", 4, 3, None)
    assert said(**ours | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}) is None
    with pytest.raises(UserError, match="Set JAX_PROCESS_ID too"):
        said(JAX_COORDINATOR_ADDRESS="a:1", JAX_NUM_PROCESSES="4")
    with pytest.raises(UserError, match="to numbers"):
        said(**ours | {"JAX_PROCESS_ID": "first"})
    with pytest.raises(UserError, match="number below JAX_NUM_PROCESSES=4"):
        said(**ours | {"JAX_PROCESS_ID": "4"})
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


@pytest.mark.quick
def test_differences_are_grouped_by_value():
    names = [f"process {i} on node{i}" for i in range(9)]
    found = [{"seed": 0, "jax": "1"} for _ in names]
    assert hosts._differences(found, names) == ""
    found[8] = {"seed": 1}
    text = hosts._differences(found, names)
    assert text == (
        "jax is 1 on process 0 on node0, process 1 on node1, process 2 on node2, process 3 on "
        "node3 and 4 more, nothing on process 8 on node8; seed is 0 on process 0 on node0, process "
        "1 on node1, process 2 on node2, process 3 on node3 and 4 more, 1 on process 8 on node8"
    )


@pytest.mark.quick
def test_importing_touches_no_device():
    code = (
        "import jaxmusic.train.process, jax._src.xla_bridge as b; "
        "assert not b.backends_are_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
