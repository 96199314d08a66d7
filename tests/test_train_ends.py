"""How a training process ends: its exit codes, its supervisor and its watchdog."""

import os
import signal
import subprocess
import sys
import threading
import time

import hosts_fakes
import pytest

from jaxmusic._src.cluster import exits, supervisor
from jaxmusic._src.cluster.signals import Stop
from jaxmusic._src.commands import cli
from jaxmusic._src.runs import folder as runs

CHILD = """
import os, pathlib, sys
run, plan = pathlib.Path(sys.argv[1]), sys.argv[2].split()
starts = len(list(run.glob("start-*")))
(run / f"start-{starts}").touch()
what, _, step = plan[min(starts, len(plan) - 1)].partition("@")
if step:
    (run / "checkpoints" / step).mkdir(parents=True)
"""
"""A child that at its n-th start does the n-th word of a plan: exits with a code, perhaps after
leaving a checkpoint, as in 1@5."""
KILLED = CHILD + "os.kill(os.getpid(), -int(what)) if what[0] == '-' else sys.exit(int(what))"
"""A child that also ends by a signal, as in -9."""


def supervise(tmp_path, plan, restarts, child=KILLED):
    command = [sys.executable, "-c", child, str(tmp_path), plan]
    return supervisor.supervise(command, lambda: runs.latest(str(tmp_path)), restarts, pause=0.01)


def starts(tmp_path):
    return len(list(tmp_path.glob("start-*")))


@pytest.mark.quick
@pytest.mark.parametrize("code", [0, 2, 75, 130])
def test_an_end_is_not_started_again(tmp_path, code, capfd):
    assert supervise(tmp_path, str(code), 3) == code
    assert starts(tmp_path) == 1 and capfd.readouterr().err == ""


@pytest.mark.quick
def test_crashes_are_started_again_and_said(tmp_path, capfd):
    """1 is Python's code after an error and its fault handler's, -6 that of JAX's abort."""
    assert supervise(tmp_path, "1 -6 -9 0", 3) == 0
    first, second, third = capfd.readouterr().err.splitlines()
    assert "training ended with code 1 " in first and "in 0.01 s, 1 of 3" in first
    assert "training ended with SIGABRT " in second and "in 0.02 s, 2 of 3" in second
    assert "training ended with SIGKILL:" in third and "in 0.04 s, 3 of 3" in third


@pytest.mark.quick
@pytest.mark.parametrize("last, code", [("1", 1), ("-6", exits.ABORTED), ("-9", 137)])
def test_only_starts_without_a_new_checkpoint_are_counted(tmp_path, capfd, last, code):
    assert supervise(tmp_path, f"1@1 1@2 1@4 1 {last}", 2) == code
    assert starts(tmp_path) == 5
    said = capfd.readouterr().err
    assert said.count("1 of 2") == 3 and said.count("2 of 2") == 1
    assert "given up after 2 starts without a new checkpoint" in said


@pytest.mark.quick
def test_a_stopped_child_is_killed_and_started_again(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(supervisor, "STOPPED", 0.5)
    assert supervise(tmp_path, "-19 0", 1) == 0
    said = capfd.readouterr().err
    assert "stopped for 0.5 s: ending it" in said and "ended with SIGKILL" in said


@pytest.mark.quick
@pytest.mark.parametrize("saves", [True, False])
@pytest.mark.parametrize(
    "number, code",
    [(signal.SIGTERM, exits.SAVED), (signal.SIGUSR1, exits.SAVED), (signal.SIGINT, 130)],
)
def test_signals_are_passed_on_and_end_the_supervision(tmp_path, number, code, saves):
    """A child that has not learned to save yet is ended by the signal itself."""
    handler = "lambda *_: sys.exit(75 if what != '2' else 130)" if saves else "signal.SIG_DFL"
    saving = f"""
import signal, time
signal.signal(int(what), {handler})
(run / "ready").touch()
time.sleep(60)
"""

    def send():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    before = signal.getsignal(number)
    assert supervise(tmp_path, str(int(number)), 3, CHILD + saving) == code
    assert signal.getsignal(number) is before
    thread.join()
    assert starts(tmp_path) == 1


@pytest.mark.quick
def test_a_signal_between_two_starts_ends_the_supervision(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), "1"]

    def send():
        while not starts(tmp_path):
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=send)
    thread.start()
    assert supervisor.supervise(command, lambda: -1, 3, pause=60) == exits.SAVED
    thread.join()


