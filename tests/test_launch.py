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

from jaxmusic.cluster import exits

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


def test_docs_explain_every_script_and_exit_code():
    text = (ROOT / "docs/launching.md").read_text()
    for script in (*SCRIPTS, "gke_jobset.yaml", "Dockerfile"):
        assert f"launch/{script}" in text
    codes = {value for value in vars(exits).values() if isinstance(value, int)}
    assert codes <= {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}


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
    with pytest.raises(ValueError, match="8 is not a multiple of 3"):
        local.environments(3, 8, [])
    with pytest.raises(ValueError, match="2 GPUs cannot be divided evenly among 3"):
        local.environments(3, 0, ["0", "1"])


def test_visible_graphics_cards_are_those_of_the_environment():
    local = module("local")
    assert local.gpus({"CUDA_VISIBLE_DEVICES": "0,GPU-1f"}) == ["0", "GPU-1f"]
    assert local.gpus({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert local.gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == []


def test_local_output_is_led_by_the_process_number(bench: Bench):
    bench.program("jaxmusic", 'echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES: $*"')
    done = bench.run("local.py", "--processes", "2", "--restarts", "5", "toy", "--run", "a b")
    assert done.returncode == 0, done.stderr
    said = "of 2: train toy --run a b --restarts 5"
    assert sorted(done.stdout.splitlines()) == [f"0: 0 {said}", f"1: 1 {said}"]


def test_local_lines_of_processes_do_not_mix(bench: Bench):
    bench.program("jaxmusic", "seq 2000")
    done = bench.run("local.py", "--processes", "4", "toy")
    assert done.returncode == 0, done.stderr
    lines = [f"{index}: {number}" for index in range(4) for number in range(1, 2001)]
    assert sorted(done.stdout.splitlines()) == sorted(lines)


@pytest.mark.parametrize("failure, code", [("exit 2", 2), ("exit 134", 134), ("kill -9 $$", 137)])
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


def test_local_leaves_nothing_behind_of_a_killed_supervisor(bench: Bench):
    bench.program(
        "jaxmusic",
        '[ "$JAX_PROCESS_ID" = 0 ] || exit 0\nsleep 300 & echo $! >$BENCH/child; kill -9 $$',
    )
    assert bench.run("local.py", "--processes", "2", "--patience", "1", "toy").returncode == 137
    assert not _alive(int(bench.lines("child")[0]))


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


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["--processes", "2"], "name a config"),
        (["--processes", "0", "toy"], "at least 1"),
        (["--processes", "2", "--cpu-devices", "3", "toy"], "not a multiple of 2"),
    ],
)
def test_local_refuses_wrong_use(bench: Bench, args: list[str], sentence: str):
    bench.program("jaxmusic", "exit 0")
    done = bench.run("local.py", *args)
    assert done.returncode == 2 and sentence in done.stderr


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


def test_slurm_starts_supervised_tasks_and_hands_on_their_code(slurm: Bench):
    done = slurm.run("slurm.sh", "toy", "--run", "a b", **JOB, CODE="0", RESTARTS="3")
    assert done.returncode == 0, done.stderr
    (started,) = slurm.lines("srun.log")
    assert started.startswith("12 ")
    assert started.endswith("jaxmusic train toy --run a b --restarts 3")
    assert "--kill-on-bad-exit=0" in started
    assert not slurm.lines("scontrol.log")


@pytest.mark.parametrize("code", [exits.CRASHED, exits.MISTAKE, exits.INTERRUPTED, exits.ABORTED])
def test_slurm_does_not_requeue_what_failed(slurm: Bench, code: int):
    assert slurm.run("slurm.sh", "toy", **JOB, CODE=str(code)).returncode == code
    assert not slurm.lines("scontrol.log")


def test_slurm_requeues_what_was_saved(slurm: Bench):
    assert slurm.run("slurm.sh", "toy", **JOB, CODE="75").returncode == exits.SAVED
    assert slurm.lines("scontrol.log") == ["requeue 7"]


