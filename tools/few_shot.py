#!/usr/bin/env python3
"""Compares what to train, and how, by held-out accuracy where there are a few pictures of each class.

    python3 tools/few_shot.py --work FOLDER --data photos a.onnx:signed --image-size 96

A cell is a backbone, a number of pictures per class and a seed. Of each class the seed draws so many to train on, as
many again to validate, and --held-out others; all ways of a cell have the same pictures. A way is a strategy with flags
of its own (`WAYS`): `head`, `full` and `blocks` as they are, `full` with filters that move in groups
(--group-filters), and `full` with decay to the pretrained values (--l2-sp).

What a run came to is a line of the ledger and is not made again, and a run that was stopped goes on: the same command
again prints what there is so far, and `--report-only` runs nothing. `--doc` writes the table into docs/few-shot.md.

The table has, by backbone and over all of them, the mean held-out accuracy over the seeds with its standard error and the
number of runs, and the same of its difference to `full` on the same pictures.
"""

import argparse
import json
import math
import pathlib
import random
import shlex
import shutil
import sys

from doc_table import write_table
from ledger import Ledger, merged
from runs import tuned

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- few-shot: begin -->", "<!-- few-shot: end -->"
PICTURES = (".jpg", ".jpeg", ".png")

RECIPE = (
    "--head linear --head-init solved --optimizer adamw --lr 3e-4 --weight-decay 0.01 --batch-size 16 --epochs 20 "
    "--search exhaustive --search-epochs 5 --rank-samples 0 --schedule cosine --warmup 0.5 --bn frozen --resize squash "
    "--augment none"
)

# Flags that are added to the recipe, and the strategies that are run with them.
RUNS = {
    "": ("head", "full", "blocks"),
    "--group-filters 8": ("full",),
    "--group-filters 32": ("full",),
    "--l2-sp 10": ("full",),
}
WAYS = [(strategy, flags) for flags, strategies in RUNS.items() for strategy in strategies]
BASE = ("full", "")


def parts(data, per_class, held_out, seed):
    """The pictures of each part, by the names that `split.json` has."""
    split = {"search": [], "train": [], "validation": [], "held_out": []}
    for folder in sorted(p for p in data.iterdir() if p.is_dir()):
        names = sorted(f.name for f in folder.iterdir() if f.suffix.lower() in PICTURES)
        if len(names) <= 2 * per_class:
            sys.exit(f"{folder} has {len(names)} pictures; {per_class} to train on and as many to validate leave none")
        random.Random(f"{seed} {folder.name}").shuffle(names)
        names = [f"{folder.name}/{name}" for name in names]
        split["search"] += names[:per_class]
        split["validation"] += names[per_class : 2 * per_class]
        split["held_out"] += names[2 * per_class : 2 * per_class + held_out]
    return split | {"winners_train_on": ["search", "train"]}


