#!/usr/bin/env python3
"""Compares recipes of `ftsurgery tune` by held-out accuracy: what the defaults rest on.

    python3 tools/recipe.py --work FOLDER --data photos a.onnx:signed b.onnx:raw --image-size 128

Each recipe is a list of flags, those of the base with one change. Each is run on every model, on several shares of the
data and with several seeds; `--choose` are the seeds whose figures choose, `--report` those that are reported and
chose nothing. What a run came to is a line of the ledger and is not made again, and a run that was stopped goes on,
so that a study of hours may be stopped at any time: the same command again prints what there is so far.

The table has, for each recipe and strategy, the mean held-out accuracy, its difference to that of the base over the
same models, shares and seeds with the standard error of that difference, and the mean seconds of the trials.
"""

import argparse
import json
import math
import pathlib
import shlex
import shutil

from ledger import Ledger, merged
from runs import tuned

BASE = (
    "--head linear --head-init solved --optimizer adamw --lr 3e-4 --weight-decay 0.01 --batch-size 16 --epochs 6 "
    "--schedule cosine --warmup 0.5 --resize squash --augment none"
)

# Name: what is changed of the base. A flag that is there already is replaced.
RECIPES = {
    "base": "",
    "random head": "--head-init random",
    "random head, 1e-3": "--head-init random --lr 1e-3",
    "paper head": "--head paper",
    "lr 1e-4": "--lr 1e-4",
    "lr 1e-3": "--lr 1e-3",
    "lr auto": "--lr auto",
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


class Study:
    def __init__(self, args):
        self.args = args
        self.ledger = Ledger(args.ledger, ("model", "data", "image_size", "share", "seed", "strategies", "flags"))

    def run(self, model, share, seed, recipe):
        """What a run came to, by strategy. It is made where it is not there; `None` where it fails."""
        args = self.args
        flags = merged(BASE, RECIPES[recipe])
        row = {
            "model": pathlib.Path(model.partition(":")[0]).stem,
            "data": args.data.resolve().name,
            "image_size": args.image_size or "",
            "share": share,
            "seed": seed,
            "strategies": args.strategies,
            "flags": shlex.join(flags),
        }
        known = self.ledger.get(**row)
        if known or args.report_only:
            return known and known["came_to"]
        out = args.work / "-".join([row["model"], str(share), str(seed), recipe.replace(" ", "-").replace(",", "")])
        flags += ["--strategies", args.strategies, "--seed", str(seed), "--train-fraction", str(share)]
        flags += ["--search-fraction", "0", "--validation-fraction", str(args.validation)]
        if not tuned(args, model, args.data, out, flags, args.image_size):
            return None
        row["came_to"] = came_to(out)
        self.ledger.add(row)
        shutil.rmtree(out)
        return row["came_to"]

    def figures(self, seeds, recipe):
        """`(model, share, seed, strategy) -> (accuracy, seconds)` of a recipe."""
        found = {}
        for seed in seeds:
            for share in self.args.shares:
                for model in self.args.models:
                    for name, s in (self.run(model, share, seed, recipe) or {}).items():
                        found[model, share, seed, name] = s["held_out_accuracy"], s["seconds"]
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


def came_to(out):
    """What the run in a folder came to, by strategy."""
    trials = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    best = {t["id"]: t["best_epoch"] for t in trials}
    return {
        s["name"]: {
            "held_out_accuracy": s["held_out_accuracy"],
            "held_out_loss": s["held_out"]["score"]["loss"],
            "validation_accuracy": s["validation_accuracy"],
            "best_epoch": best.get(s["trial"]),
            "epochs": s["epochs"],
            "rate": s.get("rate"),
            "seconds": round(s["seconds"], 1),
        }
        for s in json.loads((out / "results.json").read_text())["strategies"]
        if not s.get("error")
    }


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
    parser.add_argument("--threads", type=int)
    parser.add_argument("--ledger", default="docs/recipe.jsonl", help="file of what runs came to")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    study = Study(args)
    if args.choose:
        study.table("Chosen by", args.choose, args.recipes)
    if args.report:
        study.table("Reported on", args.report, args.recipes)


if __name__ == "__main__":
    main()
