"""Two processes under supervisors: one is killed, stopped or cut off, and nothing is lost.

With -s the seconds that the survivor took to end are shown.
"""

import contextlib
import pathlib
import signal
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import hosts_fakes
import train_fakes as fakes

from jaxmusic._src.runs import folder as runs

STEPS = 20
SETTINGS = ("--steps", str(STEPS), "--checkpoint-every", "2", "--eval-every", "10")
PROMISE = 60
"""Seconds within which the others end when one process is lost."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    with hosts_fakes.processes(run, SETTINGS) as processes:
        assert [process.wait() for process in processes] == [0, 0], processes[0].said
    return run


@pytest.fixture
def namespaces(tmp_path):
    """Two network namespaces, jma and jmb, joined by a cable; commands that run a host in each."""
    if subprocess.run(["ip", "netns", "add", "jma"], capture_output=True).returncode:
        pytest.skip("needs the right to make network namespaces: ip netns add")
    files = []
    try:
        _ip("netns add jmb")
        _ip("link add jma0 netns jma type veth peer name jmb0 netns jmb")
        for name, address in (("jma", "10.77.0.1"), ("jmb", "10.77.0.2")):
            _ip(f"-n {name} addr add {address}/24 dev {name}0")
            _ip(f"-n {name} link set {name}0 up")
            _ip(f"-n {name} link set lo up")
            hosts = pathlib.Path("/etc/netns") / name / "hosts"
            hosts.parent.mkdir(parents=True, exist_ok=True)
            hosts.write_text("127.0.0.1 localhost\n10.77.0.1 jma\n10.77.0.2 jmb\n")
            files.append(hosts)
        inside = ("ip", "netns", "exec", "{0}", "unshare", "--uts", "sh", "-c")
        yield [
            [word.format(name) for word in (*inside, 'hostname {0}; exec "$@"', "sh")]
            for name in ("jma", "jmb")
        ]
    finally:
        for name in ("jma", "jmb"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        for path in files:
            path.unlink()
            path.parent.rmdir()


def _ip(arguments):
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)


def until(what, process, *others):
    """Waits until a condition holds; fails with what the processes said."""
    end = time.monotonic() + hosts_fakes.WAIT
    while not what():
        assert time.monotonic() < end, "\n".join(p.said for p in (process, *others))
        time.sleep(0.02)


def same(a, b):
    assert fakes.same(*(fakes.params(run, STEPS) for run in (a, b)))


def ended(process, since, what, *others):
    """Waits until the child of a supervisor has ended, and shows how long that took."""
    until(lambda: "training ended with" in process.said, process, *others)
    seconds = time.time() - since
    print(f"\n{what}: ended after {seconds:.1f} s")
    return seconds


@pytest.mark.parametrize("axis", ["replica", "fsdp"])
def test_samples_of_two_processes(tmp_path, axis):
    """The first composes where it has all parameters; where they are split, nobody does."""
    settings = ["--steps", "3", "--eval-every", "0", "--data.context", "256"]
    settings += ["--samples.every", "2", "--samples.pieces", "1", "--samples.seconds", "4"]
    settings += ["--mesh.fsdp", "1", f"--mesh.{axis}", "2"]
    run = tmp_path / "run"
    with hosts_fakes.processes(run, settings) as processes:
        assert [process.wait() for process in processes] == [0, 0], processes[0].said
        said = [process.said for process in processes]
    made = sorted(str(p.relative_to(run / "samples")) for p in (run / "samples").rglob("*.mid"))
    assert made == (["step-2/1.mid", "step-3/1.mid"] if axis == "replica" else [])
    assert ("Nothing comes of the callbacks samples" in said[0]) == (axis == "fsdp")
    assert "went wrong" not in said[0] and "callbacks" not in said[1]


@pytest.mark.parametrize("fault", ["kill", "stop"])
@pytest.mark.parametrize("victim", [0, 1])
def test_one_of_two_is_lost(whole, tmp_path, fault, victim):
    run, faults = tmp_path / "run", ["", ""]
    faults[victim] = f"7 {fault}"
    settings = (*SETTINGS, "--restarts", "2")
    with hosts_fakes.processes(run, settings, faults=faults) as processes:
        mark, survivor = tmp_path / f"fault-{victim}", processes[1 - victim]
        until(mark.exists, *processes)
        since = time.time()
        assert ended(survivor, since, f"{fault} of {victim}", *processes) < PROMISE
        assert [process.wait() for process in processes] == [0, 0], survivor.said
    assert survivor.said.count("starting again") == 1
    assert "training ended with SIGKILL" in processes[victim].said
    same(run, whole)


def test_a_process_that_hangs_ends_itself(whole, tmp_path):
    """Its heartbeats go on: only its own watchdog can see it."""
    run = tmp_path / "run"
    settings = (*SETTINGS, "--watchdog", "10", "--restarts", "2")
    with hosts_fakes.processes(run, settings, faults=("", "7 hang")) as processes:
        until((tmp_path / "fault-1").exists, *processes)
        ended(processes[1], time.time(), "hang of 1", *processes)
        assert [process.wait() for process in processes] == [0, 0], processes[1].said
    assert "Timeout (0:00:10)!" in processes[1].said and "in before" in processes[1].said
    same(run, whole)


def test_a_process_that_never_comes_aborts_the_other(tmp_path):
    variables = hosts_fakes.environment(
        JAX_COORDINATOR_ADDRESS=f"localhost:{hosts_fakes.free_port()}",
        JAX_NUM_PROCESSES="2",
        JAX_PROCESS_ID="1",
    )
    command = [*hosts_fakes.TRAIN, "--run", str(tmp_path / "run"), "--hosts.start", "4"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240)
    assert done.returncode == -signal.SIGABRT
    assert "process 1 of 2: waiting for the others at localhost" in done.stderr


def test_a_link_is_cut(whole, tmp_path, namespaces):
    run = tmp_path / "run"
    settings = (*SETTINGS, "--restarts", "2")
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("PACE", "0.5")
        processes = stack.enter_context(
            hosts_fakes.processes(run, settings, where=namespaces, name="jma")
        )
        until(lambda: max(runs.steps(run), default=0) >= 6, *processes)
        _ip("-n jmb link set jmb0 down")
        since = time.time()
        for index, process in enumerate(processes):
            assert ended(process, since, f"link cut, process {index}", *processes) < PROMISE
        _ip("-n jmb link set jmb0 up")
        assert [process.wait() for process in processes] == [0, 0], processes[0].said
    same(run, whole)
