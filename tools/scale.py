#!/usr/bin/env python3
"""Measures how `ftsurgery tune` scales with the number of images, and prints a table.

    python3 tools/scale.py MODEL --work FOLDER --images 1000 10000 100000

Makes the images in FOLDER where they are not there (`tools/make_image_folder.py`, which needs Pillow), then
tunes the head for one epoch with decoded images in each place. Time and memory are those of the whole
command. Linux only, for the peak of memory.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent


def run(args, images, data, cache, place):
    out = args.work / "run"
    shutil.rmtree(out, ignore_errors=True)
    command = [args.ftsurgery, "--quiet", "tune", args.model, "--data", data, "--out", out]
    command += ["--strategies", "head", "--head", "linear", "--epochs", "1", "--batch-size", "32"]
    command += ["--head-init", "random", "--schedule", "constant", "--lr", "1e-4"]
    command += ["--search-fraction", "0", "--image-size", str(args.size), "--preprocess", "imagenet"]
    command += ["--image-cache", place, "--memory-budget", args.memory_budget]
    begin = time.monotonic()
    environment = {**os.environ, "FTSURGERY_CACHE": str(cache)}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - begin
    if status != 0:
        return "refused or failed", "", ""
    return f"{seconds:.1f} s", f"{images / seconds:,.0f}", f"{usage.ru_maxrss / 1024:,.0f} MiB"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--size", type=int, default=96, help="pixels on a side")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--memory-budget", default="1GiB")
    parser.add_argument("--ftsurgery", default="ftsurgery")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    # The cache is another for the images, and would be for onnxruntime, too.
    status = subprocess.run(
        [args.ftsurgery, "runtime", "status", "--json"], stdout=subprocess.PIPE, check=True
    )
    os.environ["ORT_DYLIB_PATH"] = json.loads(status.stdout)["path"]
    print(f"# {args.model} at {args.size} px, --memory-budget {args.memory_budget}", file=sys.stderr)
    print("| images | decoded images | time | images per second | peak memory |")
    print("| --- | --- | --- | --- | --- |")
    for images in args.images:
        data = args.work / f"images-{images}-{args.classes}"
        if not data.exists():
            make = [sys.executable, HERE / "make_image_folder.py", data, "--images", str(images)]
            subprocess.run(make + ["--classes", str(args.classes)], check=True)
        cache = args.work / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        for place, what in [
            ("memory", "memory"),
            ("disk", "disk, first run"),
            ("disk", "disk, second run"),
            ("none", "none"),
        ]:
            row = run(args, images, data, cache, place)
            print("|", " | ".join([f"{images:,}", what, *row]), "|", flush=True)


if __name__ == "__main__":
    main()