def test_slurm_leaves_a_job_alone_that_slurm_itself_ends(slurm: Bench):
    # Slurm signals the batch shell too when a job is cancelled: it must not come back.
    slurm.program("srun", "kill -TERM $PPID; sleep 0.2; exit 75")
    assert slurm.run("slurm.sh", "toy", **JOB, CODE="75").returncode == exits.SAVED
    assert not slurm.lines("scontrol.log")


def test_slurm_asks_to_be_requeued_and_signalled():
    asked = re.findall(r"^#SBATCH (.+)$", (LAUNCH / "slurm.sh").read_text(), re.MULTILINE)
    assert {"--requeue", "--open-mode=append"} <= set(asked)
    (signalled,) = [option for option in asked if option.startswith("--signal")]
    # Without B: it goes to the tasks.
    assert re.fullmatch(r"--signal=TERM@[0-9]+", signalled)


@pytest.mark.parametrize(
    "args, job, sentence",
    [
        (["toy"], {}, "submit it: sbatch"),
        ([], JOB, "name a config"),
        (["--run", "x"], JOB, "name a config"),
        (["toy"], {**JOB, "SLURM_NTASKS_PER_NODE": "2"}, "use --ntasks-per-node=4"),
    ],
)
def test_slurm_refuses_wrong_use(slurm: Bench, args: list[str], job: dict, sentence: str):
    done = slurm.run("slurm.sh", *args, **job, CODE="0")
    assert done.returncode == 2 and sentence in done.stderr
    assert not slurm.lines("srun.log")


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


def test_tpu_vm_dry_run_prints_what_it_would_do_and_does_nothing(cloud: Bench):
    done = cloud.run("tpu_vm.sh", *START, "--spot", "--slices", "2", "--dry-run", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert not cloud.lines("gcloud.log")
    created, *rest = done.stdout.splitlines()
    assert created.startswith("+ gcloud compute tpus queued-resources create pop --zone=z1")
    for flag in (
        "--project=mine --accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite",
        "--node-count=2 --node-prefix=pop --spot",
    ):
        assert flag in created
    # Files, installation and service, each on all hosts of both slices.
    assert len(rest) == 6
    assert all("--worker=all" in line for line in rest)
    assert [line.split(" tpu-vm ")[1].split()[0] for line in rest] == ["scp"] * 2 + ["ssh"] * 4
    assert "jaxmusic[tpu,gcs]" in rest[2]


def test_tpu_vm_starts_a_service_that_starts_again(cloud: Bench):
    done = cloud.run("tpu_vm.sh", *START, "--dry-run", *TRAIN)
    # The line is bash: let bash say what gcloud would be told.
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {done.stdout.splitlines()[-1][2:]}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
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
    assert unit["WantedBy"] == "multi-user.target"


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
    assert cloud.run("tpu_vm.sh", "stop", *place).returncode == 0
    assert cloud.run("tpu_vm.sh", "logs", *place).returncode == 0
    assert cloud.run("tpu_vm.sh", "delete", *place).returncode == 0
    told = cloud.lines("gcloud.log")
    assert [line.split()[3:5] for line in told] == [
        ["ssh", "pop-0"],
        ["ssh", "pop-1"],
        ["ssh", "pop-0"],
        ["delete", "pop"],
    ]


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["begin"], "start, logs, stop or delete"),
        (["start"], "name the TPU"),
        (["start", "pop", "toy"], "--zone"),
        (["start", "pop", "--zone", "z", "toy"], "--type"),
        (["start", "pop", "--zone", "z", "--type", "v9-8", "toy"], "--runtime"),
        (["start", "pop", "--zone", "z", "--type", "v6e-8"], "name a config"),
        (["start", "pop", "--zone", "z", "--steps", "3"], "come after CONFIG"),
        (["start", "pop", "--zone"], "needs a value"),
        (["start", "pop", "--zone", "z", "--slices", "two", "toy"], "number of slices"),
    ],
)
def test_tpu_vm_refuses_wrong_use(cloud: Bench, args: list[str], sentence: str):
    done = cloud.run("tpu_vm.sh", *args)
    assert done.returncode == 2 and sentence in done.stderr
    assert not cloud.lines("gcloud.log")


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


