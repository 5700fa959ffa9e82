#!/usr/bin/env bash
# A real Slurm of two nodes on this machine, for tests: plain processes of whoever calls, in one folder.
#
#   slurm.sh start DIR      munge, a controller and the nodes n1 and n2 of 2 processors each
#   slurm.sh stop DIR       ends all of it and whatever still runs on it
#   slurm.sh kill DIR n1    a node loses its power: its daemon and all of its jobs' processes are gone at once
#   slurm.sh boot DIR n1    and is back
#
# Then `SLURM_CONF=DIR/slurm.conf sbatch …`. Debian's packages: slurmctld slurmd slurm-client munge.
# Partitions: `low` (the default) and `high`, whose jobs take a node from those of `low`, which are
# requeued. What takes minutes on a real cluster takes seconds: a node is down when it has said nothing
# for 8 s, and a requeued job may begin again after 5 s.
set -euo pipefail
PATH=$PATH:/usr/sbin

start_munge() {
  (umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
  munged --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" --pid-file="$dir/munge.pid" \
    --log-file="$dir/munge.log" --seed-file="$dir/munge.seed"
}

# Ports nobody listens on, as many as asked for.
free_ports() {
  python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}

write_configuration() {
  local user host ctl n1 n2
  user=$(id -un)
  host=$(hostname)
  read -r ctl n1 n2 < <(free_ports 3)
  mkdir -p "$dir/state"
  cat >"$dir/slurm.conf" <<CONFIGURATION
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$ctl
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=2,sched_min_interval=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=8
SlurmdTimeout=8
KillWait=5
InactiveLimit=0
DefMemPerCPU=100
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n1 CPUs=2 RealMemory=8000 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n2 CPUs=2 RealMemory=8000 State=UNKNOWN
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 PreemptMode=REQUEUE OverTimeLimit=0
PartitionName=high Nodes=n1,n2 PriorityTier=10 PreemptMode=OFF
CONFIGURATION
}

start() {
  mkdir -p "$dir"
  start_munge
  write_configuration
  export SLURM_CONF=$dir/slurm.conf
  slurmctld -c
  slurmd -N n1
  slurmd -N n2
  for _ in $(seq 100); do
    [ "$(sinfo --noheader --Node --partition=low --format=%t 2>/dev/null | grep -c '^idle$')" = 2 ] && return
    sleep 0.2
  done
  sinfo
  tail "$dir"/*.log
  echo "Slurm did not come up" >&2
  return 1
}

# Ends the process whose number is in a file, if it is the one that wrote it.
end() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  grep -qsE "$2" "/proc/$pid/cmdline" || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
}

# Processes of a job on this machine: they carry its number in their environment.
processes_of_job() {
  local process
  for process in /proc/[0-9]*; do
    if grep -qsxz "SLURM_JOB_ID=$1" "$process/environ"; then echo "${process#/proc/}"; fi
  done
}

kill_node() {
  local job pids
  export SLURM_CONF=$dir/slurm.conf
  pids=$(cat "$dir/$1.pid")
  for job in $(squeue --noheader --nodelist="$1" --states=running,completing --format=%A); do
    pids+=" $(pgrep --full "^slurmstepd: \[$job\." || true) $(processes_of_job "$job")"
  done
  # shellcheck disable=SC2086 # one argument per process
  kill -9 $pids
}

stop() {
  export SLURM_CONF=$dir/slurm.conf
  if timeout 5 scancel --full --signal=KILL --user="$(id -un)" 2>/dev/null; then
    timeout 5 scancel --user="$(id -un)" 2>/dev/null || true
    sleep 1
  fi
  end "$dir/n1.pid" slurmd
  end "$dir/n2.pid" slurmd
  end "$dir/slurmctld.pid" slurmctld
  end "$dir/munge.pid" munged
}

[ $# -ge 2 ] || { sed -n '2,13s/^# \?//p' "$0" && exit 2; }
mkdir -p "$2"
dir=$(cd "$2" && pwd)
case $1 in
  start) start ;;
  stop) stop ;;
  kill) kill_node "$3" ;;
  boot) SLURM_CONF=$dir/slurm.conf slurmd -N "$3" ;;
  *) echo "start, stop, kill or boot" >&2 && exit 2 ;;
esac