class Study:
    def __init__(self, args):
        self.args = args
        fields = ("model", "data", "image_size", "per_class", "held_out", "seed", "flags")
        self.ledger = Ledger(args.ledger, fields)

    def run(self, model, per_class, seed, change):
        """What a run came to, by strategy. It is made where it is not there; `None` where it fails."""
        args = self.args
        flags = merged(args.recipe, change)
        row = {
            "model": pathlib.Path(model.partition(":")[0]).stem,
            "data": args.data.resolve().name,
            "image_size": args.image_size or "",
            "per_class": per_class,
            "held_out": args.held_out,
            "seed": seed,
            "flags": shlex.join(flags),
        }
        known = self.ledger.get(**row)
        if known or args.report_only:
            return known and known["came_to"]
        name = "-".join([row["model"], str(per_class), str(seed), change.replace(" ", "").strip("-") or "plain"])
        out, split = args.work / name, args.work / f"{per_class}-{seed}.json"
        args.work.mkdir(parents=True, exist_ok=True)
        split.write_text(json.dumps(parts(args.data, per_class, args.held_out, seed)))
        flags += ["--strategies", ",".join(RUNS[change]), "--seed", str(seed), "--split", str(split)]
        if not tuned(args, model, args.data, out, flags, args.image_size):
            return None
        row["came_to"] = came_to(out)
        self.ledger.add(row)
        shutil.rmtree(out)
        return row["came_to"]

    def figures(self):
        """`(per class, way) -> {(model, seed): accuracy}` in percent, of what there is; runs what there is not."""
        found = {}
        for seed in self.args.seeds:
            for model in self.args.models:
                for per_class in self.args.per_class:
                    for change in RUNS:
                        for strategy, s in (self.run(model, per_class, seed, change) or {}).items():
                            name = pathlib.Path(model.partition(":")[0]).stem
                            own = found.setdefault((per_class, (strategy, change)), {})
                            own[name, seed] = 100 * s["held_out_accuracy"]
        return found

    def table(self, found):
        """Rows of text, the first of them headings."""
        counts = self.args.per_class
        head = ["backbone", "trained", *(f"{n} per class" for n in counts), *(f"against `full`, {n}" for n in counts)]
        rows = [head, ["---", "---", *["---:"] * (2 * len(counts))]]
        models = list(dict.fromkeys(model for figures in found.values() for model, _ in figures))
        for label, names in [(m, [m]) for m in models] + [("all", models)] * (len(models) > 1):
            for way in WAYS:
                figures = [among(names, found.get((n, way), {})) for n in counts]
                base = [found.get((n, BASE), {}) for n in counts]
                means = [mean(list(f.values()), "{:.2f}") for f in figures]
                apart = [mean([f[k] - b[k] for k in f if k in b], "{:+.2f}") for f, b in zip(figures, base)]
                if any(figures):
                    strategy, flags = way
                    named = f"`{strategy}`" + (f" `{flags}`" if flags else "")
                    rows.append([label, named, *means, *(["" for _ in counts] if way == BASE else apart)])
        return rows


def among(models, figures):
    return {key: accuracy for key, accuracy in figures.items() if key[0] in models}


def came_to(out):
    """What the run in a folder came to, by strategy."""
    return {
        s["name"]: {
            "held_out_accuracy": s["held_out_accuracy"],
            "held_out_loss": s["held_out"]["score"]["loss"],
            "validation_accuracy": s["validation_accuracy"],
            "epochs": s["epochs"],
            "seconds": round(s["seconds"], 1),
        }
        for s in json.loads((out / "results.json").read_text())["strategies"]
        if not s.get("error")
    }


def mean(values, form):
    """The mean with its standard error and how many there are: `84.12 ± 0.50 (3)`; empty without any."""
    if not values:
        return ""
    middle = sum(values) / len(values)
    text = form.format(middle)
    if len(values) > 1:
        variance = sum((v - middle) ** 2 for v in values) / (len(values) - 1)
        text += f" ± {math.sqrt(variance / len(values)):.2f}"
    return f"{text} ({len(values)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="ONNX files, each maybe with its preset: a.onnx:signed")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of images by class")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the runs")
    parser.add_argument("--ftsurgery", default="target/release/ftsurgery")
    parser.add_argument("--image-size")
    parser.add_argument("--per-class", type=int, nargs="+", default=[5, 10], help="pictures of a class to train on")
    parser.add_argument("--held-out", type=int, default=100, help="pictures of a class to measure on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--ledger", default=str(ROOT / "docs" / "few-shot.jsonl"), help="file of what runs came to")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    parser.add_argument("--doc", action="store_true", help="write the table into docs/few-shot.md")
    args = parser.parse_args()
    study = Study(args)
    rows = study.table(study.figures())
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if args.doc:
        write_table(ROOT / "docs" / "few-shot.md", (BEGIN, END), rows)


if __name__ == "__main__":
    main()
