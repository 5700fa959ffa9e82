#!/bin/bash
# What --device cuda does on a machine with an NVIDIA GPU; made to take less than ten minutes once it is built.
#
#     tools/gpu_check.sh [OUT]
#
# 1. fetches onnxruntime with CUDA (`runtime install --cuda`, some 2 GB) where there is none that computes on the GPU;
# 2. runs the tests of the optimizer in the graph on the GPU, against the loop on the host;
# 3. tunes MobileNet v1 on 100 photos on the GPU, with CUDA graphs and without, and on the processor;
# 4. times a step of six networks beside PyTorch: eager, channels-last, compiled, bfloat16 (tools/peers/bench.py);
# 5. prints what came of each, as a table; all that was printed is in OUT (gpu_check).
#
# Needs the driver, cargo, python3 with pip and venv. Environment: FTSURGERY (a binary that is built, else cargo builds one),
# VENV (an environment with PyTorch for CUDA, timm and torchvision, else one is made), MODEL (a MobileNet v1 as ONNX, else one
# with random weights), DEVICE (cuda); MODELS, BATCH and STEPS of 4 (all six, 32, 20). Where there is no GPU,
#
#     DEVICE=cpu MODELS=mobilenet_v1 BATCH=2 STEPS=2 tools/gpu_check.sh
#
# runs all of it on the processor but 1. We had no GPU when this was written: that is how it was run, and 1 with stand-ins for
# `nvidia-smi` and for what `ftsurgery runtime` says.
set -u
cd "$(dirname "$0")/.."
out=${1:-gpu_check}
device=${DEVICE:-cuda}
mkdir -p "$out"
rows=()

# row NAME LIMIT COMMAND…: runs it within so many seconds, with what it prints in a file, and keeps how it ended. Of `cargo test`
# one test must have run.
row() {
  local name=$1 limit=$2 log="$out/${1// /_}.txt" start=$SECONDS code
  shift 2
  echo "== $name" >&2
  timeout "$limit" "$@" >"$log" 2>&1
  code=$?
  [ "$1 $code" = "cargo 0" ] && ! grep -q '^test result: ok. 1 passed' "$log" && code=none
  case $code in
    0) result=ok ;;
    none) result="there is no such test" ;;
    124) result="no end within $limit s" ;;
    *) result="exit $code: $(grep -iE 'error|panicked|FAILED' "$log" | head -1 | cut -c1-120)" ;;
  esac
  rows+=("| $name | $result | $((SECONDS - start)) s |")
}

# accuracy RUN: of each strategy of a run, how often it is right on what was held out, and how long it took.
accuracy() {
  python3 - "$1/results.json" <<'PY'
import json, sys
results = json.load(open(sys.argv[1]))
for s in results["strategies"]:
    print(s["name"], s["held_out_accuracy"], f"{s['seconds']:.1f} s" if "seconds" in s else "")
PY
}

if [ -z "${FTSURGERY:-}" ]; then
  cargo build --release --locked || exit 1
  FTSURGERY=target/release/ftsurgery
fi
FTSURGERY=$(realpath "$FTSURGERY")
if [ "$device" != cpu ]; then
  nvidia-smi >"$out/nvidia-smi.txt" 2>&1 || { echo "there is no GPU, or no driver: nvidia-smi fails" >&2; exit 1; }
  if ! "$FTSURGERY" runtime status 2>/dev/null | grep -q '^cuda *works'; then
    unset ORT_DYLIB_PATH
    row "runtime install --cuda" 600 "$FTSURGERY" runtime install --cuda
  fi
  "$FTSURGERY" runtime status | tee "$out/runtime.txt"
  grep -q '^cuda *works' "$out/runtime.txt" || { echo "onnxruntime does not compute on the GPU: see above" >&2; exit 1; }
  ORT_DYLIB_PATH=$(awk '$1 == "library" { print $2 }' "$out/runtime.txt")
  export ORT_DYLIB_PATH
fi

# Built before anything is timed.
cargo test --release --locked --test tune --no-run || exit 1
for test in \
  a_hundred_steps_of_each_optimizer_end_where_those_of_the_loop_do \
  all_of_a_recipe_is_in_the_graph \
  a_rate_is_found_and_training_begins_behind_it_as_if_it_had_been_given \
  gates_with_noise_and_a_penalty_train_in_the_graph \
  what_diverges_is_told_at_the_step_at_which_the_loop_tells_it \
  stopped_anywhere_a_trial_goes_on_to_the_same_bits; do
  FTSURGERY_REQUIRE=runtime FTSURGERY_TEST_DEVICE=$device row "test $test" 120 cargo test --release --locked --test tune "in_graph::$test"
done

if [ -z "${VENV:-}" ]; then
  VENV=$out/venv
  [ -x "$VENV/bin/python" ] || python3 -m venv "$VENV"
  "$VENV/bin/python" -m pip install --quiet -r tools/peers/requirements.txt pillow || exit 1
fi
if [ -z "${MODEL:-}" ]; then
  "$VENV/bin/python" tools/peers/networks.py mobilenet_v1 --out "$out/models" || exit 1
  MODEL=$out/models/mobilenet_v1.onnx
fi
[ -d "$out/photos" ] ||
  "$VENV/bin/python" tools/make_image_folder.py "$out/photos" --images 100 --classes 4 --side 224
tune=("$FTSURGERY" --quiet tune "$MODEL" --data "$out/photos" --strategies head,last1,full --head linear --preprocess signed
  --image-size 224 --epochs 3 --lr 3e-4 --search-fraction 0 --validation-fraction 0.2 --train-fraction 0.6 --seed 1 --force)
row "tune on $device" 180 "${tune[@]}" --device "$device" --optimizer-in-graph --out "$out/run"
FTSURGERY_CUDA_GRAPHS=off row "tune on $device without CUDA graphs" 180 "${tune[@]}" --device "$device" --optimizer-in-graph --out "$out/run_eager"
row "tune on the processor" 240 "${tune[@]}" --device cpu --out "$out/run_cpu"
row "bench beside PyTorch" 600 "$VENV/bin/python" tools/peers/bench.py --device "$device" --ftsurgery "$FTSURGERY" \
  --venv "$VENV" --cache "$out/peers" --sides ftsurgery,torch,torch_best,torch_compiled,torch_bfloat16 \
  --train all --batch "${BATCH:-32}" --rounds 1 --steps "${STEPS:-20}" --warmup 5 ${MODELS:+--models "$MODELS"}

{
  [ -f "$out/nvidia-smi.txt" ] && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader && echo
  echo "| what | came to | took |"
  echo "| --- | --- | --- |"
  printf '%s\n' "${rows[@]}"
  for run in run run_eager run_cpu; do
    [ -f "$out/$run/results.json" ] && { echo; echo "$run, held out:"; accuracy "$out/$run"; }
  done
  echo
  grep -A100 -m1 '^20' "$out/bench_beside_PyTorch.txt"
} | tee "$out/table.md"
