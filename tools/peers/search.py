"""Times the exhaustive search of strategy `layers`, ours and a loop in PyTorch, on the same photos.

    python3 tools/peers/search.py --data tf_flowers

takes the first tenth of each class, trains every layer of a MobileNet v1 with the paper's head for one
epoch on 70 % of it and scores it on the rest, at 224 px and batches of 4. Ours is the whole process of
`ftsurgery tune`: decoding, frozen layers, and the retraining of the winner on a few photos, which the
loop in PyTorch does without. Each side runs with the frozen layers computed once for all steps (PyTorch's as
`search_torch.py --cached` does) and without (ours mirrors photos by chance, so that nothing can be kept).
Sides take turns; nothing else should run meanwhile. See bench.py for the environments.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench

HERE = pathlib.Path(__file__).resolve().parent
MODEL = "mobilenet_v1"
IMAGE_SIZE, BATCH = 224, 4


def parse_arguments():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=pathlib.Path, required=True, metavar="DIR", help="a folder of images per class")
    add("--threads", type=int, default=2)
    add("--rounds", type=int, default=1, help="runs of each side (default 1)")
    add("--ftsurgery", type=pathlib.Path, metavar="PATH", help="the binary (default: cargo build)")
    add("--cache", type=pathlib.Path, default=cache / "ftsurgery-peers", metavar="DIR")
    return parser.parse_args()


def tenth(data, folder):
    """Copies the first tenth of each class."""
    for kind in sorted(path for path in data.iterdir() if path.is_dir()):
        photos = sorted(kind.iterdir())
        (folder / kind.name).mkdir(parents=True)
        for photo in photos[: round(len(photos) / 10)]:
            shutil.copy(photo, folder / kind.name / photo.name)


def ours(args, binary, model, data, run, cached):
    """Seconds of the process."""
    command = [binary, "--quiet", "tune", model, "--data", data, "--out", run]
    command += ["--strategies", "layers", "--preprocess", "signed", "--image-size", IMAGE_SIZE]
    command += ["--batch-size", BATCH, "--search-epochs", 1, "--epochs", 1]
    command += ["--head", "paper", "--head-init", "random", "--optimizer", "adam", "--lr", 1e-4]
    command += ["--schedule", "constant", "--warmup", 0, "--rank-samples", 0]
    command += ["--search-fraction", 0.98, "--train-fraction", 0.02, "--search-apart"]
    command += ["--threads", args.threads, "--resize", "squash", "--augment", "none" if cached else "flip"]
    start = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def theirs(args, python, models, data, split, cached):
    """Seconds of the loop in PyTorch."""
    command = [python, HERE / "search_torch.py", MODEL, "--models", models, "--data", data, "--split", split]
    command += ["--batch-size", BATCH, "--image-size", IMAGE_SIZE, "--threads", args.threads]
    command += ["--cached"] if cached else []
    output = subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout
    return json.loads(output.splitlines()[-1])["seconds"]


def main():
    args = parse_arguments()
    python = bench.environment(args.cache / "torch", sys.executable, HERE / "requirements.txt")
    if args.ftsurgery is None:
        subprocess.run(["cargo", "build", "--release"], check=True, cwd=bench.ROOT)
        args.ftsurgery = bench.ROOT / "target" / "release" / "ftsurgery"
    models = bench.models_folder(args.cache)
    bench.say(f"networks in {models}")
    subprocess.run([python, HERE / "networks.py", MODEL, "--out", models], check=True)
    figures = {(side, cached): [] for cached in (True, False) for side in ("ftsurgery", "PyTorch")}
    with tempfile.TemporaryDirectory() as name:
        data = pathlib.Path(name) / "photos"
        tenth(args.data, data)
        for round_ in range(args.rounds):
            split = None
            for side, cached in figures:
                if side == "ftsurgery":
                    run = pathlib.Path(name) / f"run{round_}-{cached}"
                    seconds = ours(args, args.ftsurgery, models / f"{MODEL}.onnx", data, run, cached)
                    split = run / "split.json"
                else:
                    seconds = theirs(args, python, models, data, split, cached)
                figures[side, cached].append(seconds)
                bench.say(f"{side}, {'cached' if cached else 'nothing kept'}: {seconds:.1f} s")
    print("| frozen layers | ftsurgery | PyTorch | ratio |\n| --- | ---: | ---: | ---: |")
    for cached in (True, False):
        our, their = (statistics.median(figures[side, cached]) for side in ("ftsurgery", "PyTorch"))
        print(f"| {'computed once' if cached else 'in every step'} | {our:.1f} s | {their:.1f} s | {their / our:.2f} |")


if __name__ == "__main__":
    main()
