#!/bin/bash
# One task of a Slurm array: carries out the trials in its line of RUN/cluster/SUBMISSION.tasks.
#
#   sbatch --array=0-N --requeue --open-mode=append --signal=B:USR1@60 … task.sh FTSURGERY RUN SUBMISSION
#
# What ends it early:
# - USR1, before the time limit: the trials save themselves and the task is requeued, unless nothing has come
#   of this attempt (then the limit is too short for a single step);
# - TERM, at preemption or scancel: the trials save themselves; Slurm requeues or forgets the task by itself;
# - anything else, a kill included: the job behind the array submits again what is missing.

ftsurgery=$1 run=$2 submission=$3
task=${SLURM_ARRAY_TASK_ID:-0}
read -r -a ids < <(sed -n "$((task + 1))p" "$run/cluster/$submission.tasks")

say() { echo "$(date '+%F %T') $*"; }
say "task $task on $(hostname), attempt $((${SLURM_RESTART_COUNT:-0} + 1)): ${ids[*]}"

begun=$run/cluster/$submission-$task.begun
: >"$begun"
# Whether a trial has ended or saved itself in this attempt.
progressed() {
  local id folder file
  for id in "${ids[@]}"; do
    folder=$run/trials/$id
    [[ $id == repeats/*/* ]] && folder=$run/${id%/*}/trials/${id##*/}
    for file in reply.json checkpoint.safetensors; do
      [ "$folder/$file" -nt "$begun" ] && return
    done
  done
  return 1
}

# A trap ends `wait` early, so that it is called again after each.
trapped= ending=
trap 'trapped=1' TERM # Slurm sends it to every process of the task
# Once: a second signal ends ftsurgery before it has saved anything.
trap '[ "$ending" ] || kill -USR1 "$child" 2>/dev/null; trapped=1 ending=1' USR1
await() {
  while trapped= && wait "$1"; code=$? && [ "$trapped" ]; do :; done
}

# 75: another process has a trial, such as the task's own from a node that Slurm lost sight of.
for _ in {1..40}; do
  "$ftsurgery" trial "$run" "${ids[@]}" &
  child=$!
  await "$child"
  [ "$code" = 75 ] && [ ! "$ending" ] || break
  say "waiting for the process that has a trial"
  sleep 15 &
  child=$!
  await "$child"
done
say "exit code $code"

if [ "$ending" ] && [ "$code" != 0 ]; then
  if progressed; then
    say "the time limit is near: requeued"
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$task"
  else
    say "the time limit is near and nothing was done: a longer --time is needed"
  fi
fi
exit "$code"