@pytest.mark.quick
def test_the_supervisor_does_without_jax():
    code = "import sys, jaxmusic._src.cluster.supervisor; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.quick
def test_restarts_run_the_same_command_in_a_child(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(supervisor, "supervise", lambda *args: asked.append(args) or 134)
    argv = ["train", "pop_cpu", "--restarts", "3", "--run", str(tmp_path), "--steps", "9"]
    with pytest.raises(SystemExit) as done:
        cli.main(argv)
    assert done.value.code == 134
    [(command, reached, restarts)] = asked
    assert (reached(), restarts) == (-1, 3)
    # The child runs the same experiment, once.
    assert command[:3] == [sys.executable, "-m", "jaxmusic"]
    ran = []
    monkeypatch.setattr("jaxmusic._src.train.process.run", lambda *args: ran.append(args) or 0)
    monkeypatch.setattr("jaxmusic._src.train.compilation.keep_compiled", lambda: None)
    monkeypatch.setattr("jaxmusic._src.commands.checks.dataset", lambda *args: None)
    with pytest.raises(SystemExit) as done:
        cli.main(command[3:])
    assert done.value.code == 0 and ran[0][0].steps == 9 and ran[0][1] == str(tmp_path)


@pytest.fixture
def interruptible():
    """Lets an interrupt raise: a shell has its background jobs ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.quick
def test_a_second_interrupt_acts_as_outside_but_an_echo_does_not(monkeypatch, interruptible):
    with Stop() as stop:
        assert not stop.now(0)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # from a terminal and again from a supervisor
        assert stop.now(1) and stop.signal == signal.SIGINT
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGINT
        monkeypatch.setattr("jaxmusic._src.cluster.signals.ECHO", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(200):  # the kernel may hand the signal to another thread, which is slow
                time.sleep(0.05)


def run_alone(tmp_path, *options, fault=""):
    variables = hosts_fakes.environment(FAULT=fault, FAULT_MARK=str(tmp_path / "fault"))
    command = [*hosts_fakes.TRAIN, "--run", str(tmp_path / "run"), *options]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    "fault, code",
    [("3 term", 75), ("3 usr1", 75), ("3 int", 130), ("3 crash", exits.CRASHED)],
)
def test_the_exit_code_says_what_to_do_next(tmp_path, fault, code):
    done = run_alone(tmp_path, fault=fault)
    assert done.returncode == code, done.stderr
    if code == exits.CRASHED:
        assert "RuntimeError: something unforeseen" in done.stderr
    else:
        assert "Saved at step" in done.stderr and "Traceback" not in done.stderr


def test_a_run_that_stands_still_says_where_and_is_started_again(tmp_path):
    done = run_alone(tmp_path, "--watchdog", "4", "--restarts", "1", fault="3 hang")
    assert done.returncode == 0, done.stderr
    assert "Timeout (0:00:04)!" in done.stderr
    assert "train_fakes.py" in done.stderr and "in before" in done.stderr
    assert "training ended with code 1 (an error or no progress" in done.stderr
    assert done.stderr.count("starting again") == 1


def test_a_mistake_is_one_sentence(tmp_path):
    done = run_alone(tmp_path, "--steps", "0", "--restarts", "3")
    assert done.returncode == exits.MISTAKE
    assert "steps must be" in done.stderr and "starting again" not in done.stderr