def test_job_set_has_every_field_that_slices_need(bench: Bench):
    made = job_set(bench, *GKE, "--name", "pop", "--restarts", "7", *TRAIN)
    assert made["apiVersion"] == "jobset.x-k8s.io/v1alpha2" and made["kind"] == "JobSet"
    assert made["metadata"]["name"] == "pop"
    assert made["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }
    assert made["spec"]["failurePolicy"]["maxRestarts"] == 7
    assert made["spec"]["network"]["publishNotReadyAddresses"] is True
    (slices,) = made["spec"]["replicatedJobs"]
    assert slices["replicas"] == 2
    job = slices["template"]["spec"]
    assert job["parallelism"] == job["completions"] == 64
    assert job["backoffLimit"] == 0 and job["completionMode"] == "Indexed"
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "16x16",
    }
    assert pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] == 300
    assert {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"} in pod[
        "tolerations"
    ]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert container["resources"]["requests"] == {"google.com/tpu": 4}
    assert {port["containerPort"] for port in container["ports"]} == {8471, 8080, 8482}
    assert container["image"] == "eu.gcr.io/p/music:1"
    assert container["command"] == ["jaxmusic", "train", *TRAIN, "--restarts", "3"]
    # GKE tells each pod its place; what is set here would stand in its way.
    assert not [v for v in container["env"] if v["name"].startswith(("TPU_", "MEGASCALE_"))]


def test_job_set_fails_at_once_on_a_mistake(bench: Bench):
    made = job_set(bench, *GKE, "toy")
    (rule,) = made["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet" and rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {
        "containerName": job["template"]["spec"]["containers"][0]["name"],
        "operator": "In",
        "values": [exits.MISTAKE],
    }


def test_job_set_on_spot_nodes_selects_and_tolerates_them(bench: Bench):
    pod = job_set(bench, *GKE, "--spot", "toy")
    pod = pod["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert len(pod["nodeSelector"]) == 3
    assert [t["key"] for t in pod["tolerations"]] == ["cloud.google.com/gke-spot", "google.com/tpu"]


def test_job_set_hands_arguments_on_as_they_are(bench: Bench):
    made = job_set(bench, *GKE, "toy", "--data.where", "a: b # $(HOME) 'c'")
    container = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    # Kubernetes turns two dollar signs into one.
    assert container["containers"][0]["command"][4] == "a: b # $$(HOME) 'c'"


@pytest.mark.parametrize(
    "topology, accelerator, hosts",
    [
        ("v4:2x2x4", "tpu-v4-podslice", 4),
        ("v5e:2x2", "tpu-v5-lite-podslice", 1),
        ("v5e:4x4", "tpu-v5-lite-podslice", 4),
        ("v5p:8x8x8", "tpu-v5p-slice", 128),
        ("v6e:16x16", "tpu-v6e-slice", 64),
    ],
)
def test_hosts_of_a_slice(topology: str, accelerator: str, hosts: int):
    sides = topology.partition(":")[2]
    assert module("gke").slice_of(topology) == (accelerator, sides, hosts)


@pytest.mark.parametrize(
    "args, sentence",
    [
        (["--topology", "v9:2x2", "--image", "i", "toy"], "must begin with one of v4, v5e"),
        (["--topology", "16x16", "--image", "i", "toy"], "must begin with one of v4, v5e"),
        (["--topology", "v5p:4x4", "--image", "i", "toy"], "has 3 sides, as 4x4x4"),
        (["--topology", "v5e:4x0", "--image", "i", "toy"], "has 2 sides, as 4x4"),
        (["--topology", "v5e:1x1", "--image", "i", "toy"], "not whole hosts of 4"),
        (["--topology", "v5e:2x2", "--slices", "2", "--image", "i", "toy"], "several hosts"),
        ([*GKE, "--slices", "0", "toy"], "at least 1"),
        ([*GKE, "--name", "My_run", "toy"], "--name must be"),
        ([*GKE], "name a config"),
    ],
)
def test_gke_refuses_wrong_use(bench: Bench, args: list[str], sentence: str):
    done = bench.run("gke.py", *args)
    assert done.returncode == 2 and sentence in done.stderr
