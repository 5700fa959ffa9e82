#!/bin/bash
# The job behind an array: takes over what its trials came to, and submits what is wanted next.
#
#   sbatch --dependency=afterany:ARRAY … collect.sh FTSURGERY RUN

ftsurgery=$1 run=$2
trap '' USR1 # where --signal is among the user's options
# 75: another process works on the run at this moment.
for _ in {1..40}; do
  "$ftsurgery" collect "$run" --submit
  code=$?
  [ "$code" = 75 ] || break
  sleep 15
done
exit "$code"
