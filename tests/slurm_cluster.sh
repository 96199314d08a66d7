#!/usr/bin/env bash
# A Slurm cluster of two nodes, n1 and n2, on this machine, for tests: root only.
#
#   bash tests/slurm_cluster.sh DIR CONTROLLER_PORT PORT_OF_N1 PORT_OF_N2
#
# It needs Debian's slurm-wlm and munge, but no systemd and no system to itself: all files stand in
# DIR, and what must be in /etc/hosts is seen by the daemons alone. It stays in the foreground until
# it is killed (it takes no other signal) or what started it ends. Its daemons and their jobs end
# with it, however it ends, as they live in a process namespace of their own. Commands find the
# cluster by SLURM_CONF=DIR/slurm.conf.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  exec setpriv --pdeathsig KILL \
    unshare --mount --pid --fork --kill-child --mount-proc bash "$0" --inside "$@"
fi
dir=$2 controller_port=$3 n1_port=$4 n2_port=$5
host=$(hostname -s)

# JAX's coordinator is the first node's name, so that names must resolve.
{ cat /etc/hosts && echo "127.0.0.1 n1 n2"; } >"$dir/hosts"
mount --bind "$dir/hosts" /etc/hosts

mkdir -p "$dir/state"
mkdir -m 700 "$dir/munge"
head -c 1024 /dev/urandom >"$dir/munge/key"
chmod 600 "$dir/munge/key"
# cred_expire is short because a job that is requeued waits that long before it may start again.
cat >"$dir/slurm.conf" <<CONF
ClusterName=toy
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=60
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n1_port CPUs=1
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n2_port CPUs=1
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$dir/slurm.conf

munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" \
  --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
slurmctld -c
slurmd -N n1
slurmd -N n2
sleep infinity
