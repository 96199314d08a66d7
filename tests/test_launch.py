"""The launch scripts, with stand-ins for what they start: jaxmusic, srun, scontrol and gcloud."""

import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from jaxmusic._src.cluster import exits

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "launch"
SCRIPTS = ("slurm.sh", "tpu_vm.sh", "local.py", "gke.py")

pytestmark = pytest.mark.quick


def module(name: str):
    """A launch script as a module; the folder is no package, as nothing imports it."""
    spec = importlib.util.spec_from_file_location(f"launch_{name}", LAUNCH / f"{name}.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Bench:
    """A PATH that begins with stand-ins, and a folder that they write to."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "CUDA_"))},
            "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
            "BENCH": str(folder),
        }

    def program(self, name: str, body: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)

    def command(self, script: str, *args: str) -> list[str]:
        interpreter = sys.executable if script.endswith(".py") else "bash"
        return [interpreter, str(LAUNCH / script), *args]

    def run(self, script: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(script, *args),
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bench(tmp_path: pathlib.Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_shows_the_command_and_what_becomes_of_it(bench: Bench, script: str):
    shown = bench.run(script, "--help")
    assert shown.returncode == 0
    assert f"launch/{script}" in shown.stdout and "CONFIG" in shown.stdout


@pytest.mark.parametrize("script", ["slurm.sh", "tpu_vm.sh"])
def test_shell_scripts_pass_shellcheck(script: str):
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    found = subprocess.run(["shellcheck", LAUNCH / script], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


# One machine.


def test_devices_are_divided_among_the_processes():
    local = module("local")
    four = local.environments(2, 0, ["3", "1", "0", "2"])
    assert [v["CUDA_VISIBLE_DEVICES"] for v in four] == ["3,1", "0,2"]
    assert [v["JAX_PROCESS_ID"] for v in four] == ["0", "1"]
    assert len({v["JAX_COORDINATOR_ADDRESS"] for v in four}) == 1
    assert {v["JAX_NUM_PROCESSES"] for v in four} == {"2"}
    cpu = local.environments(4, 8, [])
    assert [(v["JAX_PLATFORMS"], v["JAX_NUM_CPU_DEVICES"]) for v in cpu] == [("cpu", "2")] * 4
    assert local.gpus({"CUDA_VISIBLE_DEVICES": "0,GPU-1f"}) == ["0", "GPU-1f"]
    assert [local.gpus({"CUDA_VISIBLE_DEVICES": x}) for x in ("", "-1")] == [[], []]
    with pytest.raises(ValueError, match="2 GPUs cannot be divided evenly among 3"):
        local.environments(3, 0, ["0", "1"])


def test_local_lines_are_led_by_the_process_number_and_do_not_mix(bench: Bench):
    bench.program("jaxmusic", 'echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES: $*"; seq 2000')
    done = bench.run("local.py", "--processes", "4", "--restarts", "5", "toy", "--run", "a b")
    assert done.returncode == 0, done.stderr
    lines = [f"{index}: {number}" for index in range(4) for number in range(1, 2001)]
    lines += [f"{i}: {i} of 4: train toy --run a b --restarts 5" for i in range(4)]
    assert sorted(done.stdout.splitlines()) == sorted(lines)


@pytest.mark.parametrize(
    "failure, code", [("exit 2", 2), ("kill -9 $$", 137), ("sleep 300 & kill -9 $$", 137)]
)
def test_local_ends_all_when_one_has_failed(bench: Bench, failure: str, code: int):
    # The other ignores SIGTERM, and what it started lives on unless the group is killed.
    bench.program(
        "jaxmusic",
        f'[ "$JAX_PROCESS_ID" = 0 ] && {{ {failure}; }}\n'
        "trap 'echo asked' TERM; sleep 300 & echo $! >$BENCH/child; wait; wait",
    )
    done = bench.run("local.py", "--processes", "2", "--patience", "1", "toy")
    assert done.returncode == code
    assert "1: asked" in done.stdout
    assert not _alive(int(bench.lines("child")[0]))


def _alive(pid: int) -> bool:
    """Whether a process still lives after the moment that a signal takes to end it."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            # A killed process that nobody has waited for yet is none.
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        if stat.rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_local_passes_a_signal_on_once(bench: Bench, number: signal.Signals):
    bench.program(
        "jaxmusic",
        "trap 'echo got TERM; got=75' TERM; trap 'echo got INT; got=130' INT\n"
        "echo up\nwhile [ -z $got ]; do sleep 0.1; done\n"
        'for i in 1 2 3; do sleep 0.1; done; exit "$got"',
    )
    process = subprocess.Popen(
        bench.command("local.py", "--processes", "2", "toy"),
        env=bench.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert {process.stdout.readline(), process.stdout.readline()} == {"0: up\n", "1: up\n"}
    process.send_signal(number)
    rest = sorted(process.stdout.read().splitlines())
    word = "TERM" if number == signal.SIGTERM else "INT"
    assert rest == [f"0: got {word}", f"1: got {word}"]
    assert process.wait() == (exits.SAVED if word == "TERM" else exits.INTERRUPTED)


# Slurm.

JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_CPUS_PER_TASK": "12",
}


@pytest.fixture
def slurm(bench: Bench) -> Bench:
    bench.program("jaxmusic", "exit 0")
    bench.program("srun", 'echo "$SRUN_CPUS_PER_TASK $*" >$BENCH/srun.log; exit "$CODE"')
    bench.program("scontrol", 'echo "$*" >>$BENCH/scontrol.log')
    return bench


def test_slurm_starts_supervised_tasks(slurm: Bench):
    done = slurm.run("slurm.sh", "toy", "--run", "a b", **JOB, CODE="0", RESTARTS="3")
    assert done.returncode == 0, done.stderr
    (started,) = slurm.lines("srun.log")
    assert started.startswith("12 ")
    assert started.endswith("jaxmusic train toy --run a b --restarts 3")
    assert "--kill-on-bad-exit=0" in started


@pytest.mark.parametrize("code", [0, 1, exits.MISTAKE, exits.SAVED, 130, exits.ABORTED])
def test_slurm_hands_on_the_code_and_requeues_only_what_was_saved(slurm: Bench, code: int):
    assert slurm.run("slurm.sh", "toy", **JOB, CODE=str(code)).returncode == code
    assert slurm.lines("scontrol.log") == (["requeue 7"] if code == exits.SAVED else [])


def test_slurm_leaves_a_job_alone_that_slurm_itself_ends(slurm: Bench):
    # Slurm signals the batch shell too when a job is cancelled: it must not come back.
    slurm.program("srun", "kill -TERM $PPID; sleep 0.2; exit 75")
    assert slurm.run("slurm.sh", "toy", **JOB, CODE="75").returncode == exits.SAVED
    assert not slurm.lines("scontrol.log")


# TPU VMs.

# A TPU whose states stand in the file `states`, one for each time it is asked for, and a service
# whose states stand in `services`.
GCLOUD = r"""
echo "$*" | tr '\n' ';' >>$BENCH/gcloud.log; echo >>$BENCH/gcloud.log
next() { head -1 "$BENCH/$1"; sed -i 1d "$BENCH/$1"; }
case "$*" in
  *"queued-resources describe"*)
    state=$(next states)
    [ "$state" != ABSENT ] || { echo "ERROR: NOT_FOUND: no such thing" >&2; exit 1; }
    [ "$state" != OFFLINE ] || { echo "ERROR: there is no network" >&2; exit 1; }
    echo "$state" ;;
  *"systemctl show"*) next services ;;
esac
"""
START = ("start", "pop", "--zone", "z1", "--type", "v5litepod-16", "--project", "mine")
TRAIN = ("pretrain_1b", "--run", "gs://b/r", "--data.where", 'style=pop key="C" 5% $x')
RUNNING = "ActiveState=active ExecMainStatus=0 LoadState=loaded"
NO_SERVICE = "ActiveState=inactive ExecMainStatus=0 LoadState=not-found"


@pytest.fixture
def cloud(bench: Bench) -> Bench:
    bench.program("gcloud", GCLOUD)
    bench.env["POLL_SECONDS"] = "0.01"
    return bench


def test_tpu_vm_dry_run_shows_a_service_that_starts_again_and_does_nothing(cloud: Bench):
    done = cloud.run("tpu_vm.sh", *START, "--spot", "--slices", "2", "--dry-run", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert not cloud.lines("gcloud.log")
    created, *rest = done.stdout.splitlines()
    assert created.startswith("+ gcloud compute tpus queued-resources create pop --zone=z1")
    assert "--accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite" in created
    assert "--node-count=2 --node-prefix=pop --spot" in created
    # Files, installation and service, each on all hosts of both slices.
    assert all("--worker=all" in line for line in rest)
    assert [line.split(" tpu-vm ")[1].split()[0] for line in rest] == ["scp"] * 2 + ["ssh"] * 4
    # The line is bash: let bash say what gcloud would be told.
    printed = ["bash", "-c", f"printf '%s\\n' {rest[-1][2:]}"]
    words = subprocess.run(printed, capture_output=True, text=True, check=True).stdout
    unit = dict(line.split("=", 1) for line in words.splitlines() if re.match(r"[A-Z]\w+=", line))
    assert unit["ExecStart"] == (
        '@HOME@/jaxmusic-env/bin/jaxmusic train "pretrain_1b" "--run" "gs://b/r" "--data.where"'
        ' "style=pop key=\\"C\\" 5%% $$x" "--restarts" "10"'
    )
    assert unit["Restart"] == "on-failure"
    assert unit["RestartForceExitStatus"] == str(exits.SAVED)
    never = {exits.MISTAKE, exits.INTERRUPTED}
    assert {int(code) for code in unit["RestartPreventExitStatus"].split()} == never
    # The supervisor is told, and tells what it supervises: not both at once.
    assert unit["KillMode"] == "mixed"


def test_tpu_vm_asks_again_for_what_was_taken_away(cloud: Bench):
    states = ["ABSENT", "ABSENT", "PROVISIONING", "ACTIVE"]
    states += ["ACTIVE", "OFFLINE", "SUSPENDED", "SUSPENDED", "ABSENT", "ACTIVE", "ACTIVE"]
    (cloud.folder / "states").write_text("\n".join(states))
    ended = RUNNING.replace("=active", "=inactive")
    (cloud.folder / "services").write_text("\n".join([NO_SERVICE, RUNNING, ended]))
    done = cloud.run("tpu_vm.sh", *START, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert "taken away" in done.stdout and "ended with exit code 0" in done.stdout
    told = [
        "service" if "jaxmusic.service" in line else line.split()[3]
        for line in cloud.lines("gcloud.log")
        if "describe" not in line and "systemctl show" not in line
    ]
    once = ["create", "scp", "ssh", "service"]
    assert told == [*once, "delete", *once]


def test_tpu_vm_only_watches_what_trains_and_hands_on_its_exit_code(cloud: Bench):
    (cloud.folder / "states").write_text("ACTIVE\n" * 4)
    failed = "ActiveState=failed ExecMainStatus=2 LoadState=loaded"
    (cloud.folder / "services").write_text("\n".join([RUNNING, RUNNING, failed]))
    done = cloud.run("tpu_vm.sh", *START, *TRAIN)
    assert done.returncode == exits.MISTAKE
    assert not [line for line in cloud.lines("gcloud.log") if "jaxmusic.service" in line]


def test_tpu_vm_stops_all_hosts_and_gives_the_tpu_back(cloud: Bench):
    place = ("pop", "--zone", "z1", "--slices", "2")
    for command in ("stop", "logs", "delete"):
        assert cloud.run("tpu_vm.sh", command, *place).returncode == 0
    told = cloud.lines("gcloud.log")
    places = [" ".join(line.split()[3:5]) for line in told]
    assert places == ["ssh pop-0", "ssh pop-1", "ssh pop-0", "delete pop"]


def test_tpu_vm_says_so_when_gcloud_cannot_be_asked(cloud: Bench):
    (cloud.folder / "states").write_text("OFFLINE\n")
    done = cloud.run("tpu_vm.sh", *START, *TRAIN)
    assert done.returncode == 2 and "there is no network" in done.stderr


# GKE.

GKE = ("--topology", "v5e:16x16", "--slices", "2", "--image", "eu.gcr.io/p/music:1")


def job_set(bench: Bench, *args: str) -> dict:
    done = bench.run("gke.py", *args)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def pod_of(made: dict) -> dict:
    return made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


def test_job_set_runs_the_command_on_every_host_of_every_slice(bench: Bench):
    arguments = (*TRAIN, "--data.where", "a: b # $(HOME) 'c'")
    made = job_set(bench, *GKE, "--name", "pop", "--restarts", "7", *arguments)
    assert (made["kind"], made["metadata"]["name"]) == ("JobSet", "pop")
    assert made["spec"]["failurePolicy"]["maxRestarts"] == 7
    (slices,) = made["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    assert (slices["replicas"], job["parallelism"], job["completions"]) == (2, 64, 64)
    assert job["backoffLimit"] == 0 and job["completionMode"] == "Indexed"
    pod = pod_of(made)
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "16x16",
    }
    assert pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] == 300
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert container["image"] == "eu.gcr.io/p/music:1"
    # Kubernetes turns two dollar signs into one.
    quoted = [word.replace("$(", "$$(") for word in arguments]
    assert container["command"] == ["jaxmusic", "train", *quoted, "--restarts", "3"]
    # GKE tells each pod its place; what is set here would stand in its way.
    assert not [v for v in container["env"] if v["name"].startswith(("TPU_", "MEGASCALE_"))]


def test_job_set_fails_at_once_on_a_mistake(bench: Bench):
    made = job_set(bench, *GKE, "toy")
    (rule,) = made["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet" and rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [exits.MISTAKE]
    assert rule["onExitCodes"]["containerName"] == pod_of(made)["containers"][0]["name"]


def test_job_set_on_spot_nodes_selects_and_tolerates_them(bench: Bench):
    pod = pod_of(job_set(bench, *GKE, "--spot", "toy"))
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert len(pod["nodeSelector"]) == 3
    assert [t["key"] for t in pod["tolerations"]] == ["cloud.google.com/gke-spot", "google.com/tpu"]


@pytest.mark.parametrize(
    "topology, accelerator, hosts",
    [
        ("v4:2x2x4", "tpu-v4-podslice", 4),
        ("v5e:2x2", "tpu-v5-lite-podslice", 1),
        ("v5p:8x8x8", "tpu-v5p-slice", 128),
        ("v6e:16x16", "tpu-v6e-slice", 64),
    ],
)
def test_hosts_of_a_slice(topology: str, accelerator: str, hosts: int):
    sides = topology.partition(":")[2]
    assert module("gke").slice_of(topology) == (accelerator, sides, hosts)


IMAGE = "--image i toy"


@pytest.mark.parametrize(
    "script, args, sentence",
    [
        ("local.py", "--processes 2", "name a config"),
        ("local.py", "--processes 0 toy", "at least 1"),
        ("local.py", "--processes 2 --cpu-devices 3 toy", "not a multiple of 2"),
        ("slurm.sh", "", "name a config"),
        ("slurm.sh", "--run x", "name a config"),
        ("slurm.sh", "toy", "use --ntasks-per-node=4"),
        ("tpu_vm.sh", "begin", "start, logs, stop or delete"),
        ("tpu_vm.sh", "start", "name the TPU"),
        ("tpu_vm.sh", "start pop toy", "--zone"),
        ("tpu_vm.sh", "start pop --zone z toy", "--type"),
        ("tpu_vm.sh", "start pop --zone z --type v9-8 toy", "--runtime"),
        ("tpu_vm.sh", "start pop --zone z --type v6e-8", "name a config"),
        ("tpu_vm.sh", "start pop --zone z --steps 3", "come after CONFIG"),
        ("tpu_vm.sh", "start pop --zone", "needs a value"),
        ("tpu_vm.sh", "start pop --zone z --slices two toy", "number of slices"),
        ("gke.py", f"--topology v9:2x2 {IMAGE}", "must begin with one of v4, v5e"),
        ("gke.py", f"--topology 16x16 {IMAGE}", "must begin with one of v4, v5e"),
        ("gke.py", f"--topology v5p:4x4 {IMAGE}", "has 3 sides, as 4x4x4"),
        ("gke.py", f"--topology v5e:4x0 {IMAGE}", "has 2 sides, as 4x4"),
        ("gke.py", f"--topology v5e:1x1 {IMAGE}", "not whole hosts of 4"),
        ("gke.py", f"--topology v5e:2x2 --slices 2 {IMAGE}", "several hosts"),
        ("gke.py", f"--topology v5e:4x4 --slices 0 {IMAGE}", "at least 1"),
        ("gke.py", f"--topology v5e:4x4 --name My_run {IMAGE}", "--name must be"),
        ("gke.py", "--topology v5e:4x4 --image i", "name a config"),
    ],
)
def test_wrong_use_is_refused_before_anything_starts(
    bench: Bench, script: str, args: str, sentence: str
):
    for name in ("jaxmusic", "srun", "gcloud"):
        bench.program(name, f"echo {name} >>$BENCH/started")
    done = bench.run(script, *args.split(), **JOB | {"SLURM_NTASKS_PER_NODE": "2"})
    assert done.returncode == 2 and sentence in done.stderr
    assert not bench.lines("started")


def test_slurm_wants_to_be_submitted(slurm: Bench):
    done = slurm.run("slurm.sh", "toy")
    assert done.returncode == 2 and "submit it: sbatch" in done.stderr
