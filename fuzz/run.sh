#!/usr/bin/env bash
# Runs a target for some seconds, on one processor, going on from its corpus: run.sh TARGET SECONDS
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?a target: onnx, npz, picture or run_folder}
seconds=${2:-3600}
case $target in
  onnx | run_folder) longest=20000 ;;
  *) longest=8192 ;;
esac
mkdir -p "fuzz/corpus/$target"
exec cargo +nightly fuzz run "$target" -- \
  -max_total_time="$seconds" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 \
  -max_len=$longest -use_value_profile=1 -print_final_stats=1
