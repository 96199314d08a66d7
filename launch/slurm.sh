#!/usr/bin/env bash
# Trains on a Slurm cluster, on any number of nodes and GPUs, and continues automatically after
# preemption, time limits and crashes.
#
#   sbatch --nodes=2 --gpus-per-node=8 --ntasks-per-node=8 --time=24:00:00 \
#     launch/slurm.sh CONFIG --run DIR [--any.field value ...]
#
# CONFIG and all arguments after it are passed to `jaxmusic train`. `jaxmusic` must be on the PATH
# where you call sbatch, which passes on its environment. DIR, the dataset and the library must be on
# a file system that all nodes share. Add the options that your cluster requires: --partition,
# --account, --mem, --cpus-per-task.
#
# There is one task per GPU, as JAX expects under Slurm: each process takes the GPU of its local
# number. Do not add --gpus-per-task or --gpu-bind, which hide the other GPUs and so renumber them.
# With --ntasks-per-node=1 a single process takes all GPUs of its node, or its CPU.
# The coordinator is the first node, by its name, at a port derived from the job number.
#
# The lines below can be overridden on sbatch's command line. 300 seconds before the time limit
# every task gets SIGTERM, saves and exits with 75; this script then requeues the job, which
# continues from its checkpoint. A preempted job gets SIGTERM too, and Slurm requeues it.
#
# RESTARTS=10 (environment): crashes in a row allowed for each task before the job fails.
#
#SBATCH --job-name=jaxmusic
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@300
set -euo pipefail

fail() {
  echo "launch/slurm.sh: $1" >&2
  exit 2
}

case "${1:-}" in
  -h | --help) sed -n '2,/^#SBATCH/s/^# \{0,1\}//p' "$0" | head -n -1 && exit 0 ;;
esac
[ -n "${SLURM_JOB_ID:-}" ] || fail "submit it: sbatch launch/slurm.sh CONFIG --run DIR (see --help)."
[[ $# -gt 0 && $1 != -* ]] || fail "name a config first: launch/slurm.sh CONFIG --run DIR."
command -v jaxmusic >/dev/null ||
  fail "there is no jaxmusic on the PATH; activate its environment before you call sbatch."
gpus=${SLURM_GPUS_ON_NODE:-0} tasks=${SLURM_NTASKS_PER_NODE:-1}
[[ $gpus -eq 0 || $tasks -eq 1 || $tasks -eq $gpus ]] ||
  fail "nodes have $gpus GPUs and $tasks tasks; use --ntasks-per-node=$gpus, one for each GPU."

echo "Job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, started for the $((${SLURM_RESTART_COUNT:-0} + 1)). time."
# srun does not inherit this from sbatch.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
# The warning before the time limit goes to the tasks only. SIGTERM to this shell means that Slurm
# ends the job: it was cancelled, or preempted and will be requeued by Slurm. Wait for the tasks to
# save.
ending=no code=0
trap 'ending=yes' TERM
# A task that has ended must not end the others, which may be saving; they have 120 s.
srun --label --kill-on-bad-exit=0 --wait=120 \
  jaxmusic train "$@" --restarts "${RESTARTS:-10}" || code=$?
echo "The tasks ended with exit code $code."
if [[ $code -eq 75 && $ending = no ]]; then
  # Slurm does not requeue at a time limit.
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
