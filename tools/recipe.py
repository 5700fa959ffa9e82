#!/usr/bin/env python3
"""Compares recipes of `ftsurgery tune` by held-out accuracy: what the defaults rest on.

    python3 tools/recipe.py --work FOLDER --data photos a.onnx:signed b.onnx:raw --image-size 128

Each recipe is a list of flags, those of the base with one change. Each is run on every model, on several shares of the
data and with several seeds; `--choose` are the seeds whose figures choose, `--report` those that are reported and
chose nothing. A run that is there is not made again, and one that was stopped goes on, so that a study of hours may
be stopped at any time: the same command again prints what there is so far.

The table has, for each recipe and strategy, the mean held-out accuracy, its difference to that of the base over the
same models, shares and seeds with the standard error of that difference, and the mean seconds of the trials.
"""

import argparse
import json
import math
import pathlib
import shlex
import subprocess
import sys

BASE = (
    "--head linear --head-init solved --optimizer adamw --lr 3e-4 --weight-decay 0.01 --batch-size 16 --epochs 6 "
    "--schedule cosine --warmup 0.5"
)

# Name: what is changed of the base. A flag that is there already is replaced.
RECIPES = {
    "base": "",
    "random head": "--head-init random",
    "random head, 1e-3": "--head-init random --lr 1e-3",
    "paper head": "--head paper",
    "lr 1e-4": "--lr 1e-4",
    "lr 1e-3": "--lr 1e-3",
    "head lr x10": "--head-lr 3e-3",
    "constant": "--schedule constant --warmup 0",
    "plateau": "--schedule plateau --warmup 0",
    "no warm-up": "--warmup 0",
    "12 epochs": "--epochs 12",
    "batch 4": "--batch-size 4",
    "batch 32": "--batch-size 32",
    "adam": "--optimizer adam --weight-decay 0",
    "layer decay 0.9": "--layer-decay 0.9",
    "label smoothing 0.1": "--label-smoothing 0.1",
    "clip 1": "--clip-norm 1",
    "ema 0.98": "--ema 0.98",
    "flip": "--augment flip",
    "standard": "--augment standard",
    "crop": "--resize crop",
    "bn batch": "--bn batch",
    "mixup 0.2": "--mixup 0.2",
    "loss chooses": "--monitor loss",
}


def merged(base, change):
    """The flags of `base`, those of `change` in their place."""
    flags = {}
    for text in (base, change):
        name = None
        for word in shlex.split(text):
            if word.startswith("--"):
                name = word
                flags[name] = []
            else:
                flags[name].append(word)
    return [word for name, values in flags.items() for word in (name, *values)]


class Study:
    def __init__(self, args):
        self.args = args

    def folder(self, model, share, seed, recipe):
        name = recipe.replace(" ", "-").replace(",", "")
        return self.args.work / pathlib.Path(model).stem / f"{share}" / f"{seed}" / name

    def run(self, model, share, seed, recipe):
        """The results of a run, which is made where it is not there; `None` where it fails."""
        out = self.folder(model, share, seed, recipe)
        results = out / "results.json"
        done = results.exists() and not json.loads(results.read_text())["interrupted"]
        if not done:
            if self.args.report_only:
                return None
            path, _, preset = model.partition(":")
            command = [self.args.ftsurgery, "--quiet", "tune"]
            if (out / "run.json").exists():
                command += ["--resume", str(out)]
            else:
                command += [path, "--data", str(self.args.data), "--out", str(out)]
                command += ["--strategies", self.args.strategies, "--seed", str(seed), "--image-cache", "disk"]
                command += ["--search-fraction", "0", "--validation-fraction", str(self.args.validation)]
                command += ["--train-fraction", str(share)]
                command += ["--preprocess", preset] if preset else []
                command += ["--image-size", self.args.image_size] if self.args.image_size else []
                command += merged(BASE, RECIPES[recipe])
            ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if ended.returncode:
                print(f"{out}: {ended.stderr.strip()}", file=sys.stderr)
                return None
        return json.loads(results.read_text())["strategies"]

    def figures(self, seeds, recipe):
        """`(model, share, seed, strategy) -> (accuracy, seconds)` of a recipe."""
        found = {}
        for model in self.args.models:
            for share in self.args.shares:
                for seed in seeds:
                    for s in self.run(model, share, seed, recipe) or []:
                        if s.get("held_out_accuracy") is not None:
                            key = (model, share, seed, s["name"])
                            found[key] = s["held_out_accuracy"], s["seconds"]
        return found

    def table(self, title, seeds, recipes):
        base = self.figures(seeds, "base")
        print(f"\n{title}: seeds {', '.join(map(str, seeds))}\n")
        print("| recipe | strategy | runs | held out | against the base | seconds |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        for recipe in recipes:
            found = base if recipe == "base" else self.figures(seeds, recipe)
            for strategy in self.args.strategies.split(","):
                keys = [k for k in found if k[3] == strategy and k in base]
                if not keys:
                    continue
                accuracy = sum(found[k][0] for k in keys) / len(keys)
                seconds = sum(found[k][1] for k in keys) / len(keys)
                differences = [100 * (found[k][0] - base[k][0]) for k in keys]
                print(
                    f"| {recipe} | {strategy} | {len(keys)} | {100 * accuracy:.2f} % | {spread(differences)} |"
                    f" {seconds:.1f} |",
                    flush=True,
                )


def spread(values):
    """Mean and standard error: `+0.52 ± 0.20`."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:+.2f}"
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return f"{mean:+.2f} ± {math.sqrt(variance / len(values)):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="ONNX files, each maybe with its preset: a.onnx:signed")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of images by class")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the runs")
    parser.add_argument("--ftsurgery", default="target/release/ftsurgery")
    parser.add_argument("--image-size")
    parser.add_argument("--strategies", default="head,last40%,full")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.3, 0.7], help="of the data, to train on")
    parser.add_argument("--validation", type=float, default=0.1)
    parser.add_argument("--choose", type=int, nargs="*", default=[0, 1], help="seeds that choose")
    parser.add_argument("--report", type=int, nargs="*", default=[2, 3], help="other seeds, which are reported")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="NAME")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    study = Study(args)
    if args.choose:
        study.table("Chosen by", args.choose, args.recipes)
    if args.report:
        study.table("Reported on", args.report, args.recipes)


if __name__ == "__main__":
    main()
