"""Two processes under supervisors: one is killed, stopped or cut off, and nothing is lost.

With -s the seconds that the survivor took to end are shown.
"""

import contextlib
import pathlib
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import hosts_fakes

from jaxmusic.runs import folder as runs
from jaxmusic.runs import weights

STEPS = 20
SETTINGS = (f"steps={STEPS}", "checkpoint_every=2", "eval_every=10")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    with hosts_fakes.pair(run, SETTINGS) as processes:
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
    found = [jax.tree.leaves(weights.load(run, STEPS).params) for run in (a, b)]
    for x, y in zip(*found, strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize("axis", ["replica", "fsdp"])
def test_samples_of_two_processes(tmp_path, axis):
    """The first composes where it has all parameters; where they are split, nobody does."""
    settings = ("steps=3", "eval_every=0", "data.context=256", "samples.every=2")
    settings += ("samples.pieces=1", "samples.seconds=4.0", "mesh.fsdp=1", f"mesh.{axis}=2")
    run = tmp_path / "run"
    with hosts_fakes.pair(run, settings) as processes:
        assert [process.wait() for process in processes] == [0, 0], processes[0].said
        said = [process.said for process in processes]
    made = sorted(str(p.relative_to(run / "samples")) for p in (run / "samples").rglob("*.mid"))
    assert made == (["step-2/1.mid", "step-3/1.mid"] if axis == "replica" else [])
    assert ("Nothing comes of the hooks samples" in said[0]) == (axis == "fsdp")
    assert "went wrong" not in said[0] and "hooks" not in said[1]


@pytest.mark.parametrize("fault", ["kill", "stop"])
@pytest.mark.parametrize("victim", [0, 1])
def test_one_of_two_is_lost(whole, tmp_path, fault, victim):
    run, faults = tmp_path / "run", ["", ""]
    faults[victim] = f"7 {fault}"
    settings = (*SETTINGS, "--restarts", "2")
    with hosts_fakes.pair(run, settings, faults=faults) as processes:
        survivor = processes[1 - victim]
        until(lambda: (tmp_path / f"fault-{victim}").exists(), *processes)
        since = time.time()
        until(lambda: "training ended with code 76" in survivor.said, *processes)
        print(f"\n{fault} of process {victim}: the other ended after {time.time() - since:.1f} s")
        assert [process.wait() for process in processes] == [0, 0], survivor.said
    said = survivor.said
    assert f"jaxmusic: process {victim} on " in said
    assert said.count("starting again") == 1 and "1 of 2" in said
    assert "ended with SIGKILL" in processes[victim].said
    same(run, whole)


def test_a_link_is_cut(whole, tmp_path, namespaces):
    run = tmp_path / "run"
    settings = (*SETTINGS, "--restarts", "2")
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("PACE", "0.5")
        processes = stack.enter_context(
            hosts_fakes.pair(run, settings, where=namespaces, names="jma")
        )
        until(lambda: max(runs.steps(run), default=0) >= 6, *processes)
        _ip("-n jmb link set jmb0 down")
        since = time.time()
        for index, process in enumerate(processes):
            until(lambda p=process: "training ended with code 76" in p.said, *processes)
            print(f"\nlink cut: process {index} ended after {time.time() - since:.1f} s")
        _ip("-n jmb link set jmb0 up")
        assert [process.wait() for process in processes] == [0, 0], processes[0].said
    for process, other in zip(processes, ("process 1 on jmb", "process 0 on jma"), strict=True):
        assert f"jaxmusic: {other} has given no sign of life" in process.said
        assert process.said.count("starting again") == 1
    same(run, whole)
